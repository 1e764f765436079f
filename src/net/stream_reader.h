/* stream_reader.h - an asyncio.StreamReader, fed without its Python methods.
 *
 * For whoever reads from a socket (net/protocol.c finds it), and for as long
 * as that takes: find the reader, receive, feed it, clear. */
#ifndef AL_NET_STREAM_READER_H
#define AL_NET_STREAM_READER_H

#include "base/state.h"

typedef struct {
    PyObject *reader; /* owned */
    /* What it had when it was looked at; owned. */
    PyObject *feed_data;
    PyObject *wakeup_waiter;
    PyObject *eof;
    PyObject *limit;
    PyObject *waiter; /* None, or our Future: to be woken */
    PyObject *buffer; /* bytearray */
    Py_ssize_t size;  /* of `buffer`, without what is being fed */
} al_stream_reader;

/* Find the reader of `protocol`, exactly a StreamReaderProtocol, that its
 * method `data_received` would feed.
 * 1: until it is fed nothing may call into Python. 0, and nothing to clear: it
 * takes the method. -1 with an exception set. */
AL_NODISCARD int
al_stream_reader_find(al_stream_reader *self, al_state *state,
                      PyObject *protocol, PyObject *data_received);

void
al_stream_reader_clear(al_stream_reader *self);

/* What feed_data() does. 0, or -1 with an exception set. */
AL_NODISCARD int
al_stream_reader_feed(al_stream_reader *self, al_state *state,
                      const char *data, size_t size);

/* The same without a copy. Make room for `size` bytes: -> where to put them,
 * or NULL with an exception set. Then say how many have come, with no call into
 * Python in between: 0, or -1 with an exception set. */
AL_NODISCARD char *
al_stream_reader_grow(al_stream_reader *self, size_t size);
AL_NODISCARD int
al_stream_reader_fill(al_stream_reader *self, al_state *state, size_t size);

#endif
