/* inbox.h - how a thread that does not own a loop queues an entry there. */
#ifndef AL_SCHED_INBOX_H
#define AL_SCHED_INBOX_H

#include "sched/loop_head.h"

#if AL_FREE_THREADED

/* Queue an entry in the inbox of a loop that another thread runs, and end its
 * wait; if nobody runs it, right in its ready queue. Takes a reference to
 * `object`. 0, or -1 with MemoryError set. */
AL_NODISCARD int
al_inbox_push(al_loop_head *loop, al_run_fn run, PyObject *object);

/* Move what is in the inbox to the ready queue. 0, or -1 with MemoryError set:
 * the rest stays. */
AL_NODISCARD int
al_inbox_collect(al_loop_head *loop);

/* In a child process, which has one thread: another one that was the owner, had
 * locked the loop, or was just using the inbox, is not there. Do not lock the
 * loop for it. */
void
al_inbox_forked(al_loop_head *loop);

/* Drop what is in the inbox. */
void
al_inbox_clear(al_loop_head *loop);

/* The loop is about to wait: from now on a push ends the wait. Whether it may:
 * the inbox is empty. */
bool
al_inbox_begin_wait(al_loop_head *loop);
void
al_inbox_end_wait(al_loop_head *loop);

/* End the wait of the loop, if it waits. */
void
al_inbox_wake(al_loop_head *loop);

/* Whether al_inbox_collect() has something to do. */
static inline bool
al_inbox_has_entries(const al_loop_head *loop)
{
    return AL_LOAD(loop->inbox.queue.count) > 0;
}

#endif

#endif
