/* watchdog.h - notices that a loop is blocked, while it is. */
#ifndef AL_IO_WATCHDOG_H
#define AL_IO_WATCHDOG_H

#include "sched/loop_head.h"

/* A Watchdog for stalls of `seconds` or more. -> new reference, or NULL with an
 * exception set. */
AL_NODISCARD PyObject *
al_watchdog_new(al_loop_head *loop, double seconds);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_watchdog_init_type(PyObject *module);

#endif
