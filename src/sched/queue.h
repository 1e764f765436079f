/* queue.h - a FIFO of entries. */
#ifndef AL_SCHED_QUEUE_H
#define AL_SCHED_QUEUE_H

#include "sched/loop_head.h"

#ifdef AL_DEBUG
void
al_queue_check(const al_queue *queue);
#endif

/* Make room for one more entry. 0, or -1 with MemoryError set. */
AL_NODISCARD int
al_queue_grow(al_queue *queue);

/* Make a ring shorter that is much too long for `used` entries (at least those
 * in it). Call this after each turn, and before the loop waits or stops. */
void
al_queue_cut(al_queue *queue, size_t used);

/* Put an entry at the end of a queue; takes a reference to `object`.
 * 0, or -1 with MemoryError set. */
static inline int
al_queue_append(al_queue *queue, al_run_fn run, PyObject *object)
{
    if (AL_UNLIKELY(queue->count == queue->capacity) &&
        al_queue_grow(queue) < 0)
    {
        return -1;
    }
    al_entry *entry =
        &queue->ring[(queue->head + queue->count) & (queue->capacity - 1)];
    entry->run = run;
    entry->object = Py_NewRef(object);
    AL_STORE(queue->count, queue->count + 1);
    AL_CHECK(al_queue_check, queue);
    return 0;
}

static inline PyObject *
al_queue_object(const al_queue *queue, size_t i)
{
    return queue->ring[(queue->head + i) & (queue->capacity - 1)].object;
}

/* Look at the entries from place `from` of the queue on: move those for which
 * goes_last() is true behind the others, but only the first few of them. */
void
al_queue_put_last(al_queue *queue, size_t from,
                  bool (*goes_last)(const al_entry *entry));

#endif
