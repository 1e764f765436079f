/* turn.h - one turn of the loop: runs the entries that are queued as it
 * begins. */
#ifndef AL_SCHED_TURN_H
#define AL_SCHED_TURN_H

#include "sched/loop_head.h"

/* Run the entries that are queued now, but none that are queued meanwhile.
 * Held bytes of a step are sent before the next entry runs.
 * 0, or -1 with an exception set that ends the run; then the rest of the
 * entries stay queued. */
AL_NODISCARD int
al_turn_run(al_loop_head *loop);

/* The same, but call between() before each entry. It may queue entries and run
 * anything, and returns 0, or -1 with an exception set, which ends the run. */
AL_NODISCARD int
al_turn_run_long(al_loop_head *loop, int (*between)(al_loop_head *loop));

#endif
