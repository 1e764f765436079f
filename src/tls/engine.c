/* engine.c - ciphertext <-> plaintext; knows no transport.
 *
 *     peer ---> feed ---> incoming BIO --+               +--> read ---> user
 *                                        |-> SSLObject --|
 *     peer <--- drain <-- outgoing BIO <-+               +<-- write <-- user
 *
 * All of the cryptography is the ssl module's: here its methods are bound
 * once, called by vectorcall, and as seldom as possible.  Of a plain
 * ssl.SSLObject it is the methods of the C object inside that are called: the
 * Python ones only pass on to them.
 *
 * Any of the calls may run Python: callbacks of the context, a context's own
 * sslobject_class.
 */
#include "tls/engine.h"

/* --- making ------------------------------------------------------------- */

/* (ssl.SSLWantReadError, ssl.SSLSyscallError): -> new reference, or NULL. */
static PyObject *
engine_make_again(PyObject *ssl)
{
    PyObject *want_read = PyObject_GetAttrString(ssl, "SSLWantReadError");
    PyObject *syscall = PyObject_GetAttrString(ssl, "SSLSyscallError");
    PyObject *result = NULL;

    if (want_read != NULL && syscall != NULL) {
        result = PyTuple_Pack(2, want_read, syscall);
    }
    Py_XDECREF(want_read);
    Py_XDECREF(syscall);
    return result;
}

/* Whose methods to call: 0, with a new reference in *object, or -1. */
static int
engine_find_methods(PyObject *ssl, PyObject *sslobject, PyObject **object,
                    const char **unwrap)
{
    PyObject *plain = PyObject_GetAttrString(ssl, "SSLObject");
    if (plain == NULL) {
        return -1;
    }
    bool is_plain = (PyObject *)Py_TYPE(sslobject) == plain;
    Py_DECREF(plain);
    if (!is_plain) {
        *unwrap = "unwrap";
        *object = Py_NewRef(sslobject);
        return 0;
    }
    *unwrap = "shutdown";
    *object = PyObject_GetAttrString(sslobject, "_sslobj");
    return *object == NULL ? -1 : 0;
}

static int
engine_bind(al_tls_engine *self, PyObject *ssl)
{
    PyObject *object;
    const char *unwrap;

    if (engine_find_methods(ssl, self->object, &object, &unwrap) < 0) {
        return -1;
    }
    const struct {
        PyObject **method;
        PyObject *object;
        const char *name;
    } table[] = {
        {&self->feed, self->incoming, "write"},
        {&self->drain, self->outgoing, "read"},
        {&self->read, object, "read"},
        {&self->write, object, "write"},
        {&self->do_handshake, object, "do_handshake"},
        {&self->unwrap, object, unwrap},
    };
    int rc = 0;
    for (size_t i = 0; i < Py_ARRAY_LENGTH(table) && rc == 0; i++) {
        *table[i].method =
            PyObject_GetAttrString(table[i].object, table[i].name);
        rc = *table[i].method == NULL ? -1 : 0;
    }
    Py_DECREF(object);
    return rc;
}

/* sslcontext.wrap_bio(incoming, outgoing, ...) -> new reference, or NULL. */
static PyObject *
engine_wrap(al_tls_engine *self, PyObject *sslcontext, int server_side,
            PyObject *server_hostname)
{
    PyObject *result = NULL;

    PyObject *wrap = PyObject_GetAttrString(sslcontext, "wrap_bio");
    if (wrap == NULL) {
        return NULL;
    }
    PyObject *args = PyTuple_Pack(2, self->incoming, self->outgoing);
    PyObject *kwargs = Py_BuildValue("{s:O,s:O}", "server_side",
                                     server_side ? Py_True : Py_False,
                                     "server_hostname", server_hostname);
    if (args != NULL && kwargs != NULL) {
        result = PyObject_Call(wrap, args, kwargs);
    }
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    Py_DECREF(wrap);
    return result;
}

int
al_tls_engine_init(al_tls_engine *self, PyObject *sslcontext, int server_side,
                   PyObject *server_hostname)
{
    int rc = -1;

    PyObject *ssl = PyImport_ImportModule("ssl");
    if (ssl == NULL) {
        return -1;
    }
    if ((self->again = engine_make_again(ssl)) != NULL &&
        (self->incoming = PyObject_CallMethod(ssl, "MemoryBIO", NULL)) !=
            NULL &&
        (self->outgoing = PyObject_CallMethod(ssl, "MemoryBIO", NULL)) !=
            NULL &&
        (self->object = engine_wrap(self, sslcontext, server_side,
                                    server_hostname)) != NULL)
    {
        rc = engine_bind(self, ssl);
    }
    Py_DECREF(ssl);
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
    Py_XDECREF(old.unwrap);
    Py_XDECREF(old.again);
    Py_XDECREF(old.object);
    Py_XDECREF(old.incoming);
    Py_XDECREF(old.outgoing);
}

int
al_tls_engine_traverse(al_tls_engine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->feed);
    Py_VISIT(self->drain);
    Py_VISIT(self->read);
    Py_VISIT(self->write);
    Py_VISIT(self->do_handshake);
    Py_VISIT(self->unwrap);
    Py_VISIT(self->again);
    Py_VISIT(self->object);
    Py_VISIT(self->incoming);
    Py_VISIT(self->outgoing);
    return 0;
}

/* --- ciphertext --------------------------------------------------------- */

int
al_tls_engine_feed(al_tls_engine *self, PyObject *ciphertext)
{
    Py_buffer view;

    if (PyObject_GetBuffer(ciphertext, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    al_tls_records_feed(&self->records, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    PyObject *result = PyObject_CallOneArg(self->feed, ciphertext);
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

PyObject *
al_tls_engine_drain(al_tls_engine *self)
{
    return PyObject_CallNoArgs(self->drain);
}

static Py_ssize_t
engine_pending(PyObject *bio)
{
    PyObject *number = PyObject_GetAttrString(bio, "pending");
    if (number == NULL) {
        return -1;
    }
    Py_ssize_t n = PyLong_AsSsize_t(number);
    Py_DECREF(number);
    return n;
}

Py_ssize_t
al_tls_engine_incoming(al_tls_engine *self)
{
    return engine_pending(self->incoming);
}

Py_ssize_t
al_tls_engine_outgoing(al_tls_engine *self)
{
    return engine_pending(self->outgoing);
}

/* --- handshake and goodbye ---------------------------------------------- */

/* The exception now set: 0 when it only says to come again, which clears it,
 * or -1. */
static int
engine_failed(al_tls_engine *self)
{
    if (!PyErr_ExceptionMatches(self->again)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

static int
engine_step(al_tls_engine *self, PyObject *method)
{
    PyObject *held = Py_NewRef(method);
    PyObject *result = PyObject_CallNoArgs(held);
    Py_DECREF(held);
    if (result == NULL) {
        return engine_failed(self);
    }
    Py_DECREF(result);
    return 1;
}

int
al_tls_engine_handshake(al_tls_engine *self)
{
    return engine_step(self, self->do_handshake);
}

int
al_tls_engine_shutdown(al_tls_engine *self)
{
    return engine_step(self, self->unwrap);
}

/* --- plaintext ---------------------------------------------------------- */

/* Decrypt up to one record. -> the number of bytes, 0 at the peer's goodbye;
 * or -1 with an exception set. */
static Py_ssize_t
engine_read_once(al_tls_engine *self, char *buffer, Py_ssize_t size)
{
    PyObject *view = PyMemoryView_FromMemory(buffer, size, PyBUF_WRITE);
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

Py_ssize_t
al_tls_engine_read(al_tls_engine *self, char *buffer, Py_ssize_t size,
                   bool *is_closed)
{
    Py_ssize_t done = 0;

    *is_closed = false;
    while (done < size) {
        Py_ssize_t pending = al_tls_engine_incoming(self);
        if (pending < 0) {
            return -1;
        }
        if (!self->has_rest &&
            !al_tls_records_may_read(&self->records, (size_t)pending))
        {
            break;
        }
        Py_ssize_t n = engine_read_once(self, buffer + done, size - done);
        self->has_rest = n == size - done;
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
