/* turn.h - one turn of the loop: runs what is queued as it begins. */
#ifndef AL_SCHED_TURN_H
#define AL_SCHED_TURN_H

#include "sched/loop_head.h"

/* Run what is queued now, but nothing queued meanwhile: one turn. What an entry
 * has left held is sent before the next one runs.
 * 0, or -1 with the exception set that an entry ended the run with; then the
 * rest of the turn stays queued. */
AL_NODISCARD int
al_turn_run(al_loop_head *loop);

/* The same with a call of `between` before each entry: 0, or -1 with an
 * exception set, which ends the run. It may queue entries, and run anything. */
AL_NODISCARD int
al_turn_run_long(al_loop_head *loop, int (*between)(al_loop_head *loop));

#endif
