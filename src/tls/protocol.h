/* protocol.h - asyncio's SSLProtocol, with C where bytes flow. */
#ifndef AL_TLS_PROTOCOL_H
#define AL_TLS_PROTOCOL_H

#include "tls/engine.h"

typedef struct {
    PyObject_HEAD
    al_tls_engine engine; /* bound when the first bytes of the peer come */
    /* Bytes objects, ciphertext that the transport below does not want now;
     * owned list, NULL <=> empty. */
    PyObject *held;
    Py_ssize_t held_size;
    /* What bytes are received into when the transport below is not our own;
     * owned bytearray, NULL until needed. */
    PyObject *buffer;
    unsigned depth; /* calls of the user's protocol that we are in */
    /* asyncio's attributes, which its Python code reads and assigns. */
    PyObject *state;          /* _state */
    PyObject *sslobj;         /* _sslobj */
    PyObject *incoming;       /* _incoming */
    PyObject *outgoing;       /* _outgoing */
    PyObject *transport;      /* _transport, below */
    PyObject *app_protocol;   /* _app_protocol, the user's */
    PyObject *write_backlog;  /* _write_backlog */
    PyObject *outgoing_high;  /* _outgoing_high_water */
    PyObject *incoming_high;  /* _incoming_high_water */
    Py_ssize_t backlog_size;  /* _write_buffer_size */
    char app_is_buffered;     /* _app_protocol_is_buffer */
    char app_reading_paused;  /* _app_reading_paused */
    char app_writing_paused;  /* _app_writing_paused */
    char down_reading_paused; /* _ssl_reading_paused */
    char down_writing_paused; /* _ssl_writing_paused */
} TLSProtocolObject;

#define TLSProtocolObject_CAST(op) ((TLSProtocolObject *)(op))

/* Encrypt the items of a list of bytes-like objects and send them on. 0, or -1
 * with an exception to be raised set. */
AL_NODISCARD int
al_tls_protocol_write(TLSProtocolObject *self, PyObject *const *items,
                      Py_ssize_t count);

/* Create the types and store them in the module state. */
AL_NODISCARD int
al_tls_protocol_init_type(PyObject *module);
AL_NODISCARD int
al_tls_transport_init_type(PyObject *module);

#endif
