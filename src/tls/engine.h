/* engine.h - ciphertext <-> plaintext; knows no transport. */
#ifndef AL_TLS_ENGINE_H
#define AL_TLS_ENGINE_H

#include "tls/records.h"

/* What a record may hold. */
#define AL_TLS_RECORD_MAX ((Py_ssize_t)16 * 1024)

/* All zero is no engine. */
typedef struct {
    al_state *state;    /* borrowed, NULL <=> not bound; the rest is owned */
    PyObject *incoming; /* ssl.MemoryBIO: ciphertext of the peer */
    /* Bound methods, of the BIOs and of the SSLObject. */
    PyObject *feed;
    PyObject *drain;
    PyObject *read;
    PyObject *write;
    PyObject *do_handshake;
    bool is_plain; /* they are of an ssl.SSLObject, not of a subclass */
    al_tls_records records;
    /* OpenSSL may hold decrypted bytes: the last read was filled. */
    bool has_rest;
    bool has_begun; /* the peer has sent something */
} al_tls_engine;

/* Work with an ssl.SSLObject that has not read anything yet, and its two
 * MemoryBIOs: what the peer has sent so far is all in `incoming`. 0, or -1 with an exception set; al_tls_engine_clear() in
 * both cases. */
AL_NODISCARD int
al_tls_engine_bind(al_tls_engine *self, al_state *state, PyObject *sslobject,
                   PyObject *incoming, PyObject *outgoing);

static inline bool
al_tls_engine_is_bound(const al_tls_engine *self)
{
    return self->state != NULL;
}

void
al_tls_engine_clear(al_tls_engine *self);

int
al_tls_engine_traverse(al_tls_engine *self, visitproc visit, void *arg);

/* Take over bytes that came from the peer. 0, or -1 with an exception set. */
AL_NODISCARD int
al_tls_engine_feed(al_tls_engine *self, char *ciphertext, Py_ssize_t size);

/* Go on with the handshake: 1 when it is complete, 0 when that takes more from
 * the peer; or -1 with an exception set. In any case there may be something to
 * drain. */
AL_NODISCARD int
al_tls_engine_handshake(al_tls_engine *self);

/* Everything there is to be sent. -> new reference to bytes, may be empty;
 * or NULL with an exception set. */
AL_NODISCARD PyObject *
al_tls_engine_drain(al_tls_engine *self);

/* Ciphertext of the peer that was not decrypted yet, in bytes, or -1 with an
 * exception set. */
AL_NODISCARD Py_ssize_t
al_tls_engine_incoming(al_tls_engine *self);

/* The same without the beginning of a record that is not complete, which is
 * nothing that anybody could read. */
AL_NODISCARD Py_ssize_t
al_tls_engine_complete(al_tls_engine *self);

/* Room that takes all there is to read: 0 if nothing is known to be; or -1
 * with an exception set. */
AL_NODISCARD Py_ssize_t
al_tls_engine_readable(al_tls_engine *self);

/* Decrypt into memory, as many records as there are and fit. -> the number of
 * bytes, `size` if there may be more; *is_closed: the peer has said goodbye
 * behind them. Or -1 with an exception set; what was decrypted before it is
 * lost, as it is in asyncio. */
AL_NODISCARD Py_ssize_t
al_tls_engine_read(al_tls_engine *self, char *buffer, Py_ssize_t size,
                   bool *is_closed);

/* An object for al_tls_engine_write(), of memory that stays where it is until
 * then: what is there, or a record of it. -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_tls_engine_rest(al_tls_engine *self, char *data, Py_ssize_t size);

/* Encrypt the beginning of a bytes-like object, one record. -> the number of
 * bytes taken, 0 when nothing can be sent before the peer has said more; or -1
 * with an exception set. */
AL_NODISCARD Py_ssize_t
al_tls_engine_write(al_tls_engine *self, PyObject *data);

#endif
