/* flow.c - the limits for pause_writing() and resume_writing(), with asyncio's
 * rules for their values.
 *
 *     bytes queued
 *       high ........./\.......... above: pause_writing()
 *                    /  \
 *       low  ......./....\........ back at or below: resume_writing()
 */
#include "net/flow.h"

#define AL_FLOW_HIGH ((size_t)64 * 1024)

void
al_flow_init(al_flow *self)
{
    *self = (al_flow){.high = AL_FLOW_HIGH, .low = AL_FLOW_HIGH / 4};
}

/* Derive the limit that is not given (NULL) from the other one, as asyncio
 * does. `high` and `low` get new references. 0, or -1 with an exception
 * set. */
static int
flow_derive(PyObject *given_high, PyObject *given_low, PyObject **high,
            PyObject **low)
{
    *high = *low = NULL;
    PyObject *four = PyLong_FromLong(4);
    if (four == NULL) {
        return -1;
    }
    if (given_high != NULL) {
        *high = Py_NewRef(given_high);
    }
    else if (given_low != NULL) {
        *high = PyNumber_Multiply(four, given_low);
    }
    else {
        *high = PyLong_FromSize_t(AL_FLOW_HIGH);
    }
    if (given_low != NULL) {
        *low = Py_NewRef(given_low);
    }
    else if (*high != NULL) {
        *low = PyNumber_FloorDivide(*high, four);
    }
    Py_DECREF(four);
    if (*high == NULL || *low == NULL) {
        Py_CLEAR(*high);
        Py_CLEAR(*low);
        return -1;
    }
    return 0;
}

/* Whether high >= low >= 0: 1 / 0, or -1 with an exception set. */
static int
flow_is_ordered(PyObject *high, PyObject *low)
{
    PyObject *zero = PyLong_FromLong(0);
    if (zero == NULL) {
        return -1;
    }
    int rc = PyObject_RichCompareBool(high, low, Py_GE);
    if (rc > 0) {
        rc = PyObject_RichCompareBool(low, zero, Py_GE);
    }
    Py_DECREF(zero);
    return rc;
}

/* Convert a limit, which is not negative, to whole bytes. A limit that is too
 * large or infinite becomes the largest. 0, or -1 with an exception set. */
static int
flow_size(PyObject *limit, size_t *size)
{
    if (PyFloat_Check(limit)) {
        double value = PyFloat_AS_DOUBLE(limit);
        *size = value < (double)PY_SSIZE_T_MAX ? (size_t)value
                                               : (size_t)PY_SSIZE_T_MAX;
        return 0;
    }
    Py_ssize_t value = PyNumber_AsSsize_t(limit, NULL);
    if (value == -1 && PyErr_Occurred()) {
        return -1;
    }
    *size = (size_t)value;
    return 0;
}

int
al_flow_set_limits(al_flow *self, PyObject *given_high, PyObject *given_low)
{
    PyObject *high, *low;
    size_t high_size, low_size;
    int rc = -1;

    if (flow_derive(given_high == Py_None ? NULL : given_high,
                    given_low == Py_None ? NULL : given_low, &high, &low) < 0)
    {
        return -1;
    }
    int is_ordered = flow_is_ordered(high, low);
    if (is_ordered == 0) {
        PyErr_Format(PyExc_ValueError,
                     "high (%R) must be >= low (%R) must be >= 0", high, low);
    }
    else if (is_ordered > 0 && flow_size(high, &high_size) == 0 &&
             flow_size(low, &low_size) == 0)
    {
        self->high = high_size;
        self->low = low_size;
        rc = 0;
    }
    Py_DECREF(high);
    Py_DECREF(low);
    return rc;
}
