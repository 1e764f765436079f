/* engine_openssl.c - the engine that calls OpenSSL itself.
 *
 *     feed ---> kept or lent --> SSL_read_ex() ---> read
 *     drain <------- piece <-- SSL_write_ex() <--- write
 *                        (bio.c)
 *
 * It does what the methods of _ssl._SSLSocket do, without objects for what goes
 * in and out, and without an exception to say that there is nothing to read.
 * Ciphertext is read out of the buffer that it was received into, and written
 * into the bytes object that is sent.
 *
 * If OpenSSL fails, we call the method.  OpenSSL does nothing more on a
 * connection that has failed, and leaves the error queue as it is.  So the
 * method finds the same error there, and raises what it always raises.
 *
 * The GIL is not released: a record takes OpenSSL a few microseconds.  On a
 * free-threaded CPython the object is locked, as its methods do.
 *
 * Invariants
 *   (1) There is a piece => it was lent to the BIO, and nobody else has it.
 */
#include "tls/engine.h"

/* The most that a record adds to its plaintext is less, with every cipher that
 * is in use. Should it be more, the BIO has memory of its own. */
#define OPENSSL_OVERHEAD ((Py_ssize_t)64)

#define OPENSSL_PIECE ((Py_ssize_t)128 * 1024)

/* Forget errors that somebody has left in the queue of this thread: else
 * SSL_get_error() would take them for ours. */
static inline void
openssl_forget_errors(const al_openssl *openssl)
{
    if (AL_UNLIKELY(openssl->ERR_peek_error() != 0)) {
        openssl->ERR_clear_error();
    }
}

/* --- ciphertext --------------------------------------------------------- */

static int
openssl_keep(al_tls_engine *self)
{
    if (AL_LIKELY(al_tls_bio_keep(self->of.openssl.bio) == 0)) {
        return 0;
    }
    PyErr_NoMemory();
    return -1;
}

static int
openssl_feed(al_tls_engine *self, char *ciphertext, Py_ssize_t size, bool lend)
{
    al_tls_bio_lend(self->of.openssl.bio, ciphertext, (size_t)size);
    return lend ? 0 : openssl_keep(self);
}

static Py_ssize_t
openssl_incoming(al_tls_engine *self)
{
    return (Py_ssize_t)al_tls_bio_readable(self->of.openssl.bio);
}

static Py_ssize_t
openssl_outgoing(const al_tls_engine *self)
{
    return (Py_ssize_t)self->of.openssl.bio->out_size;
}

#ifdef AL_DEBUG

static bool
openssl_has_lent(const al_tls_engine *self)
{
    return self->of.openssl.bio->lent != NULL;
}

#endif

/* Make room for `size` bytes of plaintext in the piece. 0, or -1 with
 * MemoryError set. */
static int
openssl_reserve(al_tls_engine *self, Py_ssize_t size)
{
    al_tls_bio *bio = self->of.openssl.bio;
    Py_ssize_t records = size / AL_TLS_RECORD_MAX + 2;
    size_t need = (size_t)(size + records * OPENSSL_OVERHEAD);

    if (bio->out_is_lent && bio->out_room - bio->out_size >= need) {
        return 0;
    }
    need += bio->out_size;
    PyObject *piece = PyBytes_FromStringAndSize(
        NULL, (Py_ssize_t)Py_MAX(need, bio->out_room * 2));
    if (piece == NULL) {
        return -1;
    }
    al_tls_bio_lend_out(bio, PyBytes_AS_STRING(piece),
                        (size_t)PyBytes_GET_SIZE(piece));
    Py_XSETREF(self->of.openssl.piece, piece);
    return 0;
}

static PyObject *
openssl_drain(al_tls_engine *self)
{
    al_tls_bio *bio = self->of.openssl.bio;
    PyObject *piece = self->of.openssl.piece;
    size_t size;

    self->of.openssl.piece = NULL;
    if (al_tls_bio_end_out(bio, &size)) {
        (void)_PyBytes_Resize(&piece, (Py_ssize_t)size);
        return piece;
    }
    Py_XDECREF(piece);
    piece = PyBytes_FromStringAndSize(bio->out, (Py_ssize_t)size);
    if (piece != NULL) {
        al_tls_bio_drop_out(bio);
    }
    return piece;
}

/* --- plaintext ---------------------------------------------------------- */

/* Read by the method, because OpenSSL has failed. */
static Py_ssize_t
openssl_read_again(al_tls_engine *self, char *buffer, Py_ssize_t size)
{
    if (openssl_keep(self) < 0) {
        return AL_TLS_FAILED;
    }
    PyObject *view = PyMemoryView_FromMemory(buffer, size, PyBUF_WRITE);
    PyObject *result = view == NULL ? NULL
                                    : PyObject_CallMethod(self->object, "read",
                                                          "nO", size, view);
    Py_XDECREF(view);
    return al_tls_engine_number(self, result);
}

static Py_ssize_t
openssl_read(al_tls_engine *self, char *buffer, Py_ssize_t size)
{
    const al_openssl *openssl = self->of.openssl.openssl;
    SSL *ssl = self->of.openssl.ssl;
    size_t n = 0;
    int error = 0;
    bool is_closed = false;

    AL_LOCK(self->object);
    openssl_forget_errors(openssl);
    int rc = openssl->SSL_read_ex(ssl, buffer, (size_t)size, &n);
    if (AL_UNLIKELY(rc <= 0)) {
        error = openssl->SSL_get_error(ssl, rc);
        is_closed = error == AL_SSL_ERROR_ZERO_RETURN &&
                    openssl->SSL_get_shutdown(ssl) == AL_SSL_RECEIVED_SHUTDOWN;
    }
    AL_UNLOCK();
    if (AL_LIKELY(error == 0) || is_closed) {
        return (Py_ssize_t)n;
    }
    return error == AL_SSL_ERROR_WANT_READ
               ? AL_TLS_AGAIN
               : openssl_read_again(self, buffer, size);
}

/* Write by the method, because OpenSSL has failed. */
static Py_ssize_t
openssl_write_again(al_tls_engine *self, char *data, Py_ssize_t size)
{
    PyObject *view = PyMemoryView_FromMemory(data, size, PyBUF_READ);
    PyObject *result =
        view == NULL ? NULL
                     : PyObject_CallMethod(self->object, "write", "O", view);
    Py_XDECREF(view);
    return al_tls_engine_number(self, result);
}

/* Encrypt at most one record, into the piece. */
static Py_ssize_t
openssl_write_record(al_tls_engine *self, char *data, Py_ssize_t size)
{
    const al_openssl *openssl = self->of.openssl.openssl;
    SSL *ssl = self->of.openssl.ssl;
    size_t n = 0;
    int error = 0;

    AL_LOCK(self->object);
    openssl_forget_errors(openssl);
    int rc = openssl->SSL_write_ex(ssl, data, (size_t)size, &n);
    if (AL_UNLIKELY(rc <= 0)) {
        error = openssl->SSL_get_error(ssl, rc);
    }
    AL_UNLOCK();
    if (AL_LIKELY(error == 0)) {
        return (Py_ssize_t)n;
    }
    return error == AL_SSL_ERROR_WANT_READ
               ? AL_TLS_AGAIN
               : openssl_write_again(self, data, size);
}

static Py_ssize_t
openssl_write(al_tls_engine *self, PyObject *Py_UNUSED(object), char *data,
              Py_ssize_t size)
{
    Py_ssize_t most = Py_MIN(size, OPENSSL_PIECE);
    Py_ssize_t done = 0;

    if (openssl_reserve(self, most) < 0) {
        return AL_TLS_FAILED;
    }
    while (done < most) {
        Py_ssize_t n = openssl_write_record(
            self, data + done, Py_MIN(most - done, AL_TLS_RECORD_MAX));
        if (n <= 0) {
            return n == AL_TLS_AGAIN && done > 0 ? done : n;
        }
        done += n;
    }
    return done;
}

/* --- binding ------------------------------------------------------------ */

static void
openssl_clear(al_tls_engine *self)
{
    size_t size;

    (void)al_tls_bio_end_out(self->of.openssl.bio, &size);
    Py_XDECREF(self->of.openssl.piece);
}

static int
openssl_traverse(al_tls_engine *self, visitproc visit, void *arg)
{
    Py_VISIT(self->of.openssl.piece);
    return 0;
}

static const al_tls_engine_kind openssl_kind = {
    .clear = openssl_clear,
    .traverse = openssl_traverse,
    .feed = openssl_feed,
    .keep = openssl_keep,
    .outgoing = openssl_outgoing,
#ifdef AL_DEBUG
    .has_lent = openssl_has_lent,
#endif
    .drain = openssl_drain,
    .incoming = openssl_incoming,
    .read = openssl_read,
    .write = openssl_write,
    .most = OPENSSL_PIECE,
};

/* Whether OpenSSL calls the program for each message. Its exceptions are for
 * the methods to raise. 1 / 0, or -1 with an exception set. */
static int
openssl_has_callback(const al_tls_engine *self)
{
    PyObject *context = ((al_ssl_socket *)self->object)->context;
    PyObject *callback =
        PyObject_GetAttr(context, self->state->names._msg_callback);
    if (callback == NULL) {
        return -1;
    }
    Py_DECREF(callback);
    return callback != Py_None;
}

int
al_tls_engine_openssl_bind(al_tls_engine *self, PyObject *incoming,
                           PyObject *outgoing)
{
    al_state *state = self->state;
    SSL *ssl = self->is_exact ? al_openssl_find_ssl(state, self->object,
                                                    incoming, outgoing)
                              : NULL;
    int has_callback = ssl == NULL ? 1 : openssl_has_callback(self);

    if (has_callback != 0) {
        return has_callback < 0 ? -1 : 0;
    }
    const al_openssl *openssl = al_openssl_get(state);
    al_tls_bio *bio = al_tls_bio_attach(openssl, ssl);
    if (bio == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->of.openssl.openssl = openssl;
    self->of.openssl.ssl = ssl;
    self->of.openssl.bio = bio;
    self->kind = &openssl_kind;
    return 1;
}
