/* type_tag.c - tells whether a type, or a base of it, has changed. */
#include "base/type_tag.h"

/* A multiplicative hash (Fibonacci hashing). */
#define TYPE_FACTOR UINT64_C(0x9e3779b97f4a7c15)

#define TYPE_SUM_BIT (UINT64_C(1) << 63)

/* Go on with a sum of the addresses in a dict. */
static uint64_t
type_sum_dict(PyObject *dict, uint64_t sum)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;

    AL_LOCK(dict);
    while (PyDict_Next(dict, &position, &key, &value)) {
        sum = (sum ^ (uintptr_t)key) * TYPE_FACTOR;
        sum = (sum ^ (uintptr_t)value) * TYPE_FACTOR;
    }
    AL_UNLOCK();
    return sum;
}

/* The garbage collector may have cleared the type: then it has no bases. */
uint64_t
al_type_sum(PyTypeObject *type)
{
    PyObject *mro = Py_XNewRef(type->tp_mro);
    Py_ssize_t count = mro == NULL ? 0 : PyTuple_GET_SIZE(mro);
    uint64_t sum = 0;

    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *base = PyTuple_GET_ITEM(mro, i);
        PyObject *dict = PyType_GetDict((PyTypeObject *)base);
        sum = type_sum_dict(dict, sum);
        Py_DECREF(dict);
    }
    Py_XDECREF(mro);
    sum |= TYPE_SUM_BIT;
    return sum == UINT64_MAX ? TYPE_SUM_BIT : sum;
}

int
al_type_give_tag(PyTypeObject *type, PyObject *name)
{
    PyObject *attribute;
    int rc = PyObject_GetOptionalAttr((PyObject *)type, name, &attribute);

    Py_XDECREF(attribute);
    return rc < 0 ? -1 : 0;
}
