/* grow.c - makes rings longer and shorter. */
#include "base/grow.h"

#include <string.h>

/* Make the ring longer in place. This moves only the items that had wrapped
 * around to the front. */
static int
ring_extend(al_ring *ring, size_t size, size_t count, size_t capacity)
{
    size_t end = ring->head + count;

    assert(capacity / 2 >= ring->capacity);
    if (capacity > (size_t)PY_SSIZE_T_MAX / size) {
        return -1;
    }
    char *items = PyMem_Realloc(ring->items, capacity * size);
    if (items == NULL) {
        return -1;
    }
    if (end > ring->capacity) {
        memcpy(items + ring->capacity * size, items,
               (end - ring->capacity) * size);
    }
    ring->items = items;
    ring->capacity = capacity;
    return 0;
}

/* Make the ring shorter, in new memory. It then begins at the first place. */
static int
ring_cut(al_ring *ring, size_t size, size_t count, size_t capacity)
{
    const char *old = ring->items;
    size_t before_end = Py_MIN(count, ring->capacity - ring->head);

    assert(count <= capacity);
    char *items = PyMem_Malloc(capacity * size);
    if (items == NULL) {
        return -1;
    }
    memcpy(items, old + ring->head * size, before_end * size);
    memcpy(items + before_end * size, old, (count - before_end) * size);
    PyMem_Free(ring->items);
    *ring = (al_ring){items, capacity, 0};
    return 0;
}

int
al_grow_ring(al_ring *ring, size_t size, size_t count, size_t capacity)
{
    return capacity > ring->capacity ? ring_extend(ring, size, count, capacity)
                                     : ring_cut(ring, size, count, capacity);
}

void
al_grow_ring_cut(al_ring *ring, size_t size, size_t count, size_t least)
{
    if (al_grow_is_spare(ring->capacity, count, least)) {
        (void)ring_cut(ring, size, count,
                       al_grow_cut(ring->capacity, count, least));
    }
}
