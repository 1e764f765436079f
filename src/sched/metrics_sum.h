/* metrics_sum.h - the figures of one loop at a moment, or of all together. */
#ifndef AL_SCHED_METRICS_SUM_H
#define AL_SCHED_METRICS_SUM_H

#include "sched/loop_head.h"

/* As in al_metrics, with times in al_cycles(). */
typedef struct {
    uint64_t loops;
    uint64_t turns;
    uint64_t callbacks;
    uint64_t run;
    uint64_t idle;
    uint64_t poll;
    uint64_t ready; /* entries in the queue, now */
    uint64_t most_ready;
    uint64_t timers; /* armed now */
    uint64_t watched;
    AL_METRICS_COUNTERS(AL_METRICS_FIELD)
    al_delays delays;
} al_metrics_sum;

/* Add the figures of a loop, or of the program's loops: those that were freed
 * count, too. Any thread may call them. */
void
al_metrics_add_loop(al_metrics_sum *sum, const al_loop_head *loop);
void
al_metrics_add_all(al_metrics_sum *sum, al_state *state);

/* A timer was due `seconds` before its loop woke up for it. */
void
al_metrics_note_late(al_loop_head *loop, double seconds);

/* The length of a cycle in seconds: the same at each call, so that no time ever
 * gets shorter. */
double
al_metrics_cycle_length(al_state *state);

/* How many cycles so many seconds are; UINT64_MAX: too many to count. */
uint64_t
al_metrics_cycles(al_state *state, double seconds);

/* A loop is made: 0, or -1 with MemoryError set. It is freed. */
AL_NODISCARD int
al_metrics_open(al_loop_head *loop);
void
al_metrics_close(al_loop_head *loop);

/* Of the module: 0, or -1 with MemoryError set. */
AL_NODISCARD int
al_metrics_init(PyObject *module);

#endif
