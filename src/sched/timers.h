/* timers.h - the deadlines of call_later() and call_at(). */
#ifndef AL_SCHED_TIMERS_H
#define AL_SCHED_TIMERS_H

#include "sched/handle_object.h"

/* time.monotonic(): seconds. */
double
al_timers_clock(void);

/* The loop's clock in seconds: the monotonic clock, or what an overridden
 * loop.time() says. 0, or -1 with an exception set. */
AL_NODISCARD int
al_timers_now(al_loop_head *loop, double *now);

/* Arm a handle for its `when`; takes a reference to it.
 * 0, or -1 with MemoryError set. */
AL_NODISCARD int
al_timers_arm(al_loop_head *loop, TimerHandleObject *handle);

/* Remove an armed handle from the heap and drop the heap's reference. */
void
al_timers_disarm(al_loop_head *loop, TimerHandleObject *handle);

/* Remove the first deadline. -> its handle, which gets the heap's reference,
 * or NULL (no exception) if there is none. */
PyObject *
al_timers_take(al_loop_head *loop);

/* Queue {run, handle} for each handle that is due, in the order of the
 * deadlines.
 * 0, or -1 with an exception set. */
AL_NODISCARD int
al_timers_collect(al_loop_head *loop, al_run_fn run);

/* Remove the holes at the top, so that the first deadline is there: false if
 * there is no deadline. */
bool
al_timers_find_first(al_timers *timers);

/* Set `until` to the time on the monotonic clock until which a poll may wait:
 * HUGE_VAL if there is no deadline, 0 if one has passed. 0, or -1 with an
 * exception set. */
AL_NODISCARD int
al_timers_wait(al_loop_head *loop, double *until);

/* Drop all deadlines. */
void
al_timers_clear(al_loop_head *loop);

#endif
