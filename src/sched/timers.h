/* timers.h - deadlines: what call_later() and call_at() wait for. */
#ifndef AL_SCHED_TIMERS_H
#define AL_SCHED_TIMERS_H

#include "sched/handle.h"
#include "sched/loop_head.h"

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

/* Take an armed handle off the heap and drop the heap's reference. */
void
al_timers_disarm(al_loop_head *loop, TimerHandleObject *handle);

/* Queue the handles that are due, in the order of their deadlines.
 * 0, or -1 with an exception set. */
AL_NODISCARD int
al_timers_collect(al_loop_head *loop);

/* Until when a poll may wait for deadlines, on the monotonic clock: HUGE_VAL
 * without one, 0 if one has passed. 0, or -1 with an exception set. */
AL_NODISCARD int
al_timers_wait(al_loop_head *loop, double *until);

/* Drop all deadlines. */
void
al_timers_clear(al_loop_head *loop);

/* The armed handles, the first deadline first, the others in no order.
 * -> new list, or NULL. */
AL_NODISCARD PyObject *
al_timers_list(al_loop_head *loop);

/* al_handle_settle() for each. */
void
al_timers_settle(al_loop_head *loop);

int
al_timers_traverse(al_loop_head *loop, visitproc visit, void *arg);

#endif
