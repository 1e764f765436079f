/* stream_reader.h - feeds an asyncio.StreamReader without its Python methods.
 *
 * One read from a socket uses it so: find the reader (net/protocol.c),
 * receive, feed the reader, clear. */
#ifndef AL_NET_STREAM_READER_H
#define AL_NET_STREAM_READER_H

#include "streams/reader.h"
#include "streams/stock.h"

typedef struct {
    PyObject *reader; /* owned */
    bool is_ours; /* an asyncloop.StreamReader: has `chunk`, else the rest */
    PyObject *chunk; /* owned bytes that data is received into, or NULL */
    /* Its attributes when it was found; owned. */
    PyObject *feed_data;
    PyObject *wakeup_waiter;
    PyObject *eof;
    PyObject *limit;
    PyObject *waiter; /* our Future, which is woken; or None */
    PyObject *buffer; /* bytearray */
    Py_ssize_t size;  /* of `buffer` when it was found */
} al_stream_reader;

/* Find the reader that data_received() of `protocol` would feed. `protocol` is
 * exactly a StreamReaderProtocol, `data_received` its bound method. 1: feed
 * the reader, with no call into Python before that. 0: call the method; there
 * is nothing to clear. -1 with an exception set. */
AL_NODISCARD int
al_stream_reader_find(al_stream_reader *self, al_state *state,
                      PyObject *protocol, PyObject *data_received);

void
al_stream_reader_clear(al_stream_reader *self);

/* Do what feed_data() does. 0, or -1 with an exception set. */
AL_NODISCARD int
al_stream_reader_feed(al_stream_reader *self, al_state *state,
                      const char *data, size_t size);

/* The same without a copy. First make room for `size` bytes: -> the address
 * for them, or NULL with an exception set. Then say how many bytes were
 * received, with no call into Python in between: 0, or -1 with an exception
 * set. */
AL_NODISCARD char *
al_stream_reader_grow(al_stream_reader *self, size_t size);
AL_NODISCARD int
al_stream_reader_fill(al_stream_reader *self, al_state *state, size_t size);

#endif
