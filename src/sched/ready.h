/* ready.h - the ready queue: one FIFO of the entries that run next. */
#ifndef AL_SCHED_READY_H
#define AL_SCHED_READY_H

#include "sched/loop_head.h"

#ifdef AL_DEBUG
void
al_ready_check(const al_ready *ready);
#endif

/* Make room for one more entry. 0, or -1 with MemoryError set. */
AL_NODISCARD int
al_ready_grow(al_ready *ready);

/* Make a ring shorter that is much too long for `used` entries (at least those
 * in it). Call this after each turn, and before the loop waits or stops. */
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
    AL_CHECK(al_ready_check, ready);
    return 0;
}

/* Queue an entry for the next turn. The GIL is the only lock: any thread may
 * push, and then has to wake up the loop. 0, or -1 with MemoryError set. */
static inline int
al_ready_push(al_loop_head *loop, al_run_fn run, PyObject *object)
{
    return al_ready_append(&loop->ready, run, object);
}

/* Take out the first entry; the caller gets the queue's reference. */
static inline al_entry
al_ready_pop(al_loop_head *loop, al_ready *ready)
{
    al_entry entry = ready->ring[ready->head];

    loop->newest_handle = NULL; /* it may be this entry's: handle.c (3) */
    ready->head = (ready->head + 1) & (ready->capacity - 1);
    ready->count--;
    AL_CHECK(al_ready_check, ready);
    return entry;
}

static inline PyObject *
al_ready_object(const al_ready *ready, size_t i)
{
    return ready->ring[(ready->head + i) & (ready->capacity - 1)].object;
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

/* Look at the entries from place `from` of the queue on: move those for which
 * goes_last() is true behind the others, but only the first few of them. */
void
al_ready_put_last(al_ready *ready, size_t from,
                  bool (*goes_last)(const al_entry *entry));

/* al_loop_send_held() for each loop that runs in this thread: a step of one
 * loop may run another. For callers that do not know the loop, or that wake
 * another thread. 0, or -1 with an exception set that the caller returns. */
AL_NODISCARD int
al_ready_send_held_here(al_state *state);

/* Drop all entries of the queue without running them. */
void
al_ready_clear(al_loop_head *loop, al_ready *ready);

#endif
