/* latency.h - how long operations took: counts in buckets, from which percentiles are read.
 *
 * A bucket is 1/32 of a power of two wide, so a percentile is at most 3 % too high, at any magnitude, in 15 KiB.
 */
#ifndef LATENCY_H
#define LATENCY_H

#include <stdint.h>
#include <string.h>

enum {
    LATENCY_STEPS = 32,
    LATENCY_STEPS_LOG2 = 5,
    LATENCY_BUCKETS = (64 - LATENCY_STEPS_LOG2 + 1) * LATENCY_STEPS
};

static uint64_t latency_counts[LATENCY_BUCKETS];
static uint64_t latency_total;

static inline void
latency_reset(void)
{
    memset(latency_counts, 0, sizeof latency_counts);
    latency_total = 0;
}

static void
latency_add(uint64_t ns)
{
    /* Below 32 a bucket a nanosecond, then 32 of them for each power of two. */
    int power =
        ns < LATENCY_STEPS ? 0 : 63 - __builtin_clzll(ns) - LATENCY_STEPS_LOG2;

    latency_counts[(uint64_t)power * LATENCY_STEPS + (ns >> power)]++;
    latency_total++;
}

/* Nanoseconds within which this part of all (0 to 1) was done; 0 if there were none. */
static uint64_t
latency_percentile(double part)
{
    uint64_t wanted = (uint64_t)(part * (double)latency_total), seen = 0;

    for (uint64_t i = 0; i < LATENCY_BUCKETS; i++) {
        seen += latency_counts[i];
        if (seen > wanted || (seen == latency_total && seen != 0)) {
            uint64_t power = i < 2 * LATENCY_STEPS ? 0 : i / LATENCY_STEPS - 1;
            return ((i - power * LATENCY_STEPS + 1) << power) - 1;
        }
    }
    return 0;
}

#endif
