/* engine.c - encrypts and decrypts; what both engines have in common.
 *
 *     peer ---> feed ---+               +--> read ---> user
 *                       |-> SSLObject --|
 *     peer <--- drain <-+               +<-- write <-- user
 *
 * The SSLObject is the ssl module's.  It does the handshake, because that is
 * where OpenSSL calls the program: for server names, keys, certificates.
 *
 * Reading and writing may run Python code, too, though seldom: callbacks of the
 * context, or a subclass that is the context's sslobject_class.
 *
 * Invariants
 *   (1) Bytes of the peer are lent only within one call from protocol.c.
 *   (2) An engine that is bound has a kind and an object.
 */
#include "tls/engine.h"

#ifdef AL_DEBUG

void
al_tls_engine_check(const al_tls_engine *self)
{
    AL_HOLDS(2, !al_tls_engine_is_bound(self) ||
                    (self->kind != NULL && self->object != NULL));
    AL_HOLDS(1, self->kind == NULL || self->kind->has_lent == NULL ||
                    !self->kind->has_lent(self));
    al_tls_records_check(&self->records);
}

#endif

/* --- binding ------------------------------------------------------------ */

/* Fetch what we need of the ssl module, the first time: 0, or -1. */
static int
engine_import(al_state *state)
{
    if (state->tls_again != NULL) {
        return 0;
    }
    PyObject *ssl = PyImport_ImportModule("ssl");
    if (ssl == NULL) {
        return -1;
    }
    PyObject *want_read = PyObject_GetAttrString(ssl, "SSLWantReadError");
    PyObject *syscall = PyObject_GetAttrString(ssl, "SSLSyscallError");
    PyObject *error = PyObject_GetAttrString(ssl, "SSLError");
    PyObject *plain = PyObject_GetAttrString(ssl, "SSLObject");
    PyObject *again = NULL;
    if (want_read != NULL && syscall != NULL && error != NULL && plain != NULL)
    {
        again = PyTuple_Pack(2, want_read, syscall);
    }
    if (again != NULL) {
        Py_XSETREF(state->tls_error, Py_NewRef(error));
        Py_XSETREF(state->tls_SSLObject, Py_NewRef(plain));
        state->tls_again = again;
    }
    Py_XDECREF(plain);
    Py_XDECREF(error);
    Py_XDECREF(syscall);
    Py_XDECREF(want_read);
    Py_DECREF(ssl);
    return again == NULL ? -1 : 0;
}

/* Give it bytes that OpenSSL can read already, to count their records. 0, or
 * -1. */
static int
engine_recount(al_tls_engine *self, PyObject *incoming)
{
    char *bytes;
    Py_ssize_t size;

    PyObject *data = PyObject_CallMethod(incoming, "read", NULL);
    if (data == NULL) {
        return -1;
    }
    int rc = PyBytes_AsStringAndSize(data, &bytes, &size);
    if (rc == 0 && size > 0) {
        rc = al_tls_engine_feed(self, bytes, size, false);
    }
    Py_DECREF(data);
    return rc;
}

int
al_tls_engine_bind(al_tls_engine *self, al_state *state, PyObject *sslobject,
                   PyObject *incoming, PyObject *outgoing)
{
    if (engine_import(state) < 0) {
        return -1;
    }
    self->is_exact = (PyObject *)Py_TYPE(sslobject) == state->tls_SSLObject;
    self->object = self->is_exact
                       ? PyObject_GetAttrString(sslobject, "_sslobj")
                       : Py_NewRef(sslobject);
    if (self->object == NULL) {
        return -1;
    }
    self->state = state;
    int rc = al_tls_engine_openssl_bind(self, incoming, outgoing);
    if (rc == 0) {
        rc = al_tls_engine_ssl_bind(self, incoming, outgoing);
    }
    return rc < 0 ? -1 : engine_recount(self, incoming);
}

void
al_tls_engine_clear(al_tls_engine *self)
{
    al_tls_engine old = *self;

    *self = (al_tls_engine){0};
    if (old.kind != NULL) {
        old.kind->clear(&old);
    }
    Py_XDECREF(old.object);
}

int
al_tls_engine_traverse(al_tls_engine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->object);
    return self->kind == NULL ? 0 : self->kind->traverse(self, visit, arg);
}

/* --- ciphertext --------------------------------------------------------- */

int
al_tls_engine_feed(al_tls_engine *self, char *ciphertext, Py_ssize_t size,
                   bool lend)
{
    self->has_begun = true;
    al_tls_records_feed(&self->records, (unsigned char *)ciphertext,
                        (size_t)size);
    return self->kind->feed(self, ciphertext, size, lend);
}

int
al_tls_engine_keep(al_tls_engine *self)
{
    return self->kind->keep == NULL ? 0 : self->kind->keep(self);
}

PyObject *
al_tls_engine_drain(al_tls_engine *self)
{
    return self->kind->drain(self);
}

Py_ssize_t
al_tls_engine_outgoing(const al_tls_engine *self)
{
    return self->kind == NULL || self->kind->outgoing == NULL
               ? 0
               : self->kind->outgoing(self);
}

Py_ssize_t
al_tls_engine_incoming(al_tls_engine *self)
{
    return self->kind->incoming(self);
}

Py_ssize_t
al_tls_engine_complete(al_tls_engine *self)
{
    Py_ssize_t pending = al_tls_engine_incoming(self);
    if (pending < 0) {
        return -1;
    }
    return (Py_ssize_t)al_tls_records_complete(&self->records,
                                               (size_t)pending);
}

/* --- results ------------------------------------------------------------ */

Py_ssize_t
al_tls_engine_failed(al_tls_engine *self)
{
    if (!PyErr_ExceptionMatches(self->state->tls_again)) {
        return AL_TLS_FAILED;
    }
    PyErr_Clear();
    return AL_TLS_AGAIN;
}

Py_ssize_t
al_tls_engine_number(al_tls_engine *self, PyObject *result)
{
    if (result == NULL) {
        return al_tls_engine_failed(self);
    }
    Py_ssize_t n = PyLong_AsSsize_t(result);
    Py_DECREF(result);
    if (n < 0 && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_ValueError, "a negative number of bytes");
    }
    return n < 0 ? AL_TLS_FAILED : n;
}

/* --- handshake ---------------------------------------------------------- */

int
al_tls_engine_handshake(al_tls_engine *self)
{
    PyObject *result = PyObject_CallMethodNoArgs(
        self->object, self->state->names.do_handshake);
    if (result == NULL) {
        return al_tls_engine_failed(self) == AL_TLS_AGAIN ? 0 : -1;
    }
    Py_DECREF(result);
    return 1;
}

/* --- plaintext ---------------------------------------------------------- */

Py_ssize_t
al_tls_engine_readable(al_tls_engine *self)
{
    Py_ssize_t size = self->has_rest ? AL_TLS_RECORD_MAX : 0;

    Py_ssize_t pending = al_tls_engine_incoming(self);
    if (pending < 0) {
        return -1;
    }
    if (AL_UNLIKELY(!self->is_exact)) {
        return AL_TLS_RECORD_MAX + pending; /* call its read() in any case */
    }
    /* A record's ciphertext is longer than its plaintext. */
    if (al_tls_records_complete(&self->records, (size_t)pending) > 0) {
        size += pending;
    }
    return size;
}

Py_ssize_t
al_tls_engine_read(al_tls_engine *self, char *buffer, Py_ssize_t size,
                   bool *is_closed)
{
    Py_ssize_t done = 0;

    *is_closed = false;
    while (done < size) {
        Py_ssize_t readable = al_tls_engine_readable(self);
        if (readable <= 0) {
            return readable < 0 ? -1 : done;
        }
        Py_ssize_t room = size - done;
        if (!self->is_exact && room > AL_TLS_RECORD_MAX) {
            room = AL_TLS_RECORD_MAX; /* a call fills no more, and we copy */
        }
        Py_ssize_t n = self->kind->read(self, buffer + done, room);
        self->has_rest = n == room;
        if (n < 0) {
            return n == AL_TLS_AGAIN ? done : -1;
        }
        if (n == 0) {
            *is_closed = true;
            break;
        }
        done += n;
    }
    return done;
}

Py_ssize_t
al_tls_engine_write(al_tls_engine *self, PyObject *object, char *data,
                    Py_ssize_t size)
{
    Py_ssize_t n = self->kind->write(self, object, data, size);

    return n == AL_TLS_AGAIN ? 0 : n;
}
