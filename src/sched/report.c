/* report.c - reports errors to the exception handler, and logs slow callbacks.
 *
 * This is the only C code that calls loop.call_exception_handler(). */
#include "sched/report.h"

#include "base/call.h"

#include "base/errors.h"
#include "sched/handle_object.h"
#include "sched/ready.h"

/* -> new context dict. `message` is stolen. */
static PyObject *
report_context(al_state *state, PyObject *message, PyObject *exc,
               const al_report_item *items)
{
    PyObject *context = PyDict_New();
    if (message == NULL || context == NULL ||
        PyDict_SetItem(context, state->names.message, message) < 0)
    {
        goto error;
    }
    if (exc != NULL &&
        PyDict_SetItem(context, state->names.exception, exc) < 0)
    {
        goto error;
    }
    for (; items->key != NULL; items++) {
        if (items->value != NULL &&
            PyDict_SetItem(context, items->key, items->value) < 0)
        {
            goto error;
        }
    }
    Py_DECREF(message);
    return context;

error:
    Py_XDECREF(context);
    Py_XDECREF(message);
    return NULL;
}

/* Make the context dict and call the handler: 0, or -1 with any exception set.
 * The caller owns references to all arguments: the handler may drop the loop's
 * last other reference. */
static int
report_call(PyObject *loop, al_state *state, PyObject *message, PyObject *exc,
            const al_report_item *items)
{
    PyObject *context = report_context(state, message, exc, items);
    if (context == NULL) {
        return -1;
    }
    if (al_ready_send_held_here(state) < 0) { /* the outside sees a report */
        Py_DECREF(context);
        return -1;
    }
    PyObject *result = PyObject_CallMethodOneArg(
        loop, state->names.call_exception_handler, context);
    Py_DECREF(context);
    return al_call_finish(result);
}

int
al_report_exception(PyObject *loop, al_state *state, PyObject *message,
                    const al_report_item *items)
{
    if (message == NULL || al_error_is_fatal()) {
        Py_XDECREF(message);
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    /* Set sys.exc_info() as an except block does: handlers call
     * logging.exception(), which reads it. */
    PyObject *handled = PyErr_GetHandledException();
    PyErr_SetHandledException(exc);
    Py_INCREF(loop);
    int rc = report_call(loop, state, message, exc, items);
    Py_DECREF(loop);
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    Py_XDECREF(exc);
    return rc;
}

PyObject *
al_report_describe_failure(al_state *state, PyObject *callback, PyObject *args,
                           bool is_debug)
{
    PyObject *stack[3] = {callback, args, is_debug ? Py_True : Py_False};
    PyObject *kwnames = NULL;
    PyObject *source = NULL;

    if (AL_FORMAT_CALLBACK_TAKES_DEBUG) {
        kwnames = PyTuple_Pack(1, state->names.debug);
    }
    if (kwnames != NULL || !AL_FORMAT_CALLBACK_TAKES_DEBUG) {
        source = PyObject_Vectorcall(state->imports.format_callback_source,
                                     stack, 2, kwnames);
    }
    Py_XDECREF(kwnames);
    if (source == NULL) {
        return NULL;
    }
    PyObject *message =
        PyUnicode_FromFormat("Exception in callback %S", source);
    Py_DECREF(source);
    return message;
}

/* The text for %s in "Executing %s took %.3f seconds". */
static PyObject *
report_describe(al_state *state, PyObject *object)
{
    if (al_handle_check(state, object)) {
        return PyObject_CallOneArg(state->imports.format_handle, object);
    }
    return PyObject_Repr(object);
}

/* The result of what was done for the log: 0, or -1 with an exception set. The
 * log's own errors are unraisable. -> 0, or -1 with a fatal one set */
static int
report_end_log(PyObject *object, int rc)
{
    if (rc == 0 || al_error_is_fatal()) {
        return rc;
    }
    PyErr_WriteUnraisable(object);
    return 0;
}

int
al_report_log_slow(al_loop_head *loop, PyObject *object, double seconds)
{
    PyObject *duration = PyFloat_FromDouble(seconds);
    PyObject *text =
        duration == NULL ? NULL : report_describe(loop->state, object);
    PyObject *result = NULL;

    AL_TALLY(loop->metrics.slow, 1);
    if (text != NULL) {
        result = PyObject_CallMethod(loop->state->imports.logger, "warning",
                                     "sOO", "Executing %s took %.3f seconds",
                                     text, duration);
    }
    Py_XDECREF(text);
    Py_XDECREF(duration);
    Py_XDECREF(result);
    return report_end_log(object, result == NULL ? -1 : 0);
}

/* Whether `seconds` are as long as loop.slow_callback_duration: 1, 0, or -1. */
static int
report_is_slow(al_loop_head *loop, double seconds)
{
    PyObject *limit =
        PyObject_GetAttrString((PyObject *)loop, "slow_callback_duration");
    PyObject *duration = PyFloat_FromDouble(seconds);
    int is_slow = limit == NULL || duration == NULL
                      ? -1
                      : PyObject_RichCompareBool(duration, limit, Py_GE);

    Py_XDECREF(limit);
    Py_XDECREF(duration);
    return is_slow;
}

int
al_report_slow(al_loop_head *loop, PyObject *object, double seconds)
{
    int is_slow = report_is_slow(loop, seconds);

    return is_slow > 0 ? al_report_log_slow(loop, object, seconds)
                       : report_end_log(object, is_slow);
}
