/* cycles.c - how long a cycle is. */
#include "base/compat.h" /* clock_gettime */

#include "base/cycles.h"

#include <time.h>

/* Between two pairs that are this many seconds apart, the error of a reading,
 * some 50 nanoseconds, is small. */
#define CYCLES_LEAST_APART 1e-3

/* The thread may be interrupted between the two readings. So take those of
 * several that are closest to one another. */
#define CYCLES_READINGS 8

static double
cycles_monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

al_cycles_pair
al_cycles_read_pair(void)
{
    al_cycles_pair best = {0};
    uint64_t shortest = UINT64_MAX;

    for (int i = 0; i < CYCLES_READINGS; i++) {
        uint64_t before = al_cycles();
        double seconds = cycles_monotonic();
        uint64_t between = al_cycles() - before;
        if (between < shortest) {
            shortest = between;
            best = (al_cycles_pair){before + between / 2, seconds};
        }
    }
    return best;
}

double
al_cycles_learn_length(const al_cycles_pair *first)
{
    al_cycles_pair now;

    do {
        now = al_cycles_read_pair();
    } while (now.seconds - first->seconds < CYCLES_LEAST_APART);
    uint64_t passed = now.cycles - first->cycles;
    return passed == 0 ? 0 : (now.seconds - first->seconds) / (double)passed;
}
