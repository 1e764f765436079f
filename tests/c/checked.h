/* checked.h - what the C programs of this folder share. */
#ifndef CHECKED_H
#define CHECKED_H

#include "base/compat.h" /* before any system header */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* End the program where a property does not hold. assert() would do, too, but
 * this one also says in which round: a round begins with a seed of its own. */
#define CHECK(...)                                                            \
    ((__VA_ARGS__) ? (void)0 : check_fail(__LINE__, #__VA_ARGS__))

static uint64_t check_round;
static uint64_t random_state;

static void
check_fail(int line, const char *condition)
{
    fprintf(stderr, "line %d, round %llu: not true: %s\n", line,
            (unsigned long long)check_round, condition);
    abort();
}

/* Begin a round: its random numbers depend on its number only. */
static inline void
check_begin(uint64_t round)
{
    check_round = round;
    random_state = round * UINT64_C(0x9E3779B97F4A7C15) + 1;
}

/* A random number from 0 to n - 1 (xorshift64*). */
static inline size_t
random_below(size_t n)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (size_t)((random_state * UINT64_C(0x2545F4914F6CDD1D)) >> 33) % n;
}

#endif
