/* protocol.h - the user's protocol, as a transport calls it.
 *
 * The seam for whatever stands between a transport and the user, such as TLS:
 * a transport hands bytes to its al_protocol and to nothing else. */
#ifndef AL_NET_PROTOCOL_H
#define AL_NET_PROTOCOL_H

#include "net/stream_reader.h"

#include <stdbool.h>

/* All zero is no protocol. Its methods are looked up for each call, as asyncio
 * does: a protocol may change its own. */
typedef struct {
    PyObject *object;          /* owned, NULL <=> none (any more) */
    PyObject *connection_made; /* owned; NULL: called already */
    bool is_buffered;          /* an asyncio.BufferedProtocol */
    bool is_stream;            /* exactly an asyncio.StreamReaderProtocol */
} al_protocol;

/* Talk to `object` from now on. 0, or -1 with an exception set. */
AL_NODISCARD int
al_protocol_set(al_protocol *self, al_state *state, PyObject *object);

/* Bind connection_made(), which is called later: what is no protocol at all
 * shows here. 0, or -1 with an exception set. */
AL_NODISCARD int
al_protocol_expect(al_protocol *self, al_state *state);

void
al_protocol_clear(al_protocol *self);

int
al_protocol_traverse(al_protocol *self, visitproc visit, void *arg);

/* The calls. Each may run anything, also replace or clear *self.
 * 0, or -1 with the exception of the method set. */
AL_NODISCARD int
al_protocol_connection_made(al_protocol *self, PyObject *transport);
/* `exc` is None for an orderly end. */
AL_NODISCARD int
al_protocol_connection_lost(al_protocol *self, al_state *state, PyObject *exc);
AL_NODISCARD int
al_protocol_data_received(al_protocol *self, al_state *state, PyObject *data);
/* Of one that is_stream: the reader that data may go to without the call, as
 * al_stream_reader_find() tells. */
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
AL_NODISCARD int
al_protocol_pause_writing(al_protocol *self, al_state *state);
AL_NODISCARD int
al_protocol_resume_writing(al_protocol *self, al_state *state);

/* Whether the protocol wants the transport to stay open: 1 / 0, or -1 with
 * the exception of the method set. */
AL_NODISCARD int
al_protocol_eof_received(al_protocol *self, al_state *state);

/* What get_buffer(-1) returned. -> new reference, or NULL with its exception
 * set. */
AL_NODISCARD PyObject *
al_protocol_get_buffer(al_protocol *self, al_state *state);

#endif
