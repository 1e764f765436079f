/* protocol.c - asyncio's SSLProtocol, with C where bytes flow.
 *
 *     transport below
 *        | get_buffer(), buffer_updated(n)        ^ write(), writelines()
 *        v                                        |
 *     engine: feed ... read                    engine: write ... drain
 *        |                                        ^
 *        v                                        |
 *     data_received(), or get_buffer(),        TLSTransport.write()
 *     buffer_updated(n) of the user's protocol
 *
 * The state machine (handshake, goodbye, timeouts, what is logged) is the
 * running Python's own asyncio.sslproto.SSLProtocol: a Python class puts this
 * type in front of it. What it and we both know are attributes in its name and
 * fields in ours.
 *
 * What a protocol writes while it is handed data leaves when it returns, in
 * one piece; all else at once. The ssl module's BIOs never shrink, so they are
 * emptied before they have grown: what cannot leave is held in bytes objects.
 *
 * Invariants
 *   (1) The buffer that all connections share is used between the system call
 *       and al_tls_engine_feed() only, with no call into Python in between.
 *   (2) `held` leaves before what is in the outgoing BIO.
 *   (3) depth > 0 => whoever raised it flushes when it lowers it.
 */
#include "tls/protocol.h"

#include "base/args.h"
#include "net/transport.h"

#define AL_TLS_FOREIGN_BUFFER ((Py_ssize_t)64 * 1024)
#define AL_TLS_BIO_MAX ((Py_ssize_t)32 * 1024) /* bytes to let a BIO grow to */

static al_state *
tls_state(TLSProtocolObject *self)
{
    return al_state_from_type(Py_TYPE(self));
}

/* self.name(): 0, or -1 with an exception set. */
static int
tls_call(TLSProtocolObject *self, PyObject *name)
{
    PyObject *result = PyObject_CallMethodNoArgs((PyObject *)self, name);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

/* End the connection for the Exception now set, as an `except` clause does. 0,
 * or -1 with one that is more than an Exception set, or another. */
static int
tls_fatal_error(TLSProtocolObject *self)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *handled = PyErr_GetHandledException();
    PyErr_SetHandledException(exc); /* for the log */
    PyObject *result =
        PyObject_CallMethod((PyObject *)self, "_fatal_error", "Os", exc,
                            "Fatal error on SSL protocol");
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    Py_DECREF(exc);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

/* Whether a limit lies above `size`, so that nothing is to be done about it:
 * false also where that takes asyncio's own comparison. */
static bool
tls_is_below(Py_ssize_t size, PyObject *limit)
{
    if (limit == NULL || !PyLong_CheckExact(limit)) {
        return false;
    }
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(limit, &overflow);
    return overflow > 0 || (long long)size < value;
}

/* Set RuntimeError and return -1 if SSLProtocol.__init__() was not called, or
 * somebody has deleted what it set. */
static int
tls_check_init(TLSProtocolObject *self)
{
    if (AL_LIKELY(self->sslobj != NULL && self->incoming != NULL &&
                  self->outgoing != NULL && self->write_backlog != NULL))
    {
        return 0;
    }
    PyErr_SetString(PyExc_RuntimeError, "SSLProtocol is not initialized");
    return -1;
}

/* Learn the methods that bytes flow through, the first time. 0, or -1 with an
 * exception set. */
static int
tls_bind(TLSProtocolObject *self)
{
    if (AL_LIKELY(al_tls_engine_is_bound(&self->engine))) {
        return 0;
    }
    if (tls_check_init(self) < 0) {
        return -1;
    }
    int rc = al_tls_engine_bind(&self->engine, self->sslobj, self->incoming,
                                self->outgoing);
    if (rc < 0) {
        al_tls_engine_clear(&self->engine);
    }
    return rc;
}

/* --- to the peer -------------------------------------------------------- */

/* Ciphertext and plaintext that waits, as asyncio counts it; the BIO is
 * empty. */
static Py_ssize_t
tls_waiting(TLSProtocolObject *self)
{
    return self->held_size + self->backlog_size;
}

/* Empty the BIO. -> new reference to bytes, may be empty; or NULL. */
static PyObject *
tls_drain(TLSProtocolObject *self)
{
    PyObject *data;

    if (AL_LIKELY(al_tls_engine_is_bound(&self->engine))) {
        data = al_tls_engine_drain(&self->engine);
    }
    else if (tls_check_init(self) < 0) {
        return NULL;
    }
    else {
        data = PyObject_CallMethod(self->outgoing, "read", NULL);
    }
    if (AL_UNLIKELY(data != NULL && !PyBytes_Check(data))) {
        Py_CLEAR(data);
        PyErr_SetString(PyExc_TypeError, "the outgoing BIO must give bytes");
    }
    return data;
}

/* Empty the BIO into `held`. 0, or -1 with an exception set. */
static int
tls_hold(TLSProtocolObject *self)
{
    PyObject *data = tls_drain(self);
    if (data == NULL) {
        return -1;
    }
    int rc = 0;
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    if (size > 0) {
        if (self->held == NULL && (self->held = PyList_New(0)) == NULL) {
            rc = -1;
        }
        else {
            rc = PyList_Append(self->held, data);
        }
        self->held_size += rc == 0 ? size : 0;
    }
    Py_DECREF(data);
    return rc;
}

/* transport.name(data), of the one below; steals `data`. 0, or -1 with an
 * exception set. */
static int
tls_send(TLSProtocolObject *self, PyObject *name, PyObject *data)
{
    if (self->transport == NULL) { /* the connection is lost */
        Py_DECREF(data);
        return 0;
    }
    PyObject *transport = Py_NewRef(self->transport);
    PyObject *result = PyObject_CallMethodOneArg(transport, name, data);
    Py_DECREF(transport);
    Py_DECREF(data);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

static int
tls_send_held(TLSProtocolObject *self)
{
    PyObject *held = self->held;

    self->held = NULL;
    self->held_size = 0;
    return tls_send(self, tls_state(self)->names.writelines, held);
}

/* asyncio's _process_outgoing(): 0, or -1 with an exception set. */
static int
tls_flush(TLSProtocolObject *self)
{
    int rc = 0;

    if (AL_UNLIKELY(self->held != NULL || self->down_writing_paused)) {
        rc = tls_hold(self); /* by (2) */
        if (rc == 0 && self->held != NULL && !self->down_writing_paused) {
            rc = tls_send_held(self);
        }
    }
    else {
        PyObject *data = tls_drain(self);
        if (data == NULL) {
            return -1;
        }
        if (PyBytes_GET_SIZE(data) > 0) {
            rc = tls_send(self, tls_state(self)->names.write, data);
        }
        else {
            Py_DECREF(data);
        }
    }
    if (rc < 0) {
        return -1;
    }
    if (AL_LIKELY(!self->app_writing_paused &&
                  tls_is_below(tls_waiting(self), self->outgoing_high)))
    {
        return 0;
    }
    return tls_call(self, tls_state(self)->names._control_app_writing);
}

/* Let the backlog take what cannot be encrypted now. 0, or -1. */
static int
tls_postpone(TLSProtocolObject *self, const char *data, Py_ssize_t size)
{
    PyObject *rest = PyBytes_FromStringAndSize(data, size);
    if (rest == NULL) {
        return -1;
    }
    PyObject *result =
        tls_check_init(self) < 0
            ? NULL
            : PyObject_CallMethod(self->write_backlog, "append", "O", rest);
    Py_DECREF(rest);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    self->backlog_size += size;
    return 0;
}

/* Encrypt all of `size` bytes at `data`, which are `object`. 0, or -1 with an
 * exception set. */
static int
tls_encrypt(TLSProtocolObject *self, PyObject *object, char *data,
            Py_ssize_t size)
{
    Py_ssize_t done = 0;
    Py_ssize_t in_bio = 0;

    while (done < size) {
        PyObject *rest = done == 0 ? Py_NewRef(object)
                                   : PyMemoryView_FromMemory(
                                         data + done, size - done, PyBUF_READ);
        if (rest == NULL) {
            return -1;
        }
        Py_ssize_t n = al_tls_engine_write(&self->engine, rest);
        Py_DECREF(rest);
        if (n <= 0) {
            return n < 0 ? -1 : tls_postpone(self, data + done, size - done);
        }
        done += n;
        in_bio += n;
        if (in_bio >= AL_TLS_BIO_MAX && done < size) {
            if (tls_hold(self) < 0) {
                return -1;
            }
            in_bio = 0;
        }
    }
    return 0;
}

static int
tls_encrypt_object(TLSProtocolObject *self, PyObject *object)
{
    Py_buffer view;

    if (AL_LIKELY(PyBytes_CheckExact(object))) {
        return tls_encrypt(self, object, PyBytes_AS_STRING(object),
                           PyBytes_GET_SIZE(object));
    }
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    int rc = tls_encrypt(self, object, view.buf, view.len);
    PyBuffer_Release(&view);
    return rc;
}

/* asyncio's own _write_appdata(), for what is not the usual case. */
static int
tls_write_by_asyncio(TLSProtocolObject *self, PyObject *const *items,
                     Py_ssize_t count)
{
    al_state *state = tls_state(self);
    PyObject *list = PyList_New(0);
    PyObject *result = NULL;
    int rc = list == NULL ? -1 : 0;

    for (Py_ssize_t i = 0; i < count && rc == 0; i++) {
        rc = PyList_Append(list, items[i]);
    }
    if (rc == 0) {
        PyObject *args[] = {(PyObject *)self, list};
        PyObject *method = PyObject_GetAttr(state->imports.asyncio_SSLProtocol,
                                            state->names._write_appdata);
        if (method != NULL) {
            result = PyObject_Vectorcall(method, args, 2, NULL);
            Py_DECREF(method);
        }
    }
    Py_XDECREF(list);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

int
al_tls_protocol_write(TLSProtocolObject *self, PyObject *const *items,
                      Py_ssize_t count)
{
    if (AL_UNLIKELY(self->state != tls_state(self)->tls_wrapped ||
                    self->backlog_size > 0 ||
                    !al_tls_engine_is_bound(&self->engine)))
    {
        return tls_write_by_asyncio(self, items, count);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (PyObject_Size(items[i]) < 0) {
            return -1;
        }
    }
    Py_INCREF(self);
    int rc = 0;
    for (Py_ssize_t i = 0; i < count && rc == 0; i++) {
        if (self->backlog_size > 0) { /* in order, behind what could not go */
            rc = tls_write_by_asyncio(self, items + i, count - i);
            break;
        }
        rc = tls_encrypt_object(self, items[i]);
    }
    if (rc == 0 && self->depth == 0) {
        rc = tls_flush(self);
    }
    if (rc < 0) {
        rc = tls_fatal_error(self);
    }
    Py_DECREF(self);
    return rc;
}

/* --- to the user's protocol --------------------------------------------- */

/* Whatever the user's method did, send what was written in it. */
static int
tls_leave(TLSProtocolObject *self, int rc)
{
    self->depth--;
    if (rc == 0) {
        return 0; /* _do_read() flushes */
    }
    PyObject *raised = PyErr_GetRaisedException();
    if (self->depth == 0 && tls_flush(self) < 0) { /* by (3) */
        PyErr_Clear();
    }
    PyErr_SetRaisedException(raised);
    return -1;
}

/* The peer has said goodbye. 0, or -1 with an exception set. */
static int
tls_end(TLSProtocolObject *self)
{
    al_state *state = tls_state(self);

    if (tls_call(self, state->names._call_eof_received) < 0) {
        return -1;
    }
    return tls_call(self, state->names._start_shutdown);
}

/* Decrypt all there is. -> new reference to bytes; NULL without an exception:
 * there is nothing. */
static PyObject *
tls_decrypt(TLSProtocolObject *self, bool *is_closed)
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

/* 0, or -1 with an exception set. */
static int
tls_read_bytes(TLSProtocolObject *self)
{
    bool is_closed;

    PyObject *data = tls_decrypt(self, &is_closed);
    if (data == NULL) {
        if (PyErr_Occurred()) {
            return -1;
        }
    }
    else if (self->app_protocol == NULL) {
        Py_DECREF(data); /* lost while OpenSSL let other threads run */
        return 0;
    }
    else {
        PyObject *protocol = Py_NewRef(self->app_protocol);
        self->depth++;
        PyObject *result = PyObject_CallMethodOneArg(
            protocol, tls_state(self)->names.data_received, data);
        Py_DECREF(protocol);
        Py_DECREF(data);
        if (tls_leave(self, result == NULL ? -1 : 0) < 0) {
            return -1;
        }
        Py_DECREF(result);
    }
    return is_closed ? tls_end(self) : 0;
}

/* Decrypt into the user's buffer. -> the number of bytes, *wanted of them if
 * there may be more; or -1 with an exception set. */
static Py_ssize_t
tls_decrypt_into(TLSProtocolObject *self, PyObject *buffer, Py_ssize_t *wanted,
                 bool *is_closed)
{
    Py_buffer view;

    if (PyObject_Size(buffer) < 0 ||
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0)
    {
        return -1;
    }
    *wanted = view.len;
    Py_ssize_t n =
        al_tls_engine_read(&self->engine, view.buf, view.len, is_closed);
    PyBuffer_Release(&view);
    if (*wanted == 0) {
        *is_closed = true; /* as asyncio takes it */
    }
    return n;
}

/* The user's buffer is full: go on in the next turn. 0, or -1. */
static int
tls_read_again(TLSProtocolObject *self)
{
    al_state *state = tls_state(self);
    PyObject *result = NULL;
    PyObject *loop = PyObject_GetAttr((PyObject *)self, state->names._loop);
    PyObject *more = PyObject_GetAttr((PyObject *)self, state->names._do_read);

    if (loop != NULL && more != NULL) {
        result = PyObject_CallMethodOneArg(loop, state->names.call_soon, more);
    }
    Py_XDECREF(more);
    Py_XDECREF(loop);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

/* Fill what the user's get_buffer() gives, once; `pending` bytes of ciphertext
 * wait. 0, or -1 with an exception set. */
static int
tls_fill_buffer(TLSProtocolObject *self, PyObject *protocol,
                Py_ssize_t pending, bool *is_closed)
{
    Py_ssize_t wanted = 0;

    PyObject *buffer =
        PyObject_CallMethod(protocol, "get_buffer", "n", pending);
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
    PyObject *result = PyObject_CallMethod(protocol, "buffer_updated", "n", n);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

static int
tls_read_buffered(TLSProtocolObject *self)
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
    self->depth++;
    int rc =
        tls_leave(self, tls_fill_buffer(self, protocol, pending, &is_closed));
    Py_DECREF(protocol);
    if (rc < 0) {
        return -1;
    }
    return is_closed ? tls_end(self) : 0;
}

/* What is decrypted no more while the user has paused must not grow without
 * bound. 0, or -1 with an exception set. */
static int
tls_control_reading(TLSProtocolObject *self)
{
    Py_ssize_t pending = al_tls_engine_incoming(&self->engine);
    if (pending < 0) {
        return -1;
    }
    if (AL_LIKELY(!self->down_reading_paused &&
                  tls_is_below(pending, self->incoming_high)))
    {
        return 0;
    }
    return tls_call(self, tls_state(self)->names._control_ssl_reading);
}

static int
tls_read_and_flush(TLSProtocolObject *self)
{
    if (!self->app_reading_paused) {
        int rc = self->app_is_buffered ? tls_read_buffered(self)
                                       : tls_read_bytes(self);
        if (rc < 0) {
            return -1;
        }
        rc = self->backlog_size > 0
                 ? tls_call(self, tls_state(self)->names._do_write)
                 : tls_flush(self);
        if (rc < 0) {
            return -1;
        }
    }
    return tls_control_reading(self);
}

/* asyncio's _do_read(): 0, or -1 with an exception to be raised set. */
static int
tls_read(TLSProtocolObject *self)
{
    al_state *state = tls_state(self);

    if (self->state != state->tls_wrapped &&
        self->state != state->tls_flushing)
    {
        return 0;
    }
    if (tls_bind(self) < 0) {
        return tls_fatal_error(self);
    }
    Py_INCREF(self);
    int rc = tls_read_and_flush(self);
    if (AL_UNLIKELY(rc < 0)) {
        rc = tls_fatal_error(self);
    }
    Py_DECREF(self);
    return rc;
}

/* --- Python: methods ---------------------------------------------------- */

static PyObject *
TLSProtocol_get_buffer(PyObject *op, PyObject *Py_UNUSED(hint))
{
    TLSProtocolObject *self = TLSProtocolObject_CAST(op);
    al_state *state = tls_state(self);

    if (AL_LIKELY(self->transport != NULL &&
                  Py_TYPE(self->transport) == state->SocketTransportType))
    {
        char *shared = al_transport_recv_buffer(state); /* by (1) */
        return shared == NULL ? NULL
                              : PyMemoryView_FromMemory(shared, AL_RECV_BUFFER,
                                                        PyBUF_WRITE);
    }
    if (self->buffer == NULL) {
        self->buffer =
            PyByteArray_FromStringAndSize(NULL, AL_TLS_FOREIGN_BUFFER);
        if (self->buffer == NULL) {
            return NULL;
        }
    }
    return PyMemoryView_FromObject(self->buffer);
}

/* Go on with what has come, as asyncio's buffer_updated() does. */
static int
tls_go_on(TLSProtocolObject *self)
{
    al_state *state = tls_state(self);

    if (AL_LIKELY(self->state == state->tls_wrapped)) {
        return tls_read(self);
    }
    if (self->state == state->tls_do_handshake) {
        return tls_call(self, state->names._do_handshake);
    }
    if (self->state == state->tls_flushing) {
        return tls_call(self, state->names._do_flush);
    }
    if (self->state == state->tls_shutdown) {
        return tls_call(self, state->names._do_shutdown);
    }
    return 0;
}

static PyObject *
TLSProtocol_buffer_updated(PyObject *op, PyObject *arg)
{
    TLSProtocolObject *self = TLSProtocolObject_CAST(op);
    bool is_shared = self->buffer == NULL;

    Py_ssize_t size = PyLong_AsSsize_t(arg);
    if (size == -1 && PyErr_Occurred()) {
        return NULL;
    }
    Py_ssize_t room = is_shared ? (Py_ssize_t)AL_RECV_BUFFER
                                : PyByteArray_GET_SIZE(self->buffer);
    if (size < 0 || size > room) {
        PyErr_SetString(PyExc_ValueError, "more than the buffer has room for");
        return NULL;
    }
    char *buffer = is_shared ? al_transport_recv_buffer(tls_state(self))
                             : PyByteArray_AS_STRING(self->buffer);
    if (buffer == NULL || tls_bind(self) < 0) {
        return NULL;
    }
    if (al_tls_engine_feed(&self->engine, buffer, size) < 0 ||
        tls_go_on(self) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
TLSProtocol__do_read(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (tls_read(TLSProtocolObject_CAST(op)) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
TLSProtocol__process_outgoing(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (tls_flush(TLSProtocolObject_CAST(op)) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(TLSProtocol__send_written_doc,
             "_send_written($self, /)\n--\n\n"
             "Send what was written within a call of the user's protocol: it "
             "will not get the\nchance when that returns.");

static PyObject *
TLSProtocol__send_written(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TLSProtocolObject *self = TLSProtocolObject_CAST(op);

    if (self->depth > 0 && !self->down_writing_paused && tls_flush(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(TLSProtocol__drop_written_doc,
             "_drop_written($self, /)\n--\n\n"
             "Forget the ciphertext that waits.");

static PyObject *
TLSProtocol__drop_written(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TLSProtocolObject *self = TLSProtocolObject_CAST(op);

    self->held_size = 0;
    Py_CLEAR(self->held);
    Py_RETURN_NONE;
}

static PyObject *
TLSProtocol__get_write_buffer_size(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TLSProtocolObject *self = TLSProtocolObject_CAST(op);

    if (tls_check_init(self) < 0) {
        return NULL;
    }
    PyObject *number = PyObject_GetAttrString(self->outgoing, "pending");
    if (number == NULL) {
        return NULL;
    }
    Py_ssize_t in_bio = PyLong_AsSsize_t(number);
    Py_DECREF(number);
    if (in_bio == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return PyLong_FromSsize_t(tls_waiting(self) + in_bio);
}

static PyMethodDef TLSProtocol_methods[] = {
    {"get_buffer", TLSProtocol_get_buffer, METH_O, NULL},
    {"buffer_updated", TLSProtocol_buffer_updated, METH_O, NULL},
    {"_do_read", TLSProtocol__do_read, METH_NOARGS, NULL},
    {"_process_outgoing", TLSProtocol__process_outgoing, METH_NOARGS, NULL},
    {"_get_write_buffer_size", TLSProtocol__get_write_buffer_size, METH_NOARGS,
     NULL},
    {"_send_written", TLSProtocol__send_written, METH_NOARGS,
     TLSProtocol__send_written_doc},
    {"_drop_written", TLSProtocol__drop_written, METH_NOARGS,
     TLSProtocol__drop_written_doc},
    {NULL, NULL, 0, NULL},
};

#define AL_TLS_MEMBER(name, type, field)                                      \
    {name, type, offsetof(TLSProtocolObject, field), 0, NULL}

static PyMemberDef TLSProtocol_members[] = {
    AL_TLS_MEMBER("_state", T_OBJECT, state),
    AL_TLS_MEMBER("_sslobj", T_OBJECT, sslobj),
    AL_TLS_MEMBER("_incoming", T_OBJECT, incoming),
    AL_TLS_MEMBER("_outgoing", T_OBJECT, outgoing),
    AL_TLS_MEMBER("_transport", T_OBJECT, transport),
    AL_TLS_MEMBER("_app_protocol", T_OBJECT, app_protocol),
    AL_TLS_MEMBER("_write_backlog", T_OBJECT, write_backlog),
    AL_TLS_MEMBER("_outgoing_high_water", T_OBJECT, outgoing_high),
    AL_TLS_MEMBER("_incoming_high_water", T_OBJECT, incoming_high),
    AL_TLS_MEMBER("_write_buffer_size", T_PYSSIZET, backlog_size),
    AL_TLS_MEMBER("_app_protocol_is_buffer", T_BOOL, app_is_buffered),
    AL_TLS_MEMBER("_app_reading_paused", T_BOOL, app_reading_paused),
    AL_TLS_MEMBER("_app_writing_paused", T_BOOL, app_writing_paused),
    AL_TLS_MEMBER("_ssl_reading_paused", T_BOOL, down_reading_paused),
    AL_TLS_MEMBER("_ssl_writing_paused", T_BOOL, down_writing_paused),
    {NULL, 0, 0, 0, NULL},
};

/* --- type --------------------------------------------------------------- */

static int
TLSProtocol_traverse(PyObject *op, visitproc visit, void *arg)
{
    TLSProtocolObject *self = TLSProtocolObject_CAST(op);

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->held);
    Py_VISIT(self->buffer);
    Py_VISIT(self->state);
    Py_VISIT(self->sslobj);
    Py_VISIT(self->incoming);
    Py_VISIT(self->outgoing);
    Py_VISIT(self->transport);
    Py_VISIT(self->app_protocol);
    Py_VISIT(self->write_backlog);
    Py_VISIT(self->outgoing_high);
    Py_VISIT(self->incoming_high);
    return al_tls_engine_traverse(&self->engine, visit, arg);
}

static int
TLSProtocol_clear(PyObject *op)
{
    TLSProtocolObject *self = TLSProtocolObject_CAST(op);

    Py_CLEAR(self->held);
    Py_CLEAR(self->buffer);
    Py_CLEAR(self->state);
    Py_CLEAR(self->sslobj);
    Py_CLEAR(self->incoming);
    Py_CLEAR(self->outgoing);
    Py_CLEAR(self->transport);
    Py_CLEAR(self->app_protocol);
    Py_CLEAR(self->write_backlog);
    Py_CLEAR(self->outgoing_high);
    Py_CLEAR(self->incoming_high);
    al_tls_engine_clear(&self->engine);
    return 0;
}

static void
TLSProtocol_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    (void)TLSProtocol_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

PyDoc_STRVAR(TLSProtocol_doc,
             "What goes in front of asyncio.sslproto.SSLProtocol: its methods "
             "that bytes flow\nthrough.");

static PyType_Slot TLSProtocol_slots[] = {
    {Py_tp_doc, (void *)TLSProtocol_doc},
    {Py_tp_methods, TLSProtocol_methods},
    {Py_tp_members, TLSProtocol_members},
    {Py_tp_traverse, TLSProtocol_traverse},
    {Py_tp_clear, TLSProtocol_clear},
    {Py_tp_dealloc, TLSProtocol_dealloc},
    {0, NULL},
};

static PyType_Spec TLSProtocol_spec = {
    .name = "asyncloop._core.TLSProtocol",
    .basicsize = sizeof(TLSProtocolObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = TLSProtocol_slots,
};

int
al_tls_protocol_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);
    const struct {
        PyObject **place;
        const char *name;
    } states[] = {
        {&state->tls_do_handshake, "DO_HANDSHAKE"},
        {&state->tls_wrapped, "WRAPPED"},
        {&state->tls_flushing, "FLUSHING"},
        {&state->tls_shutdown, "SHUTDOWN"},
    };

    for (size_t i = 0; i < Py_ARRAY_LENGTH(states); i++) {
        *states[i].place = PyObject_GetAttrString(
            state->imports.asyncio_SSLProtocolState, states[i].name);
        if (*states[i].place == NULL) {
            return -1;
        }
    }
    state->TLSProtocolType =
        al_state_add_type(module, &TLSProtocol_spec, NULL);
    return state->TLSProtocolType == NULL ? -1 : 0;
}
