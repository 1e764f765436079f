/* protocol.h - calls the methods of the user's protocol.
 *
 * A transport gives the received bytes to its al_protocol and to nobody else.
 * So another layer, such as TLS, can stand between transport and user. */
#ifndef AL_NET_PROTOCOL_H
#define AL_NET_PROTOCOL_H

#include "net/stream_reader.h"

#include <stdbool.h>

/* What a layer of ours on top of a transport does in the place of get_buffer()
 * and buffer_updated(), which are a method call each. */
typedef struct al_receiver {
    PyCFunction buffer_updated; /* the method that take() stands for */
    /* Prepare for bytes. It may run anything. 0, or -1 with an exception set. */
    int (*expect)(PyObject *protocol);
    /* Handle the bytes, which are in the loop's buffer: they are copied or
     * used before anything runs that might change it. 0, or -1 with an
     * exception set. */
    int (*take)(PyObject *protocol, char *data, Py_ssize_t size);
} al_receiver;

/* Zeroed: no protocol. Its methods are looked up for each call, as in asyncio:
 * a protocol may replace its own methods. */
typedef struct {
    PyObject *object;            /* owned, NULL <=> none */
    PyObject *connection_made;   /* owned bound method; NULL: already called */
    bool is_buffered;            /* an asyncio.BufferedProtocol */
    bool is_stream;              /* al_streams_is_protocol() */
    const al_receiver *receiver; /* NULL: call its methods */
} al_protocol;

/* Make `object` the protocol. 0, or -1 with an exception set. */
AL_NODISCARD int
al_protocol_set(al_protocol *self, al_state *state, PyObject *object);

/* Look up connection_made(), which is called later. This fails for an object
 * that is not a protocol. 0, or -1 with an exception set. */
AL_NODISCARD int
al_protocol_expect(al_protocol *self, al_state *state);

void
al_protocol_clear(al_protocol *self);

int
al_protocol_traverse(al_protocol *self, visitproc visit, void *arg);

/* The calls. Each may run anything, and may replace or clear *self.
 * 0, or -1 with the exception of the method set. */
AL_NODISCARD int
al_protocol_connection_made(al_protocol *self, PyObject *transport);
/* connection_lost(), data_received(), pause_writing() or resume_writing(): the
 * method `name`. The latter two have no argument (NULL). */
AL_NODISCARD int
al_protocol_tell(al_protocol *self, PyObject *name, PyObject *argument);
/* For a protocol that is_stream: find the reader that may get the data without
 * a call of data_received(); returns what al_stream_reader_find() returns. */
AL_NODISCARD int
al_protocol_find_reader(al_protocol *self, al_state *state,
                        al_stream_reader *reader);
AL_NODISCARD int
al_protocol_datagram_received(al_protocol *self, al_state *state,
                              PyObject *data, PyObject *address);
/* `exc` is the OSError, borrowed. */
AL_NODISCARD int
al_protocol_error_received(al_protocol *self, al_state *state, PyObject *exc);
AL_NODISCARD int
al_protocol_buffer_updated(al_protocol *self, al_state *state, size_t size);

/* Whether the transport shall stay open, as eof_received() says: 1 / 0, or -1
 * with the exception of the method set. */
AL_NODISCARD int
al_protocol_eof_received(al_protocol *self, al_state *state);

/* Call get_buffer(-1). -> new reference to its result, or NULL with its
 * exception set. */
AL_NODISCARD PyObject *
al_protocol_get_buffer(al_protocol *self, al_state *state);

#endif
