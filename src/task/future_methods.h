/* future_methods.h - the Python methods that Future and Task share.
 *
 * A Task cannot inherit them from our Future: its base is asyncio's Task.  So
 * both types list the same functions. */
#ifndef AL_TASK_FUTURE_METHODS_H
#define AL_TASK_FUTURE_METHODS_H

#include "task/future.h"

PyObject *
Future_result(PyObject *op, PyObject *ignored);
PyObject *
Future_exception(PyObject *op, PyObject *ignored);
PyObject *
Future_add_done_callback(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames);
PyObject *
Future_remove_done_callback(PyObject *op, PyObject *function);
PyObject *
Future_cancelled(PyObject *op, PyObject *ignored);
PyObject *
Future_done(PyObject *op, PyObject *ignored);
PyObject *
Future_get_loop(PyObject *op, PyObject *ignored);
PyObject *
Future__make_cancelled_error(PyObject *op, PyObject *ignored);

extern const char Future_result_doc[];
extern const char Future_exception_doc[];
extern const char Future_add_done_callback_doc[];
extern const char Future_remove_done_callback_doc[];
extern const char Future_cancelled_doc[];
extern const char Future_done_doc[];
extern const char Future_get_loop_doc[];
extern const char Future__make_cancelled_error_doc[];

#define AL_FUTURE_COMMON_METHODS                                              \
    {"result", Future_result, METH_NOARGS, Future_result_doc},                \
        {"exception", Future_exception, METH_NOARGS, Future_exception_doc},   \
        {"add_done_callback",                                                 \
         (PyCFunction)(void (*)(void))Future_add_done_callback,               \
         METH_FASTCALL | METH_KEYWORDS, Future_add_done_callback_doc},        \
        {"remove_done_callback", Future_remove_done_callback, METH_O,         \
         Future_remove_done_callback_doc},                                    \
        {"cancelled", Future_cancelled, METH_NOARGS, Future_cancelled_doc},   \
        {"done", Future_done, METH_NOARGS, Future_done_doc},                  \
        {"get_loop", Future_get_loop, METH_NOARGS, Future_get_loop_doc},      \
        {"_make_cancelled_error", Future__make_cancelled_error, METH_NOARGS,  \
         Future__make_cancelled_error_doc},                                   \
        {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,           \
         "See PEP 585."}

PyObject *
Future_get__state(PyObject *op, void *closure);
PyObject *
Future_get__result(PyObject *op, void *closure);
PyObject *
Future_get__exception(PyObject *op, void *closure);
PyObject *
Future_get__callbacks(PyObject *op, void *closure);
PyObject *
Future_get__loop(PyObject *op, void *closure);
PyObject *
Future_get__source_traceback(PyObject *op, void *closure);
PyObject *
Future_get__log_traceback(PyObject *op, void *closure);
int
Future_set__log_traceback(PyObject *op, PyObject *value, void *closure);
PyObject *
Future_get__asyncio_future_blocking(PyObject *op, void *closure);
int
Future_set__asyncio_future_blocking(PyObject *op, PyObject *value,
                                    void *closure);

#define AL_FUTURE_COMMON_GETSET                                               \
    {"_state", Future_get__state, NULL, NULL, NULL},                          \
        {"_result", Future_get__result, NULL, NULL, NULL},                    \
        {"_exception", Future_get__exception, NULL, NULL, NULL},              \
        {"_callbacks", Future_get__callbacks, NULL, NULL, NULL},              \
        {"_loop", Future_get__loop, NULL, NULL, NULL},                        \
        {"_source_traceback", Future_get__source_traceback, NULL, NULL,       \
         NULL},                                                               \
        {"_log_traceback", Future_get__log_traceback,                         \
         Future_set__log_traceback, NULL, NULL},                              \
    {                                                                         \
        "_asyncio_future_blocking", Future_get__asyncio_future_blocking,      \
            Future_set__asyncio_future_blocking, NULL, NULL                   \
    }

/* A bool attribute from Python: 0 or 1, or -1 with an exception set (also
 * when it is being deleted). */
AL_NODISCARD int
al_future_bool_attribute(PyObject *value);

#endif
