/* errors.c - exceptions: from errno, and handled or fatal. */
#include "base/errors.h"

#include <errno.h>

int
al_error_is_fatal(void)
{
    return PyErr_ExceptionMatches(PyExc_SystemExit) ||
           PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}

PyObject *
al_error_set_errno(int errnum)
{
    errno = errnum;
    return PyErr_SetFromErrno(PyExc_OSError);
}

PyObject *
al_error_set_errno_message(int errnum, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    PyObject *message = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    if (message == NULL) {
        return NULL;
    }
    PyObject *exc =
        PyObject_CallFunction(PyExc_OSError, "iN", errnum, message);
    if (exc != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        Py_DECREF(exc);
    }
    return NULL;
}

/* Break the chain of contexts that begins at `op` where it comes to `exc`. */
static void
error_cut_chain(PyObject *op, PyObject *exc)
{
    PyObject *context;

    while ((context = PyException_GetContext(op)) != NULL) {
        Py_DECREF(context); /* `op` owns it */
        if (context == exc) {
            PyException_SetContext(op, NULL);
            return;
        }
        op = context;
    }
}

void
al_error_replace(PyObject *exc)
{
    PyObject *handled = PyErr_GetRaisedException();

    if (handled != NULL && handled != exc) {
        error_cut_chain(handled, exc);
        PyException_SetContext(exc, handled); /* steals */
    }
    else {
        Py_XDECREF(handled);
    }
    PyErr_SetRaisedException(exc);
}

void
al_error_chain(PyObject *exc)
{
    PyObject *raised = PyErr_GetRaisedException();

    PyErr_SetRaisedException(exc);
    if (raised != NULL) {
        al_error_replace(raised);
    }
}
