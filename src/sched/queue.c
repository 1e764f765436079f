/* queue.c - a FIFO of entries: a ring.
 *
 * Invariant
 *   (1) The entries are ring[(head + i) & (capacity - 1)] for 0 <= i < count,
 *       each with a function and an object. */
#include "sched/queue.h"

#include "base/grow.h"

/* Places of a new ring; the fewest that a cut leaves. */
#define QUEUE_FIRST 64
#define QUEUE_LEAST 1024

/* al_queue_put_last() moves at most this many entries. */
#define QUEUE_MOST_MOVED 8

#ifdef AL_DEBUG

void
al_queue_check(const al_queue *queue)
{
    static size_t skipped;

    if (!al_check_is_time(&skipped, queue->count)) {
        return;
    }
    AL_HOLDS(1, (queue->capacity & (queue->capacity - 1)) == 0);
    AL_HOLDS(1, queue->count <= queue->capacity);
    AL_HOLDS(1, queue->capacity == 0 || queue->head < queue->capacity);
    for (size_t i = 0; i < queue->count; i++) {
        const al_entry *entry =
            &queue->ring[(queue->head + i) & (queue->capacity - 1)];
        AL_HOLDS(1, entry->run != NULL && entry->object != NULL &&
                        Py_REFCNT(entry->object) > 0);
    }
}

#endif

/* 0, or -1 (no exception) with nothing changed. */
static int
queue_resize(al_queue *queue, size_t capacity)
{
    al_ring ring = {queue->ring, queue->capacity, queue->head};

    if (al_grow_ring(&ring, sizeof(al_entry), queue->count, capacity) < 0) {
        return -1;
    }
    queue->ring = ring.items;
    queue->capacity = ring.capacity;
    queue->head = ring.head;
    return 0;
}

int
al_queue_grow(al_queue *queue)
{
    size_t capacity =
        al_grow_capacity(queue->capacity, queue->count + 1, QUEUE_FIRST);
    if (queue_resize(queue, capacity) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void
al_queue_cut(al_queue *queue, size_t used)
{
    if (al_grow_is_spare(queue->capacity, used, QUEUE_LEAST)) {
        /* If there is no memory for the shorter ring, the long one stays. */
        (void)queue_resize(queue,
                           al_grow_cut(queue->capacity, used, QUEUE_LEAST));
    }
}

void
al_queue_put_last(al_queue *queue, size_t from,
                  bool (*goes_last)(const al_entry *entry))
{
    al_entry moved[QUEUE_MOST_MOVED];
    size_t mask = queue->capacity - 1, count = 0, to = from;

    for (size_t i = from; i < queue->count; i++) {
        al_entry entry = queue->ring[(queue->head + i) & mask];
        if (count < QUEUE_MOST_MOVED && goes_last(&entry)) {
            moved[count++] = entry;
        }
        else {
            queue->ring[(queue->head + to++) & mask] = entry;
        }
    }
    for (size_t i = 0; i < count; i++) {
        queue->ring[(queue->head + to + i) & mask] = moved[i];
    }
    AL_CHECK(al_queue_check, queue);
}
