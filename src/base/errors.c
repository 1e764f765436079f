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
