/* metrics.h - what a loop counts and measures of itself, always.
 *
 *     run   |------------------------------------------------|  a run
 *     idle        |~~~~~~~|               |~~~~~~~~~~~|         waits
 *     poll     |--|                 |-|                         looks
 *     busy  |--|          |---------| |---|           |------|  the rest
 *                         ^         ^     ^           ^
 *                       since     since  ...
 *
 * The loop reads al_cycles() before and after each poll, to decide how often it
 * polls.  The times are taken from these readings.  So a turn that skips its
 * poll costs nothing.
 *
 * The delay of a moment is how long what became due then had to wait at most:
 * until the loop looked for it.  It is the time between two looks, or between
 * the end of a wait and the next look; in a wait it is 0.  Delays are weighted by
 * time: a stall of a second counts as much as a second of short turns.
 *
 * Only the thread that has locked the loop writes; any thread reads, and does
 * not wait: a loop that is blocked shows its figures, too.
 *
 * Invariant
 *   (1) `since` is the end of the last wait, or the beginning of the last look
 *       or of the run, whichever came last. */
#ifndef AL_SCHED_METRICS_H
#define AL_SCHED_METRICS_H

#include "base/cycles.h"
#include "base/state.h"

/* A time that is measured again and again, in al_cycles(). One word, so that
 * other threads read it at any time: twice the sum, minus twice the time of the
 * beginning while it runs; then the lowest bit is set. */
typedef uint64_t al_stopwatch;

static inline void
al_stopwatch_start(al_stopwatch *self, uint64_t now)
{
    __atomic_store_n(self, *self - 2 * now + 1, __ATOMIC_RELEASE);
}

static inline void
al_stopwatch_stop(al_stopwatch *self, uint64_t now)
{
    __atomic_store_n(self, *self + 2 * now - 1, __ATOMIC_RELEASE);
}

static inline al_stopwatch
al_stopwatch_load(const al_stopwatch *self)
{
    return __atomic_load_n(self, __ATOMIC_ACQUIRE);
}

static inline bool
al_stopwatch_runs(al_stopwatch self)
{
    return self & 1;
}

/* Its sum at the time `now`. */
static inline uint64_t
al_stopwatch_sum(al_stopwatch self, uint64_t now)
{
    uint64_t sum = al_stopwatch_runs(self) ? self + 2 * now - 1 : self;

    return sum >> 1;
}

/* A histogram of delays in al_cycles(). A bucket is an eighth of a power of
 * two, and counts cycles, not delays: how long the delay was such a one. */
#define AL_DELAYS_BITS 3
#define AL_DELAYS_MOST_BITS                                                   \
    48 /* longer ones, of a day, are in the last bucket */
#define AL_DELAYS_BUCKETS                                                     \
    ((AL_DELAYS_MOST_BITS - AL_DELAYS_BITS + 1) << AL_DELAYS_BITS)

typedef struct {
    uint64_t longest;
    uint64_t buckets[AL_DELAYS_BUCKETS];
} al_delays;

/* The bucket of a delay. */
static inline unsigned
al_delays_bucket(uint64_t cycles)
{
    if (cycles < 1u << (AL_DELAYS_BITS + 1)) {
        return (unsigned)cycles;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(cycles) - AL_DELAYS_BITS;
    unsigned bucket = (shift << AL_DELAYS_BITS) + (unsigned)(cycles >> shift);

    return Py_MIN(bucket, AL_DELAYS_BUCKETS - 1);
}

/* The lowest delay of a bucket. */
static inline uint64_t
al_delays_bound(unsigned bucket)
{
    if (bucket < 1u << (AL_DELAYS_BITS + 1)) {
        return bucket;
    }
    unsigned shift = (bucket >> AL_DELAYS_BITS) - 1;
    uint64_t top =
        (bucket & ((1u << AL_DELAYS_BITS) - 1)) | (1u << AL_DELAYS_BITS);

    return top << shift;
}

/* Add to a number that other threads read. */
#define AL_TALLY(place, number) AL_STORE(place, (place) + (number))

/* What any thread may change, as it may make a task for any loop. */
#if AL_FREE_THREADED
#    define AL_TALLY_SHARED(place, number)                                    \
        ((void)__atomic_add_fetch(&(place), number, __ATOMIC_RELAXED))
#else
#    define AL_TALLY_SHARED(place, number) ((place) += (number))
#endif

/* What a watchdog looks at, even when the loop was freed: io/watchdog.h. */
typedef struct {
    size_t owners;
    bool is_over; /* the loop is closed, or was freed */
    al_stopwatch run;
    al_stopwatch idle;
    uint64_t since; /* al_cycles(), by (1) */
} al_pulse;

/* -> NULL with MemoryError set. */
AL_NODISCARD al_pulse *
al_pulse_new(void);

static inline al_pulse *
al_pulse_own(al_pulse *self)
{
    (void)AL_ADD(self->owners, 1);
    return self;
}

static inline void
al_pulse_disown(al_pulse *self)
{
    if (AL_ADD(self->owners, -1) == 0) {
        PyMem_RawFree(self);
    }
}

/* The counters, which only grow. */
#define AL_METRICS_COUNTERS(X)                                                \
    X(tasks_made)                                                             \
    X(tasks_ended)                                                            \
    X(accepted)                                                               \
    X(connected) /* connections made, accepted or not */                      \
    X(lost)      /* how many of them have ended */                            \
    X(failed)    /* how many of these with an error */                        \
    X(bytes_in)                                                               \
    X(bytes_out)                                                              \
    X(handshakes)                                                             \
    X(reports)                                                                \
    X(slow)

#define AL_METRICS_FIELD(name) uint64_t name;

typedef struct {
    al_list node;    /* in the loops of the state: metrics_sum.c */
    al_pulse *pulse; /* owned */
    uint64_t poll;   /* al_cycles() in looks */
    uint64_t most_ready;
    uint64_t watched; /* descriptors, now */
    AL_METRICS_COUNTERS(AL_METRICS_FIELD)
    bool has_waited; /* the last poll was a wait */
    al_delays delays;
} al_metrics;

/* From `since` to `now` nothing was looked for. */
static inline void
al_metrics_note_delay(al_metrics *self, uint64_t delay)
{
    if (AL_UNLIKELY(delay > self->delays.longest)) {
        AL_STORE(self->delays.longest, delay);
    }
    AL_TALLY(self->delays.buckets[al_delays_bucket(delay)], delay);
}

/* A look begins, or a wait, or a run ends. */
static inline void
al_metrics_note_look(al_metrics *self, uint64_t now)
{
    al_metrics_note_delay(self, now - self->pulse->since);
    AL_STORE(self->pulse->since, now);
    self->has_waited = false;
}

/* A look has ended, which began at `begin`; or a wait, which does not count. */
static inline void
al_metrics_end_look(al_metrics *self, uint64_t begin, uint64_t now)
{
    if (!self->has_waited) {
        AL_TALLY(self->poll, now - begin);
    }
}

/* A wait begins, after al_metrics_note_look(), and ends, both without the GIL:
 * the time in which the thread waits for the GIL is a delay. */
static inline void
al_metrics_begin_wait(al_metrics *self)
{
    al_stopwatch_start(&self->pulse->idle, al_cycles());
}

static inline void
al_metrics_end_wait(al_metrics *self)
{
    uint64_t now = al_cycles();

    self->has_waited = true;
    __atomic_store_n(&self->pulse->since, now, __ATOMIC_RELAXED);
    al_stopwatch_stop(&self->pulse->idle, now); /* after `since` */
}

/* What a run begins and ends with. It may be within another one, which goes
 * on. */
static inline bool
al_metrics_begin_run(al_metrics *self)
{
    if (al_stopwatch_runs(self->pulse->run)) {
        return false;
    }
    uint64_t now = al_cycles();
    AL_STORE(self->pulse->since, now);
    al_stopwatch_start(&self->pulse->run, now);
    return true;
}

static inline void
al_metrics_end_run(al_metrics *self)
{
    uint64_t now = al_cycles();

    al_metrics_note_look(self, now);
    al_stopwatch_stop(&self->pulse->run, now);
}

/* In a child process: the thread that ran the loop is not there. */
static inline void
al_metrics_stop(al_metrics *self)
{
    uint64_t now = al_cycles();

    if (al_stopwatch_runs(self->pulse->idle)) {
        al_stopwatch_stop(&self->pulse->idle, now);
    }
    if (al_stopwatch_runs(self->pulse->run)) {
        al_stopwatch_stop(&self->pulse->run, now);
    }
}

#endif
