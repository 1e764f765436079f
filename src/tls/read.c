/* read.c - from the peer to the user: ciphertext in, plaintext out.
 *
 *     buffer_updated(n) ---> engine: feed ... read ---> data_received(), or
 *                                                       get_buffer(),
 *                                                       buffer_updated(n)
 *
 * Plaintext is not longer than its ciphertext.  So we make one bytes object of
 * the ciphertext's size, decrypt directly into it and then cut it.
 */
#include "tls/protocol.h"

#include "net/stream_reader.h"

/* --- to the user's protocol --------------------------------------------- */

/* The peer has said goodbye. 0, or -1 with an exception set. */
static int
tls_end(SSLProtocolObject *self)
{
    al_state *state = al_tls_state(self);

    if (al_tls_call(self, state->names._call_eof_received) < 0) {
        return -1;
    }
    return al_tls_call(self, state->names._start_shutdown);
}

/* Decrypt all complete records. -> new reference to bytes; NULL without an
 * exception: there is no plaintext. */
static PyObject *
tls_decrypt_records(SSLProtocolObject *self, bool *is_closed)
{
    PyObject *result = NULL;

    *is_closed = false;
    while (!*is_closed) {
        Py_ssize_t size = al_tls_engine_readable(&self->engine);
        if (size <= 0) {
            if (size < 0) {
                Py_CLEAR(result);
            }
            break;
        }
        PyObject *data = PyBytes_FromStringAndSize(NULL, size);
        if (data == NULL) {
            Py_CLEAR(result);
            break;
        }
        Py_ssize_t n = al_tls_engine_read(
            &self->engine, PyBytes_AS_STRING(data), size, is_closed);
        if (n <= 0) {
            Py_DECREF(data);
            if (n < 0) {
                Py_CLEAR(result);
            }
            break;
        }
        if (n < size && _PyBytes_Resize(&data, n) < 0) {
            Py_CLEAR(result);
            break;
        }
        if (result == NULL) {
            result = data;
        }
        else {
            PyBytes_ConcatAndDel(&result, data);
        }
        if (n < size || result == NULL) {
            break;
        }
    }
    return result;
}

/* The same, and then the engine has no bytes that were lent. */
static PyObject *
tls_decrypt(SSLProtocolObject *self, bool *is_closed)
{
    PyObject *result = tls_decrypt_records(self, is_closed);

    if (al_tls_engine_keep(&self->engine) < 0) {
        Py_CLEAR(result);
    }
    return result;
}

/* Do what data_received() of an asyncio.StreamReaderProtocol does. 1; 0: call
 * the method; -1 with an exception set. */
static int
tls_feed_reader(al_state *state, PyObject *protocol, PyObject *data)
{
    al_stream_reader reader;

    if (!Py_IS_TYPE(
            protocol,
            (PyTypeObject *)state->imports.asyncio_StreamReaderProtocol))
    {
        return 0;
    }
    PyObject *bound = PyObject_GetAttr(protocol, state->names.data_received);
    if (bound == NULL) {
        return -1;
    }
    int rc = al_stream_reader_find(&reader, state, protocol, bound);
    Py_DECREF(bound);
    if (rc > 0) {
        if (al_stream_reader_feed(&reader, state, PyBytes_AS_STRING(data),
                                  (size_t)PyBytes_GET_SIZE(data)) < 0)
        {
            rc = -1;
        }
        al_stream_reader_clear(&reader);
    }
    return rc;
}

/* Give bytes to a protocol. 0, or -1 with an exception set. */
static int
tls_deliver(al_state *state, PyObject *protocol, PyObject *data)
{
    int rc = tls_feed_reader(state, protocol, data);

    return rc != 0 ? Py_MIN(rc, 0)
                   : al_call_finish(PyObject_CallMethodOneArg(
                         protocol, state->names.data_received, data));
}

/* 0, or -1 with an exception set. */
static int
tls_read_bytes(SSLProtocolObject *self)
{
    bool is_closed;

    PyObject *data = tls_decrypt(self, &is_closed);
    if (data == NULL) {
        if (PyErr_Occurred()) {
            return -1;
        }
    }
    else if (self->app_protocol == NULL) {
        Py_DECREF(data); /* the read let other threads run, which ended us */
        return 0;
    }
    else {
        PyObject *protocol = Py_NewRef(self->app_protocol);
        int rc = tls_deliver(al_tls_state(self), protocol, data);
        Py_DECREF(protocol);
        Py_DECREF(data);
        if (rc < 0) {
            return -1;
        }
    }
    return is_closed ? tls_end(self) : 0;
}

/* Decrypt into the user's buffer. -> the number of bytes, *wanted of them if
 * there may be more; or -1 with an exception set. */
static Py_ssize_t
tls_decrypt_into(SSLProtocolObject *self, PyObject *buffer, Py_ssize_t *wanted,
                 bool *is_closed)
{
    Py_buffer view;

    if (PyObject_Size(buffer) < 0) { /* asyncio calls len() first */
        return -1;
    }
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0) {
        PyErr_Format(PyExc_TypeError, /* of SSLObject.read(size, buffer) */
                     "read() argument 2 must be read-write bytes-like "
                     "object, not %.100s",
                     Py_TYPE(buffer)->tp_name);
        return -1;
    }
    *wanted = view.len;
    Py_ssize_t n =
        al_tls_engine_read(&self->engine, view.buf, view.len, is_closed);
    PyBuffer_Release(&view);
    if (*wanted == 0) {
        *is_closed = true; /* as in asyncio */
    }
    return n;
}

/* The user's buffer is full: go on in the next turn. 0, or -1. */
static int
tls_read_again(SSLProtocolObject *self)
{
    al_state *state = al_tls_state(self);
    PyObject *result = NULL;
    PyObject *loop = PyObject_GetAttr((PyObject *)self, state->names._loop);
    PyObject *more = PyObject_GetAttr((PyObject *)self, state->names._do_read);

    if (loop != NULL && more != NULL) {
        result = PyObject_CallMethodOneArg(loop, state->names.call_soon, more);
    }
    Py_XDECREF(more);
    Py_XDECREF(loop);
    return al_call_finish(result);
}

/* protocol.name(size) -> new reference, or NULL with an exception set. */
static PyObject *
tls_call_with_size(PyObject *protocol, PyObject *name, Py_ssize_t size)
{
    PyObject *number = PyLong_FromSsize_t(size);
    if (number == NULL) {
        return NULL;
    }
    PyObject *result = PyObject_CallMethodOneArg(protocol, name, number);
    Py_DECREF(number);
    return result;
}

/* Call the user's get_buffer() once and fill the buffer; there are `pending`
 * bytes of ciphertext. 0, or -1 with an exception set. */
static int
tls_fill_buffer(SSLProtocolObject *self, PyObject *protocol,
                Py_ssize_t pending, bool *is_closed)
{
    Py_ssize_t wanted = 0;

    PyObject *buffer = tls_call_with_size(
        protocol, al_tls_state(self)->names.get_buffer, pending);
    if (buffer == NULL) {
        return -1;
    }
    Py_ssize_t n = tls_decrypt_into(self, buffer, &wanted, is_closed);
    Py_DECREF(buffer);
    if (n <= 0) {
        return n < 0 ? -1 : 0;
    }
    if (n == wanted && tls_read_again(self) < 0) {
        return -1;
    }
    PyObject *result = tls_call_with_size(
        protocol, al_tls_state(self)->names.buffer_updated, n);
    return al_call_finish(result);
}

static int
tls_read_buffered(SSLProtocolObject *self)
{
    bool is_closed = false;

    Py_ssize_t readable = al_tls_engine_readable(&self->engine);
    if (readable <= 0 || self->app_protocol == NULL) {
        return readable < 0 ? -1 : 0;
    }
    Py_ssize_t pending = al_tls_engine_incoming(&self->engine);
    if (pending < 0) {
        return -1;
    }
    PyObject *protocol = Py_NewRef(self->app_protocol);
    int rc = tls_fill_buffer(self, protocol, pending, &is_closed);
    Py_DECREF(protocol);
    if (rc < 0) {
        return -1;
    }
    return is_closed ? tls_end(self) : 0;
}

/* While the user has paused reading, the ciphertext must not grow without
 * limit: pause the transport below. 0, or -1 with an exception set. */
static int
tls_control_reading(SSLProtocolObject *self)
{
    Py_ssize_t pending = al_tls_engine_complete(&self->engine);
    if (pending < 0) {
        return -1;
    }
    if (AL_LIKELY(!self->down_reading_paused &&
                  al_tls_is_below(pending, self->incoming_high)))
    {
        return 0;
    }
    return al_tls_call(self, al_tls_state(self)->names._control_ssl_reading);
}

static int
tls_read_and_flush(SSLProtocolObject *self)
{
    if (!self->app_reading_paused) {
        int rc = self->app_is_buffered ? tls_read_buffered(self)
                                       : tls_read_bytes(self);
        if (rc < 0) {
            return -1;
        }
        rc = al_tls_has_backlog(self)
                 ? al_tls_call(self, al_tls_state(self)->names._do_write)
                 : al_tls_flush(self);
        if (rc < 0) {
            return -1;
        }
    }
    return tls_control_reading(self);
}

int
al_tls_read(SSLProtocolObject *self)
{
    al_state *state = al_tls_state(self);

    if (self->state != state->tls_wrapped &&
        self->state != state->tls_flushing)
    {
        return 0;
    }
    if (al_tls_bind(self) < 0) {
        return al_tls_fatal_error(self);
    }
    Py_INCREF(self);
    int rc = tls_read_and_flush(self);
    if (AL_UNLIKELY(rc < 0)) {
        rc = al_tls_fatal_error(self);
    }
    Py_DECREF(self);
    return rc;
}
