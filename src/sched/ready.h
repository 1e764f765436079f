/* ready.h - the ready queue: one FIFO of everything that runs next. */
#ifndef AL_SCHED_READY_H
#define AL_SCHED_READY_H

#include "sched/loop_head.h"

/* Make room for one more entry. 0, or -1 with MemoryError set. */
AL_NODISCARD int
al_ready_grow(al_ready *ready);

/* Give back memory, unless `used` entries need it; there are no more. Done after
 * each turn, and to be called before a loop waits or ends a run. */
void
al_ready_cut(al_ready *ready, size_t used);

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

/* Take out the first entry, with its reference. */
static inline al_entry
al_ready_pop(al_loop_head *loop, al_ready *ready)
{
    al_entry entry = ready->ring[ready->head];

    loop->fresh_handle = NULL; /* it may be this one: handle.c (3) */
    ready->head = (ready->head + 1) & (ready->capacity - 1);
    ready->count--;
    return entry;
}

static inline PyObject *
al_ready_object(const al_ready *ready, size_t i)
{
    return ready->ring[(ready->head + i) & (ready->capacity - 1)].object;
}

/* The number of the entry that is queued next, by the order in which they run;
 * and whether an entry that had a number has not begun to run yet. */
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

/* Of the entries from number `from` of the queue on, put those that `is_late` says
 * behind the others, as far as there are few of them. */
void
al_ready_put_last(al_ready *ready, size_t from,
                  bool (*is_late)(const al_entry *entry));

/* al_loop_send_held() of each loop that runs in this thread (one may run in a
 * step of another): for who does not know the loop, or wakes another thread.
 * 0, or -1 with an exception to be raised set. */
AL_NODISCARD int
al_ready_send_held_here(al_state *state);

/* Drop everything in one of the loop's queues without running it. */
void
al_ready_clear(al_loop_head *loop, al_ready *ready);

#endif
