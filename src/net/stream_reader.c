/* stream_reader.c - feeds an asyncio.StreamReader without its Python methods.
 *
 *     data_received ---> StreamReaderProtocol -- weak --> StreamReader
 *                                                          |       |
 *                                                  bytes --> buffer  waiter
 *
 * This file does what asyncio's data_received() and feed_data() do, but only
 * if these would be called: no subclass overrides them, and they are assigned
 * neither on the object nor in the class.  If a reader is unusual in any way,
 * we call the methods, which then raise their exceptions.
 *
 * Invariants
 *   (1) From the check of a reader until its waiter is woken, nothing calls
 *       into Python.  A reader whose waiter cannot be woken so is unusual.
 *   (2) The buffer is longer than its contents between grow() and fill() only.
 */
#include "net/stream_reader.h"

#include <string.h>

#include "base/call.h"
#include "task/future.h"

/* --- finding it --------------------------------------------------------- */

/* Whether `method` is a function of asyncio/streams.py, bound to `object`. */
static bool
stream_reader_is_stock(al_state *state, PyObject *method, PyObject *object)
{
    if (!PyMethod_Check(method) || PyMethod_GET_SELF(method) != object) {
        return false;
    }
    PyObject *function = PyMethod_GET_FUNCTION(method);
    return PyFunction_Check(function) &&
           PyFunction_GET_GLOBALS(function) == state->imports.streams_globals;
}

/* Whether waking the waiter only queues it, by (1). */
static bool
stream_reader_can_wake(al_state *state, PyObject *waiter)
{
    return waiter == Py_None ||
           (al_future_check_exact(state, waiter) &&
            al_future_direct_loop(al_future_of(waiter)) != NULL);
}

static bool
stream_reader_can_grow(PyObject *buffer)
{
    return PyByteArray_CheckExact(buffer) &&
           ((PyByteArrayObject *)buffer)->ob_exports == 0;
}

/* Whether feed_data() would do the same with this reader as we do. */
static bool
stream_reader_is_usual(al_stream_reader *self, al_state *state)
{
    return stream_reader_is_stock(state, self->feed_data, self->reader) &&
           stream_reader_is_stock(state, self->wakeup_waiter, self->reader) &&
           self->eof == Py_False && PyLong_CheckExact(self->limit) &&
           stream_reader_can_wake(state, self->waiter) &&
           stream_reader_can_grow(self->buffer);
}

/* Get the reader from the protocol's weak reference: 1; 0 if there is none; -1
 * with an exception set. */
static int
stream_reader_take(al_stream_reader *self, al_state *state, PyObject *protocol)
{
    PyObject *reference;

    int rc = PyObject_GetOptionalAttr(protocol, state->names._stream_reader_wr,
                                      &reference);
    if (rc > 0) {
        rc = PyWeakref_CheckRefExact(reference)
                 ? PyWeakref_GetRef(reference, &self->reader)
                 : 0;
        Py_DECREF(reference);
    }
    return rc;
}

/* Get the reader's attributes: 1; 0 if one is unusual; -1 with an exception
 * set. */
static int
stream_reader_look(al_stream_reader *self, al_state *state)
{
    const struct {
        PyObject *name;
        PyObject **value;
    } attributes[] = {
        {state->names.feed_data, &self->feed_data},
        {state->names._wakeup_waiter, &self->wakeup_waiter},
        {state->names._eof, &self->eof},
        {state->names._limit, &self->limit},
        {state->names._waiter, &self->waiter},
        {state->names._buffer, &self->buffer},
    };

    for (size_t i = 0; i < Py_ARRAY_LENGTH(attributes); i++) {
        int rc = PyObject_GetOptionalAttr(self->reader, attributes[i].name,
                                          attributes[i].value);
        if (rc <= 0) {
            return rc;
        }
    }
    if (!stream_reader_is_usual(self, state)) {
        return 0;
    }
    self->size = PyByteArray_GET_SIZE(self->buffer);
    return 1;
}

int
al_stream_reader_find(al_stream_reader *self, al_state *state,
                      PyObject *protocol, PyObject *data_received)
{
    *self = (al_stream_reader){0};
    if (!stream_reader_is_stock(state, data_received, protocol)) {
        return 0;
    }
    int rc = stream_reader_take(self, state, protocol);
    if (rc > 0) {
        rc = stream_reader_look(self, state);
    }
    if (rc <= 0) {
        al_stream_reader_clear(self);
    }
    return rc;
}

void
al_stream_reader_clear(al_stream_reader *self)
{
    Py_XDECREF(self->feed_data);
    Py_XDECREF(self->wakeup_waiter);
    Py_XDECREF(self->eof);
    Py_XDECREF(self->limit);
    Py_XDECREF(self->waiter);
    Py_XDECREF(self->buffer);
    Py_XDECREF(self->reader);
}

/* --- feeding it --------------------------------------------------------- */

static int
stream_reader_wake(al_stream_reader *self, al_state *state)
{
    if (self->waiter == Py_None) {
        return 0;
    }
    if (PyObject_SetAttr(self->reader, state->names._waiter, Py_None) < 0) {
        return -1;
    }
    return al_future_of(self->waiter)->state == AL_FUTURE_CANCELLED
               ? 0
               : al_future_set_result(self->waiter, Py_None);
}

/* Whether the buffer has more than twice the limit. */
static bool
stream_reader_is_full(al_stream_reader *self)
{
    int overflow;
    long long limit = PyLong_AsLongLongAndOverflow(self->limit, &overflow);
    Py_ssize_t size = PyByteArray_GET_SIZE(self->buffer);

    return overflow < 0 || (overflow == 0 && size / 2 + size % 2 > limit);
}

/* 0, or -1 with an exception set. */
static int
stream_reader_pause(al_stream_reader *self, al_state *state,
                    PyObject *transport)
{
    PyObject *result =
        PyObject_CallMethodNoArgs(transport, state->names.pause_reading);
    if (result != NULL) {
        Py_DECREF(result);
        return PyObject_SetAttr(self->reader, state->names._paused, Py_True);
    }
    if (!PyErr_ExceptionMatches(PyExc_NotImplementedError)) {
        return -1;
    }
    PyErr_Clear(); /* it cannot be paused: do not ask it again */
    return PyObject_SetAttr(self->reader, state->names._transport, Py_None);
}

/* The reader is full: pause its transport. 0, or -1 with an exception set. */
static int
stream_reader_stop(al_stream_reader *self, al_state *state)
{
    PyObject *transport =
        PyObject_GetAttr(self->reader, state->names._transport);
    if (transport == NULL) {
        return -1;
    }
    int rc = 0;
    if (transport != Py_None) {
        int is_paused = al_call_is_true(
            PyObject_GetAttr(self->reader, state->names._paused));
        rc = is_paused != 0 ? Py_MIN(is_paused, 0)
                            : stream_reader_pause(self, state, transport);
    }
    Py_DECREF(transport);
    return rc;
}

char *
al_stream_reader_grow(al_stream_reader *self, size_t size)
{
    if (PyByteArray_Resize(self->buffer, self->size + (Py_ssize_t)size) < 0) {
        return NULL;
    }
    return PyByteArray_AS_STRING(self->buffer) + self->size;
}

int
al_stream_reader_fill(al_stream_reader *self, al_state *state, size_t size)
{
    if (PyByteArray_Resize(self->buffer, self->size + (Py_ssize_t)size) < 0) {
        return -1;
    }
    if (size == 0) {
        return 0;
    }
    if (stream_reader_wake(self, state) < 0) {
        return -1;
    }
    return stream_reader_is_full(self) ? stream_reader_stop(self, state) : 0;
}

int
al_stream_reader_feed(al_stream_reader *self, al_state *state,
                      const char *data, size_t size)
{
    char *end = al_stream_reader_grow(self, size);
    if (end == NULL) {
        return -1;
    }
    memcpy(end, data, size);
    return al_stream_reader_fill(self, state, size);
}
