/* grow.h - the length of arrays that grow and shrink.
 *
 *     no room for one more item ----> twice as long
 *     a quarter in use, or less ----> half as long, and again
 *     never shorter than `least`, which its owner chooses
 *
 * After a growth and after a cut about half of the array is free.  So many
 * items have to come or go before it is moved again, and each item pays for
 * few moves.  An array of `least` places or fewer is never cut: everyday
 * bursts cost nothing.
 *
 * An array is cut after it was emptied, not after each item that is
 * removed. */
#ifndef AL_BASE_GROW_H
#define AL_BASE_GROW_H

#include "base/compat.h"

#include <stdbool.h>
#include <stddef.h>

/* The capacity for `wanted` items of an array that has fewer places; `first`
 * is the capacity of the first allocation. */
static inline size_t
al_grow_capacity(size_t capacity, size_t wanted, size_t first)
{
    capacity = capacity == 0 ? first : capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    return capacity;
}

/* Whether an array has so many free places that it should be cut. */
static inline bool
al_grow_is_spare(size_t capacity, size_t used, size_t least)
{
    return AL_UNLIKELY(capacity > least) && used <= capacity / 4;
}

/* The capacity after the cut. */
static inline size_t
al_grow_cut(size_t capacity, size_t used, size_t least)
{
    while (al_grow_is_spare(capacity, used, least)) {
        capacity /= 2;
    }
    return capacity;
}

/* A ring: its items are items[(head + i) & (capacity - 1)] for
 * 0 <= i < count. */
typedef struct {
    void *items;     /* owned, NULL <=> capacity is 0 */
    size_t capacity; /* 0 or a power of two */
    size_t head;
} al_ring;

/* Change the capacity of a ring with `count` items of `size` bytes: at least
 * twice as many places as before, or fewer.
 * 0, or -1 (no exception) with nothing changed. */
AL_NODISCARD int
al_grow_ring(al_ring *ring, size_t size, size_t count, size_t capacity);

/* Make a ring with `count` items of `size` bytes shorter if it has far too
 * many places. If there is no memory for that, it stays long. */
void
al_grow_ring_cut(al_ring *ring, size_t size, size_t count, size_t least);

#endif
