/* ready.h - the ready queue: one FIFO of everything that runs next. */
#ifndef AL_SCHED_READY_H
#define AL_SCHED_READY_H

#include "sched/loop_head.h"

/* Make room for one more entry. 0, or -1 with MemoryError set. */
AL_NODISCARD int
al_ready_grow(al_ready *ready);

/* Put an entry at the end of a queue; takes a reference to `object`.
 * 0, or -1 with MemoryError set. */
static inline int
al_ready_append(al_ready *ready, al_run_fn run, PyObject *object)
{
    if (AL_UNLIKELY(ready->count == ready->capacity) &&
        al_ready_grow(ready) < 0)
    {
        return -1;
    }
    al_entry *entry =
        &ready->ring[(ready->head + ready->count) & (ready->capacity - 1)];
    entry->run = run;
    entry->object = Py_NewRef(object);
    ready->count++;
    return 0;
}

/* Queue an entry for the next turn. Needs the GIL and nothing else: any thread
 * may push (and then has to wake the loop). 0, or -1 with MemoryError set. */
static inline int
al_ready_push(al_loop_head *loop, al_run_fn run, PyObject *object)
{
    return al_ready_append(&loop->ready, run, object);
}

/* The same for the end of this turn; for the loop's thread, and only while
 * loop->is_in_turn. */
static inline int
al_ready_push_late(al_loop_head *loop, al_run_fn run, PyObject *object)
{
    assert(loop->is_in_turn);
    return al_ready_append(&loop->late, run, object);
}

/* Run what is queued now, but nothing queued meanwhile: one turn; then what is
 * late. 0, or -1 with the exception set that an entry ended the run with; then
 * the rest of the turn stays queued, and what is late was run all the same. */
AL_NODISCARD int
al_ready_run_turn(al_loop_head *loop);

/* Run what is late now. 0, or -1 with an exception set: one of its own, or the
 * one that was set before. */
AL_NODISCARD int
al_ready_run_late(al_loop_head *loop);

/* Drop everything in one of the loop's queues without running it. */
void
al_ready_clear(al_loop_head *loop, al_ready *ready);

/* The queued objects, first to last. -> new list, or NULL. */
AL_NODISCARD PyObject *
al_ready_list(al_loop_head *loop);

/* al_handle_settle() for each. */
void
al_ready_settle(al_loop_head *loop);

int
al_ready_traverse(al_loop_head *loop, visitproc visit, void *arg);

#endif
