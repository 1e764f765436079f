/* write.c - from the user to the peer: plaintext in, ciphertext out.
 *
 *     SSLTransport.write() ---> engine: write ... drain ---> transport below
 *                                           |  that has paused us
 *                                           v
 *                                         unsent
 *
 * As in asyncio, the transport below has the bytes when write() returns: the
 * program may use that transport without us.  It may hold a record as it holds
 * any other small write (net/held.c).  Ciphertext that cannot be sent now is
 * kept in bytes objects (`unsent`), as is all but the last of much data.
 *
 * Invariants
 *   (1) `unsent` is sent before the bytes in the outgoing BIO.
 *   (2) Plaintext is in asyncio's backlog only while OpenSSL takes none:
 *       during a handshake.
 *   (3) unsent_size is the number of bytes in `unsent`.
 */
#include "tls/protocol.h"

#include "net/fd_transport.h"

#ifdef AL_DEBUG

void
al_tls_check_unsent(const SSLProtocolObject *self)
{
    static size_t skipped;
    PyObject *unsent = self->unsent;
    Py_ssize_t count = unsent == NULL ? 0 : PyList_GET_SIZE(unsent);
    Py_ssize_t size = 0;

    if (!al_check_is_time(&skipped, (size_t)count)) {
        return;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        size += PyBytes_GET_SIZE(PyList_GET_ITEM(unsent, i));
    }
    AL_HOLDS(3, self->unsent_size == size);
}

#endif

/* --- to the peer -------------------------------------------------------- */

/* Empty the BIO. -> new reference to bytes, may be empty; or NULL. */
static PyObject *
tls_drain(SSLProtocolObject *self)
{
    PyObject *data;

    if (AL_LIKELY(al_tls_engine_is_bound(&self->engine))) {
        data = al_tls_engine_drain(&self->engine);
    }
    else if (al_tls_check_init(self) < 0) {
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

/* Empty the BIO into `unsent`. 0, or -1 with an exception set. */
static int
tls_keep_unsent(SSLProtocolObject *self)
{
    PyObject *data = tls_drain(self);
    if (data == NULL) {
        return -1;
    }
    int rc = 0;
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    if (size > 0) {
        if (self->unsent == NULL && (self->unsent = PyList_New(0)) == NULL) {
            rc = -1;
        }
        else {
            rc = PyList_Append(self->unsent, data);
        }
        self->unsent_size += rc == 0 ? size : 0;
    }
    Py_DECREF(data);
    return rc;
}

/* Call name(data) of the transport below; steals `data`. 0, or -1 with an
 * exception set. */
static int
tls_send(SSLProtocolObject *self, PyObject *name, PyObject *data)
{
    if (self->transport == NULL) { /* the connection is lost */
        Py_DECREF(data);
        return 0;
    }
    PyObject *transport = Py_NewRef(self->transport);
    PyObject *result = PyObject_CallMethodOneArg(transport, name, data);
    Py_DECREF(transport);
    Py_DECREF(data);
    return al_call_finish(result);
}

/* Send ciphertext out of the BIO; steals `data`. 0, or -1 with an exception
 * set. */
static int
tls_send_drained(SSLProtocolObject *self, PyObject *data)
{
    PyObject *transport = self->transport;
    const al_transport_kind *kind = al_fd_transport_kind(transport);

    /* If the program has set attributes of the transport, one may be
     * write(). */
    if (AL_LIKELY(kind != NULL && kind->write_bytes != NULL &&
                  TransportObject_CAST(transport)->dict == NULL))
    {
        Py_INCREF(transport);
        int rc = kind->write_bytes(TransportObject_CAST(transport), data);
        Py_DECREF(transport);
        Py_DECREF(data);
        return rc;
    }
    return tls_send(self, al_tls_state(self)->names.write, data);
}

static int
tls_send_unsent(SSLProtocolObject *self)
{
    PyObject *unsent = self->unsent;

    self->unsent = NULL;
    self->unsent_size = 0;
    return tls_send(self, al_tls_state(self)->names.writelines, unsent);
}

/* Whether asyncio's _control_app_writing() would neither pause nor resume. */
static bool
tls_is_flowing(const SSLProtocolObject *self)
{
    return !self->app_writing_paused &&
           al_tls_is_below(al_tls_waiting(self), self->outgoing_high);
}

int
al_tls_flush(SSLProtocolObject *self)
{
    int rc = 0;

    AL_CHECK(al_tls_check, self);
    if (AL_UNLIKELY(self->unsent != NULL || self->down_writing_paused)) {
        rc = tls_keep_unsent(self); /* by (1) */
        if (rc == 0 && self->unsent != NULL && !self->down_writing_paused) {
            rc = tls_send_unsent(self);
        }
    }
    else {
        PyObject *data = tls_drain(self);
        if (data == NULL) {
            return -1;
        }
        if (PyBytes_GET_SIZE(data) > 0) {
            rc = tls_send_drained(self, data);
        }
        else {
            Py_DECREF(data);
        }
    }
    if (rc < 0) {
        return -1;
    }
    if (AL_LIKELY(tls_is_flowing(self))) {
        return 0;
    }
    return al_tls_call(self, al_tls_state(self)->names._control_app_writing);
}

/* Append plaintext that cannot be encrypted now to the backlog. 0, or -1. */
static int
tls_postpone(SSLProtocolObject *self, const char *data, Py_ssize_t size)
{
    PyObject *rest = PyBytes_FromStringAndSize(data, size);
    if (rest == NULL) {
        return -1;
    }
    PyObject *backlog = al_tls_backlog(self);
    PyObject *result = backlog == NULL
                           ? NULL
                           : PyObject_CallMethod(backlog, "append", "O", rest);
    Py_DECREF(rest);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    self->backlog_size += size;
    return 0;
}

/* Encrypt all of the `size` bytes at `data`, which `object` owns. 0, or -1
 * with an exception set. */
static int
tls_encrypt(SSLProtocolObject *self, PyObject *object, char *data,
            Py_ssize_t size)
{
    Py_ssize_t done = 0;
    Py_ssize_t in_bio = 0;

    while (done < size) {
        Py_ssize_t n =
            al_tls_engine_write(&self->engine, done == 0 ? object : NULL,
                                data + done, size - done);
        if (n <= 0) {
            return n < 0 ? -1 : tls_postpone(self, data + done, size - done);
        }
        done += n;
        in_bio += n;
        if (in_bio >= self->engine.kind->most && done < size) {
            if (tls_keep_unsent(self) < 0) {
                return -1;
            }
            in_bio = 0;
        }
    }
    return 0;
}

/* Call asyncio's own _write_appdata(), for unusual cases. */
static int
tls_write_by_asyncio(SSLProtocolObject *self, PyObject *const *items,
                     Py_ssize_t count)
{
    al_state *state = al_tls_state(self);
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
    return al_call_finish(result);
}

/* Encrypt a bytes-like object. 0; 1: asyncio has to do it; -1 with an
 * exception set. */
static int
tls_encrypt_object(SSLProtocolObject *self, PyObject *object)
{
    Py_buffer view;

    if (AL_LIKELY(PyBytes_CheckExact(object))) {
        return tls_encrypt(self, object, PyBytes_AS_STRING(object),
                           PyBytes_GET_SIZE(object));
    }
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear(); /* it goes into asyncio's backlog and fails there */
        return 1;
    }
    int rc = tls_encrypt(self, object, view.buf, view.len);
    PyBuffer_Release(&view);
    return rc;
}

int
al_tls_write(SSLProtocolObject *self, PyObject *const *items, Py_ssize_t count)
{
    AL_CHECK(al_tls_check, self);
    if (AL_UNLIKELY(self->state != al_tls_state(self)->tls_wrapped ||
                    al_tls_has_backlog(self) ||
                    !al_tls_engine_is_bound(&self->engine)))
    {
        return tls_write_by_asyncio(self, items, count);
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        if (PyObject_Size(items[i]) < 0) {
            /* An object without a length: it goes into asyncio's backlog,
             * fails there and ends the connection. */
            PyErr_Clear();
            return tls_write_by_asyncio(self, items, count);
        }
    }
    Py_INCREF(self);
    int rc = 0;
    for (Py_ssize_t i = 0; i < count && rc == 0; i++) {
        /* Keep the order: if the backlog has bytes, go behind them. */
        rc = self->backlog_size > 0 ? 1 : tls_encrypt_object(self, items[i]);
        if (rc > 0) {
            rc = tls_write_by_asyncio(self, items + i, count - i);
            Py_DECREF(self);
            return rc;
        }
    }
    if (rc == 0) {
        rc = al_tls_flush(self);
    }
    if (rc < 0) {
        rc = al_tls_fatal_error(self);
    }
    Py_DECREF(self);
    return rc;
}
