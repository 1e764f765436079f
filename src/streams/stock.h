/* stock.h - whether a method, or a protocol, is as asyncio has it. */
#ifndef AL_STREAMS_STOCK_H
#define AL_STREAMS_STOCK_H

#include "base/state.h"

/* Whether `method` is a function of asyncio/streams.py, bound to `object`. */
static inline bool
al_streams_is_stock(const al_state *state, PyObject *method, PyObject *object)
{
    if (!PyMethod_Check(method) || PyMethod_GET_SELF(method) != object) {
        return false;
    }
    PyObject *function = PyMethod_GET_FUNCTION(method);
    return PyFunction_Check(function) &&
           PyFunction_GET_GLOBALS(function) == state->imports.streams_globals;
}

/* Whether it is a StreamReaderProtocol, asyncio's class `stock`, and a subclass
 * does not find the reader in another way. */
static inline bool
al_streams_is_protocol(PyObject *object, PyTypeObject *stock)
{
    PyTypeObject *type = Py_TYPE(object);

    if (type == stock) {
        return true;
    }
    if (!PyType_IsSubtype(type, stock)) {
        return false;
    }
    PyObject *usual =
        PyObject_GetAttrString((PyObject *)stock, "_stream_reader");
    PyObject *found =
        PyObject_GetAttrString((PyObject *)type, "_stream_reader");
    PyErr_Clear();
    bool is_usual = found != NULL && found == usual;
    Py_XDECREF(found);
    Py_XDECREF(usual);
    return is_usual;
}

#endif
