/* grow.h - how long an array is that grows and shrinks.
 *
 *     no room for one more ---------> twice as long
 *     a quarter in use, or less ----> half as long, and again
 *     never shorter than what its owner calls the least
 *
 * After a growth, and after a cut, about half of it is free: as many entries as
 * half of those that are in it have to come or go before it is moved again. So
 * an entry pays for few moves, however the number of entries goes up and down.
 * Below the least nothing is cut: the bursts of every day cost nothing.
 *
 * An array is cut where it has been emptied, not at each entry taken out. */
#ifndef AL_BASE_GROW_H
#define AL_BASE_GROW_H

#include "base/compat.h"

#include <stdbool.h>
#include <stddef.h>

/* The capacity for `wanted` entries of an array that has fewer places; `first`
 * is that of its first allocation. */
static inline size_t
al_grow_capacity(size_t capacity, size_t wanted, size_t first)
{
    capacity = capacity == 0 ? first : capacity;
    while (capacity < wanted) {
        capacity *= 2;
    }
    return capacity;
}

/* Whether an array has so many places to spare that it is to be cut. */
static inline bool
al_grow_is_spare(size_t capacity, size_t used, size_t least)
{
    return AL_UNLIKELY(capacity > least) && used <= capacity / 4;
}

/* The capacity that it is to be cut to. */
static inline size_t
al_grow_cut(size_t capacity, size_t used, size_t least)
{
    while (al_grow_is_spare(capacity, used, least)) {
        capacity /= 2;
    }
    return capacity;
}

/* A ring: its entries are items[(head + i) & (capacity - 1)] for
 * 0 <= i < count. */
typedef struct {
    void *items;     /* owned, NULL <=> capacity is 0 */
    size_t capacity; /* 0 or a power of two */
    size_t head;
} al_ring;

/* Have places for `capacity` entries of `size` bytes in a ring with `count` of
 * them: at least twice as many as there were, or fewer.
 * 0, or -1 (no exception) with nothing changed. */
AL_NODISCARD int
al_grow_ring(al_ring *ring, size_t size, size_t count, size_t capacity);

#endif
