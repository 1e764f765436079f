/* grow.c - base/grow.c: capacities, and a ring against an array. */
#include "checked.h"
#include "pymem.h"

#include "base/grow.h"

#include <string.h>

#define ROUNDS 300
#define STEPS 2000

static size_t
random_power(int most)
{
    return (size_t)1 << random_below((size_t)most + 1);
}

/* The sizes that al_grow_capacity() and al_grow_cut() give. */
static void
check_capacities(void)
{
    size_t first = random_power(8);
    size_t least = random_power(8);
    size_t capacity = random_below(4) == 0 ? 0 : first * random_power(8);
    size_t wanted = 1 + random_below(100000);

    size_t grown = al_grow_capacity(capacity, wanted, first);
    CHECK(grown >= wanted && grown >= capacity);
    CHECK(grown % first == 0 && (grown / first & (grown / first - 1)) == 0);
    /* Not longer than needed. */
    CHECK(grown == (capacity == 0 ? first : capacity) || grown / 2 < wanted);

    size_t used = random_below(grown + 1);
    size_t cut = al_grow_cut(grown, used, least);
    CHECK(used <= cut && cut <= grown);
    CHECK(!al_grow_is_spare(cut, used, least));
    if (cut < grown) {
        CHECK(cut >= least);
        CHECK(cut >= 2 * used); /* room for as many more, before it grows */
    }
    else {
        CHECK(grown <= least || used > grown / 4);
    }
}

/* An item has a size that no alignment rounds. */
typedef struct {
    unsigned char bytes[12];
} item;

static al_ring ring;
static size_t ring_count;
static uint64_t pushed; /* the number of the last item that was pushed */

static item
make_item(uint64_t number)
{
    item made = {{0}};

    memcpy(made.bytes, &number, sizeof(number));
    made.bytes[8] = (unsigned char)~number;
    return made;
}

static item *
ring_at(size_t i)
{
    return (item *)ring.items + ((ring.head + i) & (ring.capacity - 1));
}

/* The items are the last ones that were pushed. */
static void
check_ring(void)
{
    CHECK((ring.capacity & (ring.capacity - 1)) == 0);
    CHECK(ring_count <= ring.capacity);
    CHECK((ring.items == NULL) == (ring.capacity == 0));
    for (size_t i = 0; i < ring_count; i++) {
        item expected = make_item(pushed - ring_count + 1 + i);
        CHECK(memcmp(ring_at(i), &expected, sizeof(item)) == 0);
    }
}

/* Change the capacity, or fail and change nothing. */
static int
resize(size_t capacity)
{
    al_ring before = ring;

    pymem_fails = random_below(4) == 0;
    int rc = al_grow_ring(&ring, sizeof(item), ring_count, capacity);
    CHECK((rc < 0) == (pymem_fails != 0));
    pymem_fails = 0;
    if (rc < 0) {
        CHECK(memcmp(&ring, &before, sizeof(ring)) == 0);
    }
    else {
        CHECK(ring.capacity == capacity);
    }
    return rc;
}

static void
push(size_t first)
{
    if (ring_count == ring.capacity &&
        resize(al_grow_capacity(ring.capacity, ring_count + 1, first)) < 0)
    {
        return;
    }
    pushed++;
    *ring_at(ring_count++) = make_item(pushed);
}

static void
pop(size_t least)
{
    size_t n = random_below(ring_count + 1);

    ring_count -= n;
    if (ring.capacity > 0) {
        ring.head = (ring.head + n) & (ring.capacity - 1);
    }
    if (random_below(2) == 0) {
        pymem_fails = random_below(4) == 0;
        al_grow_ring_cut(&ring, sizeof(item), ring_count, least);
        CHECK(pymem_fails ||
              !al_grow_is_spare(ring.capacity, ring_count, least));
        pymem_fails = 0;
    }
    else if (al_grow_is_spare(ring.capacity, ring_count, least)) {
        (void)resize(al_grow_cut(ring.capacity, ring_count, least));
    }
}

static void
run_ring(void)
{
    size_t first = random_power(5);
    size_t least = random_power(5);
    size_t pops = 2 + random_below(60); /* one step of so many is a pop */

    ring = (al_ring){0};
    ring_count = 0;
    for (int step = 0; step < STEPS; step++) {
        if (random_below(pops) == 0) {
            pop(least);
        }
        else {
            push(first);
        }
        if (random_below(16) == 0) {
            check_ring();
        }
    }
    check_ring();
    PyMem_Free(ring.items);
}

/* A size that cannot be is refused before it is computed. */
static void
check_too_large(void)
{
    ring = (al_ring){0};
    CHECK(al_grow_ring(&ring, 64, 0, (size_t)1 << 60) < 0);
    CHECK(ring.items == NULL && ring.capacity == 0);
}

int
main(void)
{
    for (uint64_t round = 0; round < ROUNDS; round++) {
        check_begin(round);
        for (int i = 0; i < 100; i++) {
            check_capacities();
        }
        run_ring();
    }
    check_too_large();
    CHECK(pymem_blocks == 0);
    return 0;
}
