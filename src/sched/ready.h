/* ready.h - the ready queue: one FIFO of the entries that run next. */
#ifndef AL_SCHED_READY_H
#define AL_SCHED_READY_H

#include "sched/inbox.h"
#include "sched/queue.h"

/* Queue an entry for the next turn. Any thread may push, and then has to wake
 * up the loop: the GIL is the only lock. Where there is none, the others push to
 * the inbox. 0, or -1 with MemoryError set. */
static inline int
al_ready_push(al_loop_head *loop, al_run_fn run, PyObject *object)
{
#if AL_FREE_THREADED
    if (AL_UNLIKELY(!al_loop_is_mine(loop))) {
        return al_inbox_push(loop, run, object);
    }
#endif
    return al_queue_append(&loop->ready, run, object);
}

/* Take out the first entry; the caller gets the queue's reference. */
static inline al_entry
al_ready_pop(al_loop_head *loop, al_queue *ready)
{
    al_entry entry = ready->ring[ready->head];

    loop->newest_handle = NULL; /* it may be this entry's: handle.c (3) */
    ready->head = (ready->head + 1) & (ready->capacity - 1);
    ready->count--;
    AL_CHECK(al_queue_check, ready);
    return entry;
}

/* Entries are numbered in the order in which they run: the number of the entry
 * that will be pushed next; and whether the entry with a number has not begun
 * to run yet. */
static inline uint64_t
al_ready_number(const al_loop_head *loop)
{
    return loop->steps + loop->ready.count;
}

static inline bool
al_ready_is_waiting(const al_loop_head *loop, uint64_t number)
{
    return (int64_t)(number - loop->steps) >= 0;
}

/* A run of a loop in this thread. A step may run another loop, or the same one
 * again. */
typedef struct al_run {
    al_loop_head *loop;   /* borrowed from the caller */
    struct al_run *outer; /* NULL <=> none */
#if AL_FREE_THREADED
    uintptr_t outer_owner; /* loop->owner before */
#endif
} al_run;

/* Where a run of a loop begins and ends. The caller has locked the loop. 0, or
 * -1 with RuntimeError set: another thread is running it. */
AL_NODISCARD int
al_ready_begin_run(al_loop_head *loop, al_run *run);
void
al_ready_end_run(al_run *run);

/* al_loop_send_held() for each loop that runs in this thread: a step of one
 * loop may run another. For callers that do not know the loop, or that wake
 * another thread. 0, or -1 with an exception set that the caller returns. */
AL_NODISCARD int
al_ready_send_held_here(al_state *state);

/* Drop all entries of the queue without running them. */
void
al_ready_clear(al_loop_head *loop, al_queue *ready);

#endif
