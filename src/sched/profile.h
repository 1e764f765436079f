/* profile.h - how long the steps of a loop take, by name. */
#ifndef AL_SCHED_PROFILE_H
#define AL_SCHED_PROFILE_H

#include "sched/loop_head.h"

/* Whether somebody wants to know how long steps take: call it after each change
 * of is_debug, profiles or slow_cycles. */
static inline void
al_profile_update(al_loop_head *loop)
{
    AL_STORE(loop->times_steps, loop->is_debug || loop->profiles != NULL ||
                                    loop->slow_cycles != AL_SLOW_NEVER);
}

/* The name of the entry that runs next. May run anything; there is no current
 * task. -> new reference to a str, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_profile_name(al_loop_head *loop, PyObject *object, bool *is_task);

/* A step of that name took `cycles`. What goes wrong is unraisable. */
void
al_profile_note(al_loop_head *loop, PyObject *name, bool is_task,
                uint64_t cycles);

/* A new profile is on, which is a pair of dicts: of tasks, and of others. It is
 * off. -> new reference; 0, or -1 with an exception set. */
AL_NODISCARD PyObject *
al_profile_begin(al_loop_head *loop);
AL_NODISCARD int
al_profile_end(al_loop_head *loop, PyObject *profile);

/* What one of the dicts has. -> new dict {name: (count, seconds, seconds of the
 * longest)}, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_profile_read(al_state *state, PyObject *dict);

#endif
