/* engine.h - encrypts and decrypts; knows no transport.
 *
 * There are two engines behind one table of functions:
 *
 *     engine_openssl.c   calls OpenSSL itself, on buffers of the loop
 *     engine_ssl.c       calls the methods of the ssl module's objects
 *
 * The first one is used for an SSLObject of the ssl module whose layout is
 * known (cpython/openssl.h). The second one does for all others. */
#ifndef AL_TLS_ENGINE_H
#define AL_TLS_ENGINE_H

#include "base/call.h"
#include "tls/bio.h"
#include "tls/records.h"

/* The most plaintext in a record. */
#define AL_TLS_RECORD_MAX ((Py_ssize_t)16 * 1024)

/* Results of kind->read() and kind->write(). */
#define AL_TLS_FAILED ((Py_ssize_t) - 1) /* an exception is set */
#define AL_TLS_AGAIN ((Py_ssize_t) - 2)  /* bytes of the peer are missing */

typedef struct al_tls_engine al_tls_engine;

/* The functions below call these; they say what each does. */
typedef struct {
    void (*clear)(al_tls_engine *self);
    int (*traverse)(al_tls_engine *self, visitproc visit, void *arg);
    int (*feed)(al_tls_engine *self, char *ciphertext, Py_ssize_t size,
                bool lend);
    int (*keep)(al_tls_engine *self); /* or NULL: never lent */
    Py_ssize_t (*outgoing)(const al_tls_engine *self); /* or NULL: none */
#ifdef AL_DEBUG
    bool (*has_lent)(const al_tls_engine *self); /* or NULL: never */
#endif
    PyObject *(*drain)(al_tls_engine *self);
    Py_ssize_t (*incoming)(al_tls_engine *self);
    /* Decrypt at most one record. -> the number of bytes; 0 after the peer's
     * goodbye; AL_TLS_AGAIN or AL_TLS_FAILED. */
    Py_ssize_t (*read)(al_tls_engine *self, char *buffer, Py_ssize_t size);
    /* Encrypt one or more records. `object` has exactly these bytes, or is
     * NULL. -> the number of bytes, AL_TLS_AGAIN or AL_TLS_FAILED. */
    Py_ssize_t (*write)(al_tls_engine *self, PyObject *object, char *data,
                        Py_ssize_t size);
    Py_ssize_t most; /* plaintext to encrypt before a drain() */
} al_tls_engine_kind;

/* Zeroed: not bound. */
struct al_tls_engine {
    al_state *state; /* borrowed, NULL <=> not bound; the rest is owned */
    const al_tls_engine_kind *kind; /* static */
    PyObject *object; /* the SSLObject, or the C object inside of it */
    union {
        struct {                /* engine_ssl.c */
            PyObject *incoming; /* ssl.MemoryBIO: ciphertext of the peer */
            /* Bound methods, of the BIOs and of `object`. */
            PyObject *feed;
            PyObject *drain;
            PyObject *read;
            PyObject *write;
        } ssl;
        struct { /* engine_openssl.c; the first three: `object` owns them */
            const al_openssl *openssl;
            SSL *ssl;
            al_tls_bio *bio;
            PyObject *piece; /* the bytes object that is lent to the BIO */
        } openssl;
    } of;
    al_tls_records records;
    bool is_exact; /* the SSLObject is exactly an ssl.SSLObject */
    /* The last read was filled, so OpenSSL may have more decrypted bytes. */
    bool has_rest;
    bool has_begun; /* the peer has sent something */
};

/* --- binding -------------------------------------------------------------- */

/* Bind to an ssl.SSLObject that has not read anything yet, and to its two
 * MemoryBIOs: all bytes of the peer are still in `incoming`. 0, or -1 with an
 * exception set. Call al_tls_engine_clear() in both cases. */
AL_NODISCARD int
al_tls_engine_bind(al_tls_engine *self, al_state *state, PyObject *sslobject,
                   PyObject *incoming, PyObject *outgoing);

#ifdef AL_DEBUG
void
al_tls_engine_check(const al_tls_engine *self);
#endif

static inline bool
al_tls_engine_is_bound(const al_tls_engine *self)
{
    return self->state != NULL;
}

void
al_tls_engine_clear(al_tls_engine *self);

int
al_tls_engine_traverse(al_tls_engine *self, visitproc visit, void *arg);

/* --- ciphertext ----------------------------------------------------------- */

/* Give it bytes of the peer, which it copies. With `lend` it need not: then
 * call al_tls_engine_keep() before the memory changes. 0, or -1 with an
 * exception set. */
AL_NODISCARD int
al_tls_engine_feed(al_tls_engine *self, char *ciphertext, Py_ssize_t size,
                   bool lend);

/* Copy the lent bytes that were not read. 0, or -1 with MemoryError set, also
 * over another exception. */
AL_NODISCARD int
al_tls_engine_keep(al_tls_engine *self);

/* Take all ciphertext for the peer. -> new reference to bytes, may be empty;
 * or NULL with an exception set. */
AL_NODISCARD PyObject *
al_tls_engine_drain(al_tls_engine *self);

/* How many bytes of the peer were not decrypted yet, or -1 with an exception
 * set. */
AL_NODISCARD Py_ssize_t
al_tls_engine_incoming(al_tls_engine *self);

/* The same without the beginning of an incomplete record, which cannot be
 * decrypted yet. */
AL_NODISCARD Py_ssize_t
al_tls_engine_complete(al_tls_engine *self);

/* How many bytes for the peer wait here, besides those in the ssl module's
 * BIO. */
Py_ssize_t
al_tls_engine_outgoing(const al_tls_engine *self);

/* --- handshake ------------------------------------------------------------ */

/* Go on with the handshake: 1 if it is complete, 0 if it needs more bytes of
 * the peer; or -1 with an exception set. In all cases there may be ciphertext
 * to drain. */
AL_NODISCARD int
al_tls_engine_handshake(al_tls_engine *self);

/* --- plaintext ------------------------------------------------------------ */

/* How many bytes of room take all plaintext that can be read: 0 if there is
 * none; or -1 with an exception set. */
AL_NODISCARD Py_ssize_t
al_tls_engine_readable(al_tls_engine *self);

/* Decrypt as many records as there are and fit. -> the number of bytes; `size`
 * if there may be more. *is_closed: the peer's goodbye came after them. Or -1
 * with an exception set; bytes that were decrypted before it are dropped, as
 * in asyncio. */
AL_NODISCARD Py_ssize_t
al_tls_engine_read(al_tls_engine *self, char *buffer, Py_ssize_t size,
                   bool *is_closed);

/* Encrypt one or more records from the beginning of `data`. `object` is the
 * bytes-like object with exactly these bytes, or NULL. -> the number of bytes
 * taken; 0 if OpenSSL needs bytes of the peer first; or -1 with an exception
 * set. */
AL_NODISCARD Py_ssize_t
al_tls_engine_write(al_tls_engine *self, PyObject *object, char *data,
                    Py_ssize_t size);

/* --- for the two engines -------------------------------------------------- */

/* The rest of binding. 0, or -1 with an exception set. */
AL_NODISCARD int
al_tls_engine_ssl_bind(al_tls_engine *self, PyObject *incoming,
                       PyObject *outgoing);
/* 1; 0: the layout or the library is not as known; -1: no memory. */
AL_NODISCARD int
al_tls_engine_openssl_bind(al_tls_engine *self, PyObject *incoming,
                           PyObject *outgoing);

/* What the exception that is set means. -> AL_TLS_AGAIN: it is cleared;
 * AL_TLS_FAILED. */
AL_NODISCARD Py_ssize_t
al_tls_engine_failed(al_tls_engine *self);

/* The number that a method has returned (stolen). -> AL_TLS_AGAIN or
 * AL_TLS_FAILED if it has raised. */
AL_NODISCARD Py_ssize_t
al_tls_engine_number(al_tls_engine *self, PyObject *result);

#endif
