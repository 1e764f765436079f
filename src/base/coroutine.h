/* coroutine.h - what objects in C that are awaited have in common with
 * coroutines: how a step becomes the result of __next__(), send() or throw(),
 * and back. */
#ifndef AL_BASE_COROUTINE_H
#define AL_BASE_COROUTINE_H

#include "base/compat.h"

/* The exception that throw(exception) or throw(type, value, traceback) means,
 * or the one that making it raised. -> new reference, or NULL with an exception
 * set: TypeError, or a DeprecationWarning that is an error. */
AL_NODISCARD PyObject *
al_throw_parse(PyObject *const *args, Py_ssize_t nargs);

/* Set a StopIteration with the result (stolen) of a step, and return NULL. */
PyObject *
al_step_stop(PyObject *result);

/* The outcome of a step as tp_iternext returns it; `result` is stolen, and NULL
 * if the step has failed. NULL without an exception means that the step has
 * returned None. */
static inline PyObject *
al_step_next(PySendResult step, PyObject *result)
{
    if (step != PYGEN_RETURN) {
        return result;
    }
    if (result != Py_None) {
        return al_step_stop(result);
    }
    Py_DECREF(result);
    return NULL;
}

/* The same as send() and throw() return it: the end is always a
 * StopIteration. */
PyObject *
al_step_sent(PySendResult step, PyObject *result);

/* A method send(), for a type that has am_send. */
PyObject *
al_step_send(PyObject *op, PyObject *value);

/* The outcome of a method throw() that has returned `value` (stolen), or NULL
 * with an exception set. *result is what PyIter_Send() would set. */
AL_NODISCARD PySendResult
al_step_thrown(PyObject *value, PyObject **result);

#endif
