/* protocol.h - asyncio's SSLProtocol; the methods that move bytes are in C. */
#ifndef AL_TLS_PROTOCOL_H
#define AL_TLS_PROTOCOL_H

#include "tls/engine.h"

/* Which buffer get_buffer() has returned last. */
typedef enum {
    AL_TLS_BUFFER_NONE,
    AL_TLS_BUFFER_SHARED, /* the buffer that all transports share */
    AL_TLS_BUFFER_OWN,    /* `buffer` */
} al_tls_buffer;

typedef struct {
    PyObject_HEAD
    al_state *module_state; /* owned from tp_new to tp_dealloc */
    al_tls_engine engine;   /* bound when the first bytes of the peer come */
    /* Ciphertext, as bytes objects, that the transport below does not take
     * now; owned list, NULL <=> empty. */
    PyObject *unsent;
    Py_ssize_t unsent_size;
    /* The buffer to receive into if the transport below does not fill one at
     * once; owned bytearray, NULL until needed. */
    PyObject *buffer;
    al_tls_buffer last_buffer; /* buffer_updated() finds the bytes there */
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

#ifdef AL_DEBUG
/* Where a method begins; the second one is of write.c. */
void
al_tls_check(const SSLProtocolObject *self);
void
al_tls_check_unsent(const SSLProtocolObject *self);
#endif

/* self.name(): 0, or -1 with an exception set. */
AL_NODISCARD int
al_tls_call(SSLProtocolObject *self, PyObject *name);

/* asyncio's backlog of plaintext. -> borrowed deque, or NULL. */
AL_NODISCARD PyObject *
al_tls_backlog(SSLProtocolObject *self);

/* Whether the backlog is not empty, as asyncio tests it. */
bool
al_tls_has_backlog(SSLProtocolObject *self);

/* Set RuntimeError and return -1 if SSLProtocol.__init__() was not called, or
 * the program has deleted an attribute that it set. */
AL_NODISCARD int
al_tls_check_init(SSLProtocolObject *self);

/* Bind the engine to the SSLObject and its BIOs, the first time. 0, or -1 with
 * an exception set. */
AL_NODISCARD int
al_tls_bind(SSLProtocolObject *self);

/* End the connection because of the exception that is set, if an `except
 * Exception` clause would catch it. 0, or -1 with an exception set. */
AL_NODISCARD int
al_tls_fatal_error(SSLProtocolObject *self);

/* Whether `size` is below the limit, so that flow control has nothing to do.
 * Also false if the limit is no int: then asyncio has to compare. */
bool
al_tls_is_below(Py_ssize_t size, PyObject *limit);

/* --- write.c ------------------------------------------------------------ */

/* The bytes of ciphertext and plaintext that wait outside of the BIO, as
 * asyncio counts them. */
static inline Py_ssize_t
al_tls_waiting(const SSLProtocolObject *self)
{
    return self->unsent_size + self->backlog_size;
}

/* Encrypt bytes-like objects and send the ciphertext. 0, or -1 with an
 * exception set that the caller returns. */
AL_NODISCARD int
al_tls_write(SSLProtocolObject *self, PyObject *const *items,
             Py_ssize_t count);

/* Send all ciphertext: asyncio's _process_outgoing(). 0, or -1 with an
 * exception set. */
AL_NODISCARD int
al_tls_flush(SSLProtocolObject *self);

/* --- read.c ------------------------------------------------------------- */

/* Decrypt and call the user's protocol: asyncio's _do_read(). 0, or -1 with an
 * exception set that the caller returns. */
AL_NODISCARD int
al_tls_read(SSLProtocolObject *self);

/* --- types -------------------------------------------------------------- */

/* Create the types and store them in the module state. */
AL_NODISCARD int
al_tls_protocol_init_type(PyObject *module);
AL_NODISCARD int
al_tls_transport_init_type(PyObject *module);

#endif
