/* ready.c - the ready queue: one FIFO of the entries that run next.
 *
 *     call_soon, woken tasks, fds, due timers ---> ring ---> run(object)
 *
 * Invariant
 *   (1) The entries are ring[(head + i) & (capacity - 1)] for 0 <= i < count,
 *       each with a function and an object. */
#include "sched/ready.h"

#include "base/grow.h"

/* Places of a new ring; the fewest that a cut leaves. */
#define READY_FIRST 64
#define READY_LEAST 1024

/* al_ready_put_last() moves at most this many entries. */
#define READY_MOST_MOVED 8

#ifdef AL_DEBUG

void
al_ready_check(const al_ready *ready)
{
    static size_t skipped;

    if (!al_check_is_time(&skipped, ready->count)) {
        return;
    }
    AL_HOLDS(1, (ready->capacity & (ready->capacity - 1)) == 0);
    AL_HOLDS(1, ready->count <= ready->capacity);
    AL_HOLDS(1, ready->capacity == 0 || ready->head < ready->capacity);
    for (size_t i = 0; i < ready->count; i++) {
        const al_entry *entry =
            &ready->ring[(ready->head + i) & (ready->capacity - 1)];
        AL_HOLDS(1, entry->run != NULL && entry->object != NULL &&
                        Py_REFCNT(entry->object) > 0);
    }
}

#endif

/* 0, or -1 (no exception) with nothing changed. */
static int
ready_resize(al_ready *ready, size_t capacity)
{
    al_ring ring = {ready->ring, ready->capacity, ready->head};

    if (al_grow_ring(&ring, sizeof(al_entry), ready->count, capacity) < 0) {
        return -1;
    }
    ready->ring = ring.items;
    ready->capacity = ring.capacity;
    ready->head = ring.head;
    return 0;
}

int
al_ready_grow(al_ready *ready)
{
    size_t capacity =
        al_grow_capacity(ready->capacity, ready->count + 1, READY_FIRST);
    if (ready_resize(ready, capacity) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void
al_ready_cut(al_ready *ready, size_t used)
{
    if (al_grow_is_spare(ready->capacity, used, READY_LEAST)) {
        /* If there is no memory for the shorter ring, the long one stays. */
        (void)ready_resize(ready,
                           al_grow_cut(ready->capacity, used, READY_LEAST));
    }
}

void
al_ready_put_last(al_ready *ready, size_t from,
                  bool (*goes_last)(const al_entry *entry))
{
    al_entry moved[READY_MOST_MOVED];
    size_t mask = ready->capacity - 1, count = 0, to = from;

    for (size_t i = from; i < ready->count; i++) {
        al_entry entry = ready->ring[(ready->head + i) & mask];
        if (count < READY_MOST_MOVED && goes_last(&entry)) {
            moved[count++] = entry;
        }
        else {
            ready->ring[(ready->head + to++) & mask] = entry;
        }
    }
    for (size_t i = 0; i < count; i++) {
        ready->ring[(ready->head + to + i) & mask] = moved[i];
    }
    AL_CHECK(al_ready_check, ready);
}

static inline al_loop_head *
ready_from_holder(al_list *node)
{
    return (al_loop_head *)((char *)node - offsetof(al_loop_head, holder));
}

int
al_ready_send_held_here(al_state *state)
{
    al_list *node = state->holders.next;

    while (AL_UNLIKELY(node != &state->holders)) {
        al_loop_head *loop = ready_from_holder(node);
        if (loop->thread_id != PyThread_get_thread_ident()) {
            node = node->next;
            continue;
        }
        if (al_loop_send_held(loop) < 0) { /* may run anything */
            return -1;
        }
        node = state->holders.next;
    }
    return 0;
}

void
al_ready_clear(al_loop_head *loop, al_ready *ready)
{
    /* Dropping an object may run code that pushes: take one at a time. */
    while (ready->count > 0) {
        al_entry entry = al_ready_pop(loop, ready);
        Py_DECREF(entry.object);
    }
    PyMem_Free(ready->ring);
    *ready = (al_ready){0};
}
