/* engine_ssl.c - the engine that calls the methods of the ssl module.
 *
 *     feed ---> incoming BIO ---> read
 *     drain <-- outgoing BIO <-- write
 *
 * We bind the methods once, call them by vectorcall, and as seldom as possible.
 * If the object is exactly an ssl.SSLObject, we call the methods of the C
 * object inside it: the Python methods only call these.
 *
 * Invariants
 *   (1) Only the C objects of the ssl module get a view of memory that no
 *       object owns: they do not keep it.  A subclass of SSLObject might keep
 *       it, so it gets bytes and bytearray objects, and we copy.
 */
#include "tls/engine.h"

/* --- binding ------------------------------------------------------------ */

static void
ssl_clear(al_tls_engine *self)
{
    Py_XDECREF(self->of.ssl.feed);
    Py_XDECREF(self->of.ssl.drain);
    Py_XDECREF(self->of.ssl.read);
    Py_XDECREF(self->of.ssl.write);
    Py_XDECREF(self->of.ssl.incoming);
}

static int
ssl_traverse(al_tls_engine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->of.ssl.feed);
    Py_VISIT(self->of.ssl.drain);
    Py_VISIT(self->of.ssl.read);
    Py_VISIT(self->of.ssl.write);
    Py_VISIT(self->of.ssl.incoming);
    return 0;
}

/* --- ciphertext --------------------------------------------------------- */

/* Pass a copy, not a memoryview: making a memoryview may run the garbage
 * collector, whose finalisers may let others use the memory (protocol.c). */
static int
ssl_feed(al_tls_engine *self, char *ciphertext, Py_ssize_t size,
         bool Py_UNUSED(lend))
{
    PyObject *data = PyBytes_FromStringAndSize(ciphertext, size);
    if (data == NULL) {
        return -1;
    }
    PyObject *result = PyObject_CallOneArg(self->of.ssl.feed, data);
    Py_DECREF(data);
    return al_call_finish(result);
}

static PyObject *
ssl_drain(al_tls_engine *self)
{
    return PyObject_CallNoArgs(self->of.ssl.drain);
}

static Py_ssize_t
ssl_incoming(al_tls_engine *self)
{
    PyObject *number =
        PyObject_GetAttr(self->of.ssl.incoming, self->state->names.pending);
    if (number == NULL) {
        return -1;
    }
    Py_ssize_t n = PyLong_AsSsize_t(number);
    Py_DECREF(number);
    return n;
}

/* --- plaintext ---------------------------------------------------------- */

/* read(size, view): steals `view`, which may be NULL. */
static Py_ssize_t
ssl_call_read(al_tls_engine *self, PyObject *view, Py_ssize_t size)
{
    PyObject *wanted = PyLong_FromSsize_t(size);
    PyObject *result = NULL;

    if (view != NULL && wanted != NULL) {
        PyObject *args[] = {wanted, view};
        result = PyObject_Vectorcall(self->of.ssl.read, args, 2, NULL);
    }
    Py_XDECREF(wanted);
    Py_XDECREF(view);
    return al_tls_engine_number(self, result);
}

/* Read into a bytearray, by (1), and copy. */
static Py_ssize_t
ssl_read_copy(al_tls_engine *self, char *buffer, Py_ssize_t size)
{
    PyObject *room = PyByteArray_FromStringAndSize(NULL, size);
    if (room == NULL) {
        return AL_TLS_FAILED;
    }
    Py_ssize_t n = ssl_call_read(self, PyMemoryView_FromObject(room), size);
    if (n >= 0 && n <= size && n <= PyByteArray_GET_SIZE(room)) {
        memcpy(buffer, PyByteArray_AS_STRING(room), (size_t)n);
    }
    else if (n != AL_TLS_AGAIN && !PyErr_Occurred()) {
        PyErr_SetString(PyExc_ValueError,
                        "read() of more than the buffer has room for");
        n = AL_TLS_FAILED;
    }
    Py_DECREF(room);
    return n;
}

static Py_ssize_t
ssl_read(al_tls_engine *self, char *buffer, Py_ssize_t size)
{
    if (AL_UNLIKELY(!self->is_exact)) {
        return ssl_read_copy(self, buffer, size);
    }
    return ssl_call_read(
        self, PyMemoryView_FromMemory(buffer, size, PyBUF_WRITE), size);
}

/* Make an argument for write() from memory: all of the bytes, or by (1) one
 * record of them. -> new reference, or NULL. */
static PyObject *
ssl_make_rest(al_tls_engine *self, char *data, Py_ssize_t size)
{
    if (AL_LIKELY(self->is_exact)) {
        return PyMemoryView_FromMemory(data, size, PyBUF_READ);
    }
    return PyBytes_FromStringAndSize(
        data, size < AL_TLS_RECORD_MAX ? size : AL_TLS_RECORD_MAX);
}

static Py_ssize_t
ssl_write(al_tls_engine *self, PyObject *object, char *data, Py_ssize_t size)
{
    PyObject *rest =
        object != NULL ? Py_NewRef(object) : ssl_make_rest(self, data, size);
    if (rest == NULL) {
        return AL_TLS_FAILED;
    }
    PyObject *result = PyObject_CallOneArg(self->of.ssl.write, rest);
    Py_DECREF(rest);
    return al_tls_engine_number(self, result);
}

/* The BIOs never shrink: empty them before they have grown. */
static const al_tls_engine_kind ssl_kind = {
    .clear = ssl_clear,
    .traverse = ssl_traverse,
    .feed = ssl_feed,
    .drain = ssl_drain,
    .incoming = ssl_incoming,
    .read = ssl_read,
    .write = ssl_write,
    .most = (Py_ssize_t)32 * 1024,
};

int
al_tls_engine_ssl_bind(al_tls_engine *self, PyObject *incoming,
                       PyObject *outgoing)
{
    const struct {
        PyObject **method;
        PyObject *object;
        const char *name;
    } table[] = {
        {&self->of.ssl.feed, incoming, "write"},
        {&self->of.ssl.drain, outgoing, "read"},
        {&self->of.ssl.read, self->object, "read"},
        {&self->of.ssl.write, self->object, "write"},
    };

    self->kind = &ssl_kind;
    self->of.ssl.incoming = Py_NewRef(incoming);
    for (size_t i = 0; i < Py_ARRAY_LENGTH(table); i++) {
        *table[i].method =
            PyObject_GetAttrString(table[i].object, table[i].name);
        if (*table[i].method == NULL) {
            return -1;
        }
    }
    return 0;
}
