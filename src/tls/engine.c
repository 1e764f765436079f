/* engine.c - encrypts and decrypts; knows no transport.
 *
 *     peer ---> feed ---> incoming BIO --+               +--> read ---> user
 *                                        |-> SSLObject --|
 *     peer <--- drain <-- outgoing BIO <-+               +<-- write <-- user
 *
 * The ssl module does all of the cryptography.  We bind its methods once, call
 * them by vectorcall, and as seldom as possible.  If the object is exactly an
 * ssl.SSLObject, we call the methods of the C object inside it: the Python
 * methods only call these.
 *
 * Each of the calls may run Python code: callbacks of the context, or a
 * subclass that is the context's sslobject_class.
 *
 * Invariants
 *   (1) Only the C objects of the ssl module get a view of memory that no
 *       object owns: they do not keep it.  A subclass of SSLObject might keep
 *       it, so it gets bytes and bytearray objects, and we copy.
 *   (2) An engine that is bound has all of the methods, and the incoming BIO.
 */
#include "tls/engine.h"

#ifdef AL_DEBUG

void
al_tls_engine_check(const al_tls_engine *self)
{
    AL_HOLDS(2, !al_tls_engine_is_bound(self) ||
                    (self->incoming != NULL && self->feed != NULL &&
                     self->drain != NULL && self->read != NULL &&
                     self->write != NULL && self->do_handshake != NULL));
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

static int
engine_bind_methods(al_tls_engine *self, PyObject *object, PyObject *outgoing)
{
    const struct {
        PyObject **method;
        PyObject *object;
        const char *name;
    } table[] = {
        {&self->feed, self->incoming, "write"},
        {&self->drain, outgoing, "read"},
        {&self->read, object, "read"},
        {&self->write, object, "write"},
        {&self->do_handshake, object, "do_handshake"},
    };

    for (size_t i = 0; i < Py_ARRAY_LENGTH(table); i++) {
        *table[i].method =
            PyObject_GetAttrString(table[i].object, table[i].name);
        if (*table[i].method == NULL) {
            return -1;
        }
    }
    return 0;
}

/* Count the records in the incoming BIO: take its bytes out and feed them. 0,
 * or -1. */
static int
engine_recount(al_tls_engine *self)
{
    Py_ssize_t pending = al_tls_engine_incoming(self);
    if (pending <= 0) {
        return (int)pending;
    }
    PyObject *data = PyObject_CallMethod(self->incoming, "read", NULL);
    if (data == NULL) {
        return -1;
    }
    char *bytes;
    Py_ssize_t size;
    int rc = PyBytes_AsStringAndSize(data, &bytes, &size);
    if (rc == 0) {
        rc = al_tls_engine_feed(self, bytes, size);
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
    PyObject *object = self->is_exact
                           ? PyObject_GetAttrString(sslobject, "_sslobj")
                           : Py_NewRef(sslobject);
    if (object == NULL) {
        return -1;
    }
    self->incoming = Py_NewRef(incoming);
    int rc = engine_bind_methods(self, object, outgoing);
    Py_DECREF(object);
    if (rc == 0) {
        self->state = state;
        rc = engine_recount(self);
    }
    return rc;
}

void
al_tls_engine_clear(al_tls_engine *self)
{
    al_tls_engine old = *self;

    *self = (al_tls_engine){0};
    Py_XDECREF(old.feed);
    Py_XDECREF(old.drain);
    Py_XDECREF(old.read);
    Py_XDECREF(old.write);
    Py_XDECREF(old.do_handshake);
    Py_XDECREF(old.incoming);
}

int
al_tls_engine_traverse(al_tls_engine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->feed);
    Py_VISIT(self->drain);
    Py_VISIT(self->read);
    Py_VISIT(self->write);
    Py_VISIT(self->do_handshake);
    Py_VISIT(self->incoming);
    return 0;
}

/* --- ciphertext --------------------------------------------------------- */

int
al_tls_engine_feed(al_tls_engine *self, char *ciphertext, Py_ssize_t size)
{
    self->has_begun = true;
    al_tls_records_feed(&self->records, (unsigned char *)ciphertext,
                        (size_t)size);
    /* Pass a copy, not a memoryview: making a memoryview may run the garbage
     * collector, whose finalisers may let others use the memory
     * (protocol.c). */
    PyObject *data = PyBytes_FromStringAndSize(ciphertext, size);
    if (data == NULL) {
        return -1;
    }
    PyObject *result = PyObject_CallOneArg(self->feed, data);
    Py_DECREF(data);
    return al_call_finish(result);
}

PyObject *
al_tls_engine_drain(al_tls_engine *self)
{
    return PyObject_CallNoArgs(self->drain);
}

Py_ssize_t
al_tls_engine_incoming(al_tls_engine *self)
{
    PyObject *number =
        PyObject_GetAttr(self->incoming, self->state->names.pending);
    if (number == NULL) {
        return -1;
    }
    Py_ssize_t n = PyLong_AsSsize_t(number);
    Py_DECREF(number);
    return n;
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

/* --- handshake ---------------------------------------------------------- */

/* If the exception that is set only means "try again", clear it and return 0;
 * else -1. */
static int
engine_failed(al_tls_engine *self)
{
    if (!PyErr_ExceptionMatches(self->state->tls_again)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

int
al_tls_engine_handshake(al_tls_engine *self)
{
    PyObject *result = PyObject_CallNoArgs(self->do_handshake);
    if (result == NULL) {
        return engine_failed(self);
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

/* read(size, view): steals `view`, which may be NULL. -> what
 * engine_read_once() returns. */
static Py_ssize_t
engine_call_read(al_tls_engine *self, PyObject *view, Py_ssize_t size)
{
    PyObject *wanted = PyLong_FromSsize_t(size);
    PyObject *result = NULL;

    if (view != NULL && wanted != NULL) {
        PyObject *args[] = {wanted, view};
        result = PyObject_Vectorcall(self->read, args, 2, NULL);
    }
    Py_XDECREF(wanted);
    Py_XDECREF(view);
    if (result == NULL) {
        return -1;
    }
    Py_ssize_t n = PyLong_AsSsize_t(result);
    Py_DECREF(result);
    return n;
}

/* engine_read_once() into a bytearray, by (1), and copy. */
static Py_ssize_t
engine_read_copy(al_tls_engine *self, char *buffer, Py_ssize_t size)
{
    PyObject *room = PyByteArray_FromStringAndSize(NULL, size);
    if (room == NULL) {
        return -1;
    }
    Py_ssize_t n = engine_call_read(self, PyMemoryView_FromObject(room), size);
    if (!PyErr_Occurred()) {
        if (n >= 0 && n <= size && n <= PyByteArray_GET_SIZE(room)) {
            memcpy(buffer, PyByteArray_AS_STRING(room), (size_t)n);
        }
        else {
            PyErr_SetString(PyExc_ValueError,
                            "read() of more than the buffer has room for");
            n = -1;
        }
    }
    Py_DECREF(room);
    return n;
}

/* Decrypt at most one record. -> the number of bytes, 0 after the peer's
 * goodbye; or -1 with an exception set. */
static Py_ssize_t
engine_read_once(al_tls_engine *self, char *buffer, Py_ssize_t size)
{
    if (AL_UNLIKELY(!self->is_exact)) {
        return engine_read_copy(self, buffer, size);
    }
    return engine_call_read(
        self, PyMemoryView_FromMemory(buffer, size, PyBUF_WRITE), size);
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
        Py_ssize_t n = engine_read_once(self, buffer + done, room);
        self->has_rest = n == room;
        if (n < 0) {
            return engine_failed(self) < 0 ? -1 : done;
        }
        if (n == 0) {
            *is_closed = true;
            break;
        }
        done += n;
    }
    return done;
}

PyObject *
al_tls_engine_rest(al_tls_engine *self, char *data, Py_ssize_t size)
{
    if (AL_LIKELY(self->is_exact)) {
        return PyMemoryView_FromMemory(data, size, PyBUF_READ);
    }
    return PyBytes_FromStringAndSize(
        data, size < AL_TLS_RECORD_MAX ? size : AL_TLS_RECORD_MAX);
}

Py_ssize_t
al_tls_engine_write(al_tls_engine *self, PyObject *data)
{
    PyObject *result = PyObject_CallOneArg(self->write, data);
    if (result == NULL) {
        return engine_failed(self);
    }
    Py_ssize_t n = PyLong_AsSsize_t(result);
    Py_DECREF(result);
    return n;
}
