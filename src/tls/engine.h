/* engine.h - encrypts and decrypts; knows no transport. */
#ifndef AL_TLS_ENGINE_H
#define AL_TLS_ENGINE_H

#include "base/call.h"
#include "tls/records.h"

/* The most plaintext in a record. */
#define AL_TLS_RECORD_MAX ((Py_ssize_t)16 * 1024)

/* Zeroed: not bound. */
typedef struct {
    al_state *state;    /* borrowed, NULL <=> not bound; the rest is owned */
    PyObject *incoming; /* ssl.MemoryBIO: ciphertext of the peer */
    /* Bound methods, of the BIOs and of the SSLObject. */
    PyObject *feed;
    PyObject *drain;
    PyObject *read;
    PyObject *write;
    PyObject *do_handshake;
    bool is_exact; /* the SSLObject is exactly an ssl.SSLObject */
    al_tls_records records;
    /* The last read was filled, so OpenSSL may have more decrypted bytes. */
    bool has_rest;
    bool has_begun; /* the peer has sent something */
} al_tls_engine;

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

/* Put bytes of the peer into the incoming BIO. 0, or -1 with an exception
 * set. */
AL_NODISCARD int
al_tls_engine_feed(al_tls_engine *self, char *ciphertext, Py_ssize_t size);

/* Go on with the handshake: 1 if it is complete, 0 if it needs more bytes of
 * the peer; or -1 with an exception set. In all cases there may be ciphertext
 * to drain. */
AL_NODISCARD int
al_tls_engine_handshake(al_tls_engine *self);

/* Take all ciphertext out of the outgoing BIO. -> new reference to bytes, may
 * be empty; or NULL with an exception set. */
AL_NODISCARD PyObject *
al_tls_engine_drain(al_tls_engine *self);

/* How many bytes of ciphertext the incoming BIO has, or -1 with an exception
 * set. */
AL_NODISCARD Py_ssize_t
al_tls_engine_incoming(al_tls_engine *self);

/* The same without the beginning of an incomplete record, which cannot be
 * decrypted yet. */
AL_NODISCARD Py_ssize_t
al_tls_engine_complete(al_tls_engine *self);

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

/* Make an argument for al_tls_engine_write() from memory, which must stay
 * valid until that call: all of the bytes, or one record of them. -> new
 * reference, or NULL. */
AL_NODISCARD PyObject *
al_tls_engine_rest(al_tls_engine *self, char *data, Py_ssize_t size);

/* Encrypt one record from the beginning of a bytes-like object. -> the number
 * of bytes taken; 0 if OpenSSL needs bytes of the peer first; or -1 with an
 * exception set. */
AL_NODISCARD Py_ssize_t
al_tls_engine_write(al_tls_engine *self, PyObject *data);

#endif
