/* call.h - calls into Python: what a module has by a name, to be called; and
 * the result, of which only this is wanted: whether the call succeeded, or
 * whether the result is true. */
#ifndef AL_BASE_CALL_H
#define AL_BASE_CALL_H

#include "base/compat.h"

/* What a module has by a name in its dict, which other threads may change.
 * -> new reference, or NULL with AttributeError set. */
AL_NODISCARD static inline PyObject *
al_call_find(PyObject *globals, PyObject *name)
{
    PyObject *found;

    if (PyDict_GetItemRef(globals, name, &found) == 0) {
        PyErr_SetObject(PyExc_AttributeError, name);
    }
    return found;
}

/* Whether a module has `stock` by a name: 1, 0, or -1 with an exception set. */
AL_NODISCARD static inline int
al_call_finds(PyObject *globals, PyObject *name, PyObject *stock)
{
    PyObject *found;
    int rc = PyDict_GetItemRef(globals, name, &found);

    Py_XDECREF(found); /* only to compare */
    return rc < 0 ? -1 : found == stock;
}

/* Call `function` (stolen, may be NULL: it was not found) with `argument`, with
 * none if that is NULL. -> new reference, or NULL with an exception set. */
AL_NODISCARD static inline PyObject *
al_call_found(PyObject *function, PyObject *argument)
{
    PyObject *result =
        function == NULL
            ? NULL
            : PyObject_CallFunctionObjArgs(function, argument, NULL);

    Py_XDECREF(function);
    return result;
}

/* Drop the result (stolen). 0, or -1 if it is NULL: the call has raised. */
AL_NODISCARD static inline int
al_call_finish(PyObject *result)
{
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

/* Drop the result (stolen), a Python int: 0 and *number; -1 with an exception
 * set if the call or the conversion has raised. */
AL_NODISCARD static inline int
al_call_number(PyObject *result, long *number)
{
    *number = result == NULL ? -1 : PyLong_AsLong(result);
    Py_XDECREF(result);
    return *number == -1 && PyErr_Occurred() ? -1 : 0;
}

/* What a method of Python's returns: None, or NULL if rc < 0. */
static inline PyObject *
al_call_none(int rc)
{
    return rc < 0 ? NULL : Py_NewRef(Py_None);
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
