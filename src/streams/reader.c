/* reader.c - the state of a StreamReader, and how it is fed.
 *
 *     feed_data(), a transport ---> bytes ---> read() and the like
 *                                    |  ^
 *         the program asks for it    |  |   nobody else has it any more
 *                                    v  |
 *                           _buffer, a bytearray
 *
 * Programs and libraries look at `_buffer`, and change it. For them the bytes
 * move to a bytearray. As long as anybody else has that, asyncio's own code
 * does all.  Later the bytes move back.
 *
 * Invariant
 *   (1) Either `buffer` is NULL, or `bytes` is empty. */
#include "streams/reader.h"

#include "task/future.h"

/* --- _buffer ------------------------------------------------------------------ */

/* Whether nobody else can reach what we have one reference to. */
static bool
reader_has_alone(PyObject *buffer)
{
    return PyByteArray_CheckExact(buffer) && al_is_unique(buffer) &&
           ((PyByteArrayObject *)buffer)->ob_exports == 0;
}

/* Move the bytes back from _buffer. 1; 0 if it is not only ours, or unusual;
 * -1 with MemoryError set. */
AL_COLD static int
reader_take_back(StreamReaderObject *self)
{
    PyObject *buffer = self->buffer;

    if (!reader_has_alone(buffer)) {
        return 0;
    }
    if (al_stream_buffer_append(&self->bytes, PyByteArray_AS_STRING(buffer),
                                PyByteArray_GET_SIZE(buffer)) < 0)
    {
        return -1;
    }
    self->buffer = NULL;
    Py_DECREF(buffer);
    return 1;
}

int
al_reader_is_usual(StreamReaderObject *self)
{
    int is_plain = al_primitive_is_plain((PyObject *)self, AL_STREAM_READER);

    if (AL_UNLIKELY(is_plain <= 0)) {
        return is_plain;
    }
    if (AL_UNLIKELY(self->limit_size <= 0)) {
        return 0;
    }
    return AL_LIKELY(self->buffer == NULL) ? 1 : reader_take_back(self);
}

PyObject *
al_reader_get_buffer(StreamReaderObject *self)
{
    if (self->buffer == NULL) {
        al_stream_buffer *bytes = &self->bytes;
        PyObject *made = PyByteArray_FromStringAndSize(
            bytes->chunk == NULL ? NULL : al_stream_buffer_data(bytes),
            al_stream_buffer_size(bytes));
        if (made == NULL) {
            return NULL;
        }
        al_stream_buffer_clear(bytes);
        self->buffer = made;
    }
    return Py_NewRef(self->buffer);
}

/* --- feeding ------------------------------------------------------------------ */

int
al_reader_wake(StreamReaderObject *self)
{
    PyObject *waiter = self->head.waiters;

    if (waiter == NULL) {
        return 0;
    }
    self->head.waiters = NULL; /* we own its reference now */
    int rc = al_waiter_is_cancelled(self->head.state, waiter);
    if (rc == 0) {
        rc = al_waiter_set_result(self->head.state, waiter, Py_None);
    }
    Py_DECREF(waiter);
    return rc < 0 ? -1 : 0;
}

/* The buffer has more than twice the limit: pause the transport, if it can be
 * paused. 0, or -1 with an exception set. */
AL_COLD static int
reader_pause(StreamReaderObject *self)
{
    if (self->transport == NULL || self->is_paused) {
        return 0;
    }
    PyObject *transport = Py_NewRef(self->transport);
    PyObject *result = PyObject_CallMethodNoArgs(
        transport, self->head.state->names.pause_reading);
    Py_DECREF(transport);
    if (result != NULL) {
        Py_DECREF(result);
        self->is_paused = true;
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_NotImplementedError)) {
        return -1;
    }
    PyErr_Clear();
    Py_CLEAR(self->transport); /* so that it is not asked again */
    return 0;
}

/* Bytes were added. 0, or -1 with an exception set. */
static inline int
reader_was_fed(StreamReaderObject *self)
{
    if (al_reader_wake(self) < 0) {
        return -1;
    }
    return AL_UNLIKELY(al_stream_buffer_size(&self->bytes) - self->limit_size >
                       self->limit_size)
               ? reader_pause(self)
               : 0;
}

int
al_reader_feed(StreamReaderObject *self, PyObject *bytes)
{
    if (PyBytes_GET_SIZE(bytes) == 0) {
        return 0;
    }
    return al_stream_buffer_add(&self->bytes, bytes) < 0
               ? -1
               : reader_was_fed(self);
}

int
al_reader_feed_copy(StreamReaderObject *self, const char *data,
                    Py_ssize_t size)
{
    return al_stream_buffer_append(&self->bytes, data, size) < 0
               ? -1
               : reader_was_fed(self);
}

/* --- reading ------------------------------------------------------------------- */

int
al_reader_resume(StreamReaderObject *self)
{
    PyObject *transport = Py_NewRef(al_or_none(self->transport));

    self->is_paused = false;
    int rc = al_call_finish(PyObject_CallMethodNoArgs(
        transport, self->head.state->names.resume_reading));
    Py_DECREF(transport);
    return rc;
}
