/* report.h - telling the user: the exception handler and the slow log. */
#ifndef AL_SCHED_REPORT_H
#define AL_SCHED_REPORT_H

#include "sched/loop_head.h"

/* One more pair of the context dict for the exception handler; `key` is
 * interned by the module state; a NULL value leaves the pair out. */
typedef struct {
    PyObject *key;   /* borrowed */
    PyObject *value; /* borrowed, may be NULL */
} al_report_item;

/* Hand the exception now set to loop.call_exception_handler() together with
 * `message` (stolen, NULL after a failure to make it) and the items (ended by a
 * NULL key). Clears the exception.
 * 0, or -1 with an exception set that is to leave run_forever(): SystemExit or
 * KeyboardInterrupt, which are not reported; what kept the message from being
 * made; what an overridden call_exception_handler() raised. */
AL_NODISCARD int
al_report_exception(PyObject *loop, al_state *state, PyObject *message,
                    const al_report_item *items);

/* In debug mode log an entry that ran longer than loop.slow_callback_duration
 * seconds. 0, or -1 with SystemExit or KeyboardInterrupt set. */
AL_NODISCARD int
al_report_slow(al_loop_head *loop, PyObject *object, double seconds);

#endif
