/* field.h - attributes that are fields of a C struct. */
#ifndef AL_PRIMITIVES_FIELD_H
#define AL_PRIMITIVES_FIELD_H

#include "primitives/primitive.h"

/* The closure of a getter and its setter. */
typedef struct {
    Py_ssize_t offset; /* of a PyObject *, NULL <=> None; or of a bool */
    const char *name;
} al_field;

/* Lines of a PyGetSetDef. `field` is a static const al_field. */
#define AL_FIELD(name, field)                                                 \
    {name, al_field_get, al_field_set, NULL, (void *)&(field)}
#define AL_FIELD_BOOL(name, field)                                            \
    {name, al_field_get_bool, al_field_set_bool, NULL, (void *)&(field)}

PyObject *
al_field_get(PyObject *op, void *closure);
int
al_field_set(PyObject *op, PyObject *value, void *closure);
PyObject *
al_field_get_bool(PyObject *op, void *closure);
int
al_field_set_bool(PyObject *op, PyObject *value, void *closure);

#endif
