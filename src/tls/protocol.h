/* protocol.h - asyncio's SSLProtocol, with C where bytes flow. */
#ifndef AL_TLS_PROTOCOL_H
#define AL_TLS_PROTOCOL_H

#include "tls/engine.h"

/* Whose buffer get_buffer() gave last. */
typedef enum {
    AL_TLS_LENT_NOTHING,
    AL_TLS_LENT_SHARED, /* the one that all connections share */
    AL_TLS_LENT_OWN,    /* `buffer` */
} al_tls_lent;

typedef struct {
    PyObject_HEAD
    al_state *module_state; /* owned from tp_new to tp_dealloc */
    al_tls_engine engine;   /* bound when the first bytes of the peer come */
    /* Bytes objects, ciphertext that the transport below does not want now;
     * owned list, NULL <=> empty. */
    PyObject *held;
    Py_ssize_t held_size;
    /* What bytes are received into when the transport below is not our own;
     * owned bytearray, NULL until needed. */
    PyObject *buffer;
    al_tls_lent lent; /* where buffer_updated() finds what was received */
    /* asyncio's attributes, which its Python code reads and assigns. */
    PyObject *state;          /* _state */
    PyObject *sslobj;         /* _sslobj */
    PyObject *incoming;       /* _incoming */
    PyObject *outgoing;       /* _outgoing */
    PyObject *transport;      /* _transport, below */
    PyObject *app_protocol;   /* _app_protocol, the user's */
    PyObject *write_backlog;  /* _write_backlog, NULL: empty, not made */
    PyObject *outgoing_high;  /* _outgoing_high_water */
    PyObject *incoming_high;  /* _incoming_high_water */
    PyObject *server_side;    /* _server_side */
    Py_ssize_t backlog_size;  /* _write_buffer_size */
    char app_is_buffered;     /* _app_protocol_is_buffer */
    char app_reading_paused;  /* _app_reading_paused */
    char app_writing_paused;  /* _app_writing_paused */
    char down_reading_paused; /* _ssl_reading_paused */
    char down_writing_paused; /* _ssl_writing_paused */
} SSLProtocolObject;

#define SSLProtocolObject_CAST(op) ((SSLProtocolObject *)(op))

/* --- protocol.c --------------------------------------------------------- */

static inline al_state *
al_tls_state(SSLProtocolObject *self)
{
    return self->module_state;
}

/* self.name(): 0, or -1 with an exception set. */
AL_NODISCARD int
al_tls_call(SSLProtocolObject *self, PyObject *name);

/* asyncio's backlog of plaintext. -> borrowed deque, or NULL. */
AL_NODISCARD PyObject *
al_tls_backlog(SSLProtocolObject *self);

/* Whether there is plaintext in it, or what asyncio takes for some. */
bool
al_tls_has_backlog(SSLProtocolObject *self);

/* Set RuntimeError and return -1 if SSLProtocol.__init__() was not called, or
 * somebody has deleted what it set. */
AL_NODISCARD int
al_tls_check_init(SSLProtocolObject *self);

/* Learn the methods that bytes flow through, the first time. 0, or -1 with an
 * exception set. */
AL_NODISCARD int
al_tls_bind(SSLProtocolObject *self);

/* End the connection for the Exception now set, as an `except` clause does. 0,
 * or -1 with one that is more than an Exception set, or another. */
AL_NODISCARD int
al_tls_fatal_error(SSLProtocolObject *self);

/* Whether a limit lies above `size`, so that nothing is to be done about it:
 * false also where that takes asyncio's own comparison. */
bool
al_tls_is_below(Py_ssize_t size, PyObject *limit);

/* --- write.c ------------------------------------------------------------ */

/* Ciphertext and plaintext that waits outside of the BIO, as asyncio counts
 * it. */
static inline Py_ssize_t
al_tls_waiting(const SSLProtocolObject *self)
{
    return self->held_size + self->backlog_size;
}

/* Encrypt bytes-like objects and send them on. 0, or -1 with an exception to
 * be raised set. */
AL_NODISCARD int
al_tls_write(SSLProtocolObject *self, PyObject *const *items,
             Py_ssize_t count);

/* Send the ciphertext that there is: asyncio's _process_outgoing(). 0, or -1
 * with an exception set. */
AL_NODISCARD int
al_tls_flush(SSLProtocolObject *self);

/* --- read.c ------------------------------------------------------------- */

/* Hand the user what can be decrypted: asyncio's _do_read(). 0, or -1 with an
 * exception to be raised set. */
AL_NODISCARD int
al_tls_read(SSLProtocolObject *self);

/* --- types -------------------------------------------------------------- */

/* Create the types and store them in the module state. */
AL_NODISCARD int
al_tls_protocol_init_type(PyObject *module);
AL_NODISCARD int
al_tls_transport_init_type(PyObject *module);

#endif
