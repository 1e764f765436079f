/* stream_reader.c - feeds an asyncio.StreamReader without its Python methods.
 *
 *     data_received ---> StreamReaderProtocol -- weak --> StreamReader
 *                                                          |       |
 *                                                  bytes --> buffer  waiter
 *
 * This file does what asyncio's data_received() and feed_data() do, but only
 * if these would be called: no subclass overrides them, and they are assigned
 * neither on the object nor in the class.  If a reader is unusual in any way,
 * we call the methods, which then raise their exceptions.  A StreamReader of
 * ours knows itself whether it is usual (streams/reader.c).
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
    return al_streams_is_stock(state, self->feed_data, self->reader) &&
           al_streams_is_stock(state, self->wakeup_waiter, self->reader) &&
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

/* Whether it is a reader of ours that may be fed: 1; 0 if it is unusual; -1 with
 * an exception set. */
static int
stream_reader_look_at_ours(al_stream_reader *self, al_state *state)
{
    StreamReaderObject *reader = StreamReaderObject_CAST(self->reader);
    int is_usual;

    self->is_ours = true;
    AL_LOCK(self->reader);
    is_usual = al_reader_is_usual(reader);
    if (is_usual > 0) {
        is_usual =
            !reader->eof &&
            stream_reader_can_wake(state, al_or_none(reader->head.waiters));
    }
    AL_UNLOCK();
    return is_usual;
}

int
al_stream_reader_find(al_stream_reader *self, al_state *state,
                      PyObject *protocol, PyObject *data_received)
{
    *self = (al_stream_reader){0};
    if (!al_streams_is_stock(state, data_received, protocol)) {
        return 0;
    }
    int rc = stream_reader_take(self, state, protocol);
    if (rc > 0) {
        rc = AL_LIKELY(
                 PyObject_TypeCheck(self->reader, state->StreamReaderType))
                 ? stream_reader_look_at_ours(self, state)
                 : stream_reader_look(self, state);
    }
    if (rc <= 0) {
        al_stream_reader_clear(self);
    }
    return rc;
}

void
al_stream_reader_clear(al_stream_reader *self)
{
    Py_XDECREF(self->chunk);
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

/* Whether the reader is still as it was when it was found: without a GIL, other
 * threads may have changed it. 1, 0; or -1 with an exception set. */
static int
stream_reader_is_still_usual(StreamReaderObject *reader)
{
    return AL_FREE_THREADED ? (reader->eof ? 0 : al_reader_is_usual(reader))
                            : 1;
}

static int
stream_reader_feed_ours(al_stream_reader *self, const char *data,
                        Py_ssize_t size)
{
    StreamReaderObject *reader = StreamReaderObject_CAST(self->reader);
    int rc;

    AL_LOCK(self->reader);
    rc = stream_reader_is_still_usual(reader);
    if (AL_LIKELY(rc > 0)) {
        rc = al_reader_feed_copy(reader, data, size);
    }
    else if (rc == 0) {
        rc = al_call_finish(
            PyObject_CallMethod(self->reader, "feed_data", "y#", data, size));
    }
    AL_UNLOCK();
    return rc;
}

/* `size` bytes were received into the chunk. */
static int
stream_reader_fill_ours(al_stream_reader *self, Py_ssize_t size)
{
    int rc;

    if (size < PyBytes_GET_SIZE(self->chunk) &&
        (size == 0 || _PyBytes_Resize(&self->chunk, size) < 0))
    {
        return size == 0 ? 0 : -1;
    }
    AL_LOCK(self->reader);
    rc = stream_reader_is_still_usual(StreamReaderObject_CAST(self->reader));
    if (AL_LIKELY(rc > 0)) {
        rc =
            al_reader_feed(StreamReaderObject_CAST(self->reader), self->chunk);
    }
    else if (rc == 0) {
        rc = al_call_finish(
            PyObject_CallMethod(self->reader, "feed_data", "O", self->chunk));
    }
    AL_UNLOCK();
    return rc;
}

char *
al_stream_reader_grow(al_stream_reader *self, size_t size)
{
    if (self->is_ours) {
        self->chunk = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
        return self->chunk == NULL ? NULL : PyBytes_AS_STRING(self->chunk);
    }
    if (PyByteArray_Resize(self->buffer, self->size + (Py_ssize_t)size) < 0) {
        return NULL;
    }
    return PyByteArray_AS_STRING(self->buffer) + self->size;
}

int
al_stream_reader_fill(al_stream_reader *self, al_state *state, size_t size)
{
    if (self->is_ours) {
        return stream_reader_fill_ours(self, (Py_ssize_t)size);
    }
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
    if (self->is_ours) {
        return stream_reader_feed_ours(self, data, (Py_ssize_t)size);
    }
    char *end = al_stream_reader_grow(self, size);
    if (end == NULL) {
        return -1;
    }
    memcpy(end, data, size);
    return al_stream_reader_fill(self, state, size);
}
