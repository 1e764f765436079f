/* reader.h - the state of a StreamReader, and how it is fed. */
#ifndef AL_STREAMS_READER_H
#define AL_STREAMS_READER_H

#include "primitives/primitive.h"
#include "streams/buffer.h"

typedef struct {
    al_primitive head;      /* `waiters` is _waiter: a future, or NULL */
    al_stream_buffer bytes; /* empty while `buffer` is not NULL */
    PyObject *buffer;       /* owned: _buffer, if the program has asked for it
                             * or has set it, of any type; else NULL */
    PyObject *exception;    /* owned, NULL <=> None */
    PyObject *transport;    /* owned, NULL <=> None */
    PyObject *limit;        /* owned, NULL: not initialised */
    PyObject *source_traceback; /* owned, NULL <=> None */
    Py_ssize_t limit_size;      /* `limit` as a number, <= 0: it is unusual */
    bool eof;
    bool is_paused;
} StreamReaderObject;

#define StreamReaderObject_CAST(op) ((StreamReaderObject *)(op))

/* Whether C code may do what the methods do: none is overridden, and nothing
 * about the buffer and the limit is unusual. 1, 0; or -1 with an exception
 * set. */
AL_NODISCARD int
al_reader_is_usual(StreamReaderObject *self);

/* --- feeding: what feed_data() does ---------------------------------------- */

/* The functions take a reader that is usual and has not met its end. */

/* Feed a bytes object, borrowed. 0, or -1 with an exception set. */
AL_NODISCARD int
al_reader_feed(StreamReaderObject *self, PyObject *bytes);

/* Feed a copy of `size` > 0 bytes. 0, or -1 with an exception set. */
AL_NODISCARD int
al_reader_feed_copy(StreamReaderObject *self, const char *data,
                    Py_ssize_t size);

/* Wake the task that waits. 0, or -1 with an exception set. */
AL_NODISCARD int
al_reader_wake(StreamReaderObject *self);

/* --- reading ---------------------------------------------------------------- */

/* Let the transport read again. 0, or -1 with an exception set. */
AL_NODISCARD int
al_reader_resume(StreamReaderObject *self);

/* Do so if the transport is paused, and no more than the limit is left. */
AL_NODISCARD static inline int
al_reader_maybe_resume(StreamReaderObject *self)
{
    return AL_UNLIKELY(self->is_paused) &&
                   al_stream_buffer_size(&self->bytes) <= self->limit_size
               ? al_reader_resume(self)
               : 0;
}

/* What is in _buffer for a program to see: a bytearray, unless it has set
 * something else. -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_reader_get_buffer(StreamReaderObject *self);

#endif
