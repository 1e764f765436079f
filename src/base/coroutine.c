/* coroutine.c - the arguments of throw(), and StopIteration: the return value of
 * a step where there is no PySendResult. */
#include "base/coroutine.h"

#include <stdbool.h>

/* The exception that throw(type, value) means, or the one that making it
 * raised: a new reference. PyErr_SetObject() would set its __context__ to an
 * exception that the caller of throw() handles. */
static PyObject *
throw_normalize(PyObject *type, PyObject *value)
{
    PyObject *traceback = NULL;

    Py_INCREF(type);
    Py_XINCREF(value);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) { /* making the exception raised another one */
        (void)PyException_SetTraceback(value, traceback);
        Py_DECREF(traceback);
    }
    Py_DECREF(type);
    return value;
}

/* Set TypeError if there are too few or too many arguments, and warn if there
 * is more than one. 0, or -1 with an exception set. */
static int
throw_check_count(Py_ssize_t nargs)
{
    if (nargs < 1 || nargs > 3) {
        PyErr_Format(PyExc_TypeError,
                     "throw expected at %s %d argument%s, got %zd",
                     nargs < 1 ? "least" : "most", nargs < 1 ? 1 : 3,
                     nargs < 1 ? "" : "s", nargs);
        return -1;
    }
    if (AL_THROW_TRIPLE_IS_DEPRECATED && nargs > 1) {
        return PyErr_WarnEx(PyExc_DeprecationWarning,
                            "the (type, exc, tb) signature of throw() is "
                            "deprecated, use the single-arg signature "
                            "instead.",
                            1);
    }
    return 0;
}

PyObject *
al_throw_parse(PyObject *const *args, Py_ssize_t nargs)
{
    if (throw_check_count(nargs) < 0) {
        return NULL;
    }
    PyObject *type = args[0];
    PyObject *value = nargs > 1 && args[1] != Py_None ? args[1] : NULL;
    PyObject *traceback = nargs > 2 && args[2] != Py_None ? args[2] : NULL;

    if (traceback != NULL && !PyTraceBack_Check(traceback)) {
        PyErr_SetString(PyExc_TypeError,
                        "throw() third argument must be a traceback");
        return NULL;
    }
    if (PyExceptionInstance_Check(type)) {
        if (value != NULL) {
            PyErr_SetString(PyExc_TypeError,
                            "instance exception may not have a separate "
                            "value");
            return NULL;
        }
        value = type;
        type = (PyObject *)Py_TYPE(value);
    }
    else if (!PyExceptionClass_Check(type)) {
        PyErr_SetString(PyExc_TypeError,
                        "exceptions must be classes deriving BaseException "
                        "or instances of such a class");
        return NULL;
    }
    PyObject *exc = throw_normalize(type, value);
    if (traceback != NULL) {
        (void)PyException_SetTraceback(exc, traceback);
    }
    return exc;
}

PyObject *
al_step_stop(PyObject *result)
{
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);

    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    Py_DECREF(result);
    return NULL;
}

PyObject *
al_step_sent(PySendResult step, PyObject *result)
{
    result = al_step_next(step, result);
    if (result == NULL && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

PyObject *
al_step_send(PyObject *op, PyObject *value)
{
    PyObject *result;
    PySendResult step = Py_TYPE(op)->tp_as_async->am_send(op, value, &result);

    return al_step_sent(step, result);
}

PySendResult
al_step_thrown(PyObject *value, PyObject **result)
{
    *result = value;
    if (value != NULL) {
        return PYGEN_NEXT;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyObject *stop = PyErr_GetRaisedException();
    if (!PyErr_GivenExceptionMatches(stop, PyExc_StopIteration)) {
        PyErr_SetRaisedException(stop); /* making the StopIteration failed */
        return PYGEN_ERROR;
    }
    value = ((PyStopIterationObject *)stop)->value;
    *result = Py_NewRef(value != NULL ? value : Py_None);
    Py_DECREF(stop);
    return PYGEN_RETURN;
}
