/* cycles.h - the cheapest clock: it bounds how long polls are skipped, and
 * measures where a loop's time goes.
 *
 * Its unit depends on the processor.  So compare a difference of two readings
 * with al_cycles_budget(), or multiply it by the length of a cycle. */
#ifndef AL_BASE_CYCLES_H
#define AL_BASE_CYCLES_H

#include "base/compat.h"

#include <stdint.h>

#if defined(__x86_64__) || defined(__i386__)

static inline uint64_t
al_cycles(void)
{
    return __builtin_ia32_rdtsc();
}

/* 20 to 60 microseconds on processors from 5 down to 1.6 GHz. */
static inline uint64_t
al_cycles_budget(void)
{
    return 100000;
}

#elif defined(__aarch64__)

static inline uint64_t
al_cycles(void)
{
    uint64_t ticks;

    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
}

static inline uint64_t
al_cycles_budget(void)
{
    uint64_t per_second;

    __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(per_second));
    return per_second / 33000; /* 30 microseconds */
}

#else

#    include <time.h>

static inline uint64_t
al_cycles(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t
al_cycles_budget(void)
{
    return 30000; /* nanoseconds */
}

#endif

/* The clock and the monotonic one, read together. */
typedef struct {
    uint64_t cycles;
    double seconds; /* of CLOCK_MONOTONIC */
} al_cycles_pair;

al_cycles_pair
al_cycles_read_pair(void);

/* The length of a cycle in seconds, by what has passed since `first` was read:
 * at least a millisecond, or this function waits for its end. */
double
al_cycles_learn_length(const al_cycles_pair *first);

#endif
