/* engine.h - ciphertext <-> plaintext; knows no transport. */
#ifndef AL_TLS_ENGINE_H
#define AL_TLS_ENGINE_H

#include "tls/records.h"

/* All zero is no engine. Everything is owned. */
typedef struct {
    PyObject *object;   /* ssl.SSLObject */
    PyObject *incoming; /* ssl.MemoryBIO: ciphertext of the peer */
    PyObject *outgoing; /* ssl.MemoryBIO: ciphertext for the peer */
    /* Bound methods, of the BIOs and of the SSLObject. */
    PyObject *feed;
    PyObject *drain;
    PyObject *read;
    PyObject *write;
    PyObject *do_handshake;
    PyObject *unwrap;
    PyObject *again; /* tuple of the exceptions that mean: not now */
    al_tls_records records;
    bool
        has_rest; /* OpenSSL may hold decrypted bytes: the last read was filled */
} al_tls_engine;

/* Make the SSLObject of `sslcontext`; `server_hostname` is a str or None.
 * 0, or -1 with an exception set; al_tls_engine_clear() in both cases. */
AL_NODISCARD int
al_tls_engine_init(al_tls_engine *self, PyObject *sslcontext, int server_side,
                   PyObject *server_hostname);

void
al_tls_engine_clear(al_tls_engine *self);

int
al_tls_engine_traverse(al_tls_engine *self, visitproc visit, void *arg);

/* Take over bytes that came from the peer. 0, or -1 with an exception set. */
AL_NODISCARD int
al_tls_engine_feed(al_tls_engine *self, PyObject *ciphertext);

/* Everything there is to be sent. -> new reference to bytes, may be empty;
 * or NULL with an exception set. */
AL_NODISCARD PyObject *
al_tls_engine_drain(al_tls_engine *self);

/* Bytes in the BIOs, or -1 with an exception set. */
AL_NODISCARD Py_ssize_t
al_tls_engine_incoming(al_tls_engine *self);
AL_NODISCARD Py_ssize_t
al_tls_engine_outgoing(al_tls_engine *self);

/* Go on with the handshake, or with saying goodbye: 1 when it is complete, 0
 * when that takes more from the peer; or -1 with an exception set. In any
 * case there may be something to drain. */
AL_NODISCARD int
al_tls_engine_handshake(al_tls_engine *self);
AL_NODISCARD int
al_tls_engine_shutdown(al_tls_engine *self);

/* Decrypt into memory, as many records as there are and fit. -> the number of
 * bytes, `size` if there may be more; *is_closed: the peer has said goodbye
 * behind them. Or -1 with an exception set; what was decrypted before it is
 * lost, as it is in asyncio. */
AL_NODISCARD Py_ssize_t
al_tls_engine_read(al_tls_engine *self, char *buffer, Py_ssize_t size,
                   bool *is_closed);

/* Encrypt a bytes-like object. -> the number of bytes taken, 0 when nothing
 * can be sent before the peer has said more; or -1 with an exception set. */
AL_NODISCARD Py_ssize_t
al_tls_engine_write(al_tls_engine *self, PyObject *data);

#endif
