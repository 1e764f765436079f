/* report.h - reports errors to the exception handler, and logs slow
 * callbacks. */
#ifndef AL_SCHED_REPORT_H
#define AL_SCHED_REPORT_H

#include "sched/loop_head.h"

/* One more pair of the context dict for the exception handler; `key` is
 * interned by the module state; a NULL value leaves the pair out. */
typedef struct {
    PyObject *key;   /* borrowed */
    PyObject *value; /* borrowed, may be NULL */
} al_report_item;

/* Give the exception that is set to loop.call_exception_handler(), with
 * `message` (stolen; NULL if making it has failed) and the items (a NULL key
 * ends them). Clears the exception.
 * 0, or -1 with an exception set that run_forever() raises: SystemExit or
 * KeyboardInterrupt, which are not reported; the failure to make the message;
 * or what an overridden call_exception_handler() raised. */
AL_NODISCARD int
al_report_exception(PyObject *loop, al_state *state, PyObject *message,
                    const al_report_item *items);

/* "Exception in callback ..." with asyncio's text for callback(*args).
 * -> new str, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_report_describe_failure(al_state *state, PyObject *callback, PyObject *args,
                           bool is_debug);

/* In debug mode log an entry that ran longer than loop.slow_callback_duration
 * seconds. 0, or -1 with SystemExit or KeyboardInterrupt set. */
AL_NODISCARD int
al_report_slow(al_loop_head *loop, PyObject *object, double seconds);

/* Log an entry that ran for `seconds`, in any mode. The same result. */
AL_NODISCARD int
al_report_log_slow(al_loop_head *loop, PyObject *object, double seconds);

#endif
