/* field.c - attributes that are fields of a C struct. */
#include "primitives/field.h"

static inline void *
field_of(PyObject *op, const al_field *field)
{
    return (char *)op + field->offset;
}

PyObject *
al_field_get(PyObject *op, void *closure)
{
    PyObject *value;

    AL_LOCK(op);
    value = Py_NewRef(al_or_none(*(PyObject **)field_of(op, closure)));
    AL_UNLOCK();
    return value;
}

int
al_field_set(PyObject *op, PyObject *value, void *closure)
{
    const al_field *field = closure;

    return al_primitive_store(op, field_of(op, field), value, field->name);
}

PyObject *
al_field_get_bool(PyObject *op, void *closure)
{
    return PyBool_FromLong(AL_LOAD(*(bool *)field_of(op, closure)));
}

int
al_field_set_bool(PyObject *op, PyObject *value, void *closure)
{
    const al_field *field = closure;

    return al_primitive_store_bool(field_of(op, field), value, field->name);
}
