/* call.h - the result of a call into Python, of which only this is wanted:
 * whether the call succeeded, or whether the result is true. */
#ifndef AL_BASE_CALL_H
#define AL_BASE_CALL_H

#include "base/compat.h"

/* Drop the result (stolen). 0, or -1 if it is NULL: the call has raised. */
AL_NODISCARD static inline int
al_call_finish(PyObject *result)
{
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Drop the result (stolen): 1 if it is true, 0 if it is false; -1 with an
 * exception set if the call or the question has raised. */
AL_NODISCARD static inline int
al_call_is_true(PyObject *result)
{
    int is_true = result == NULL ? -1 : PyObject_IsTrue(result);

    Py_XDECREF(result);
    return is_true;
}

#endif
