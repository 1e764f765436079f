/* buffer.h - the bytes that a StreamReader was fed and that nobody has read. */
#ifndef AL_STREAMS_BUFFER_H
#define AL_STREAMS_BUFFER_H

#include "base/compat.h"

#include <stdbool.h>

/* The bytes from `start` to `end` of a bytes object. Zeroed: empty. */
typedef struct {
    PyObject *chunk; /* owned bytes; NULL <=> empty */
    Py_ssize_t start;
    Py_ssize_t end;
    bool is_own; /* nobody else knows `chunk`: we may write after `end` */
} al_stream_buffer;

static inline Py_ssize_t
al_stream_buffer_size(const al_stream_buffer *self)
{
    return self->end - self->start;
}

/* The address of the first byte, if there is one. */
static inline const char *
al_stream_buffer_data(const al_stream_buffer *self)
{
    return PyBytes_AS_STRING(self->chunk) + self->start;
}

void
al_stream_buffer_clear(al_stream_buffer *self);

/* Append a bytes object, borrowed, without a copy if the buffer is empty.
 * 0, or -1 with MemoryError set. */
AL_NODISCARD int
al_stream_buffer_add(al_stream_buffer *self, PyObject *bytes);

/* Append a copy. 0, or -1 with MemoryError set. */
AL_NODISCARD int
al_stream_buffer_append(al_stream_buffer *self, const char *data,
                        Py_ssize_t size);

/* Remove the first `size` bytes, or all if there are less.
 * -> new reference to bytes, or NULL with MemoryError set. */
AL_NODISCARD PyObject *
al_stream_buffer_take(al_stream_buffer *self, Py_ssize_t size);

/* Remove them. `size` is at most that of the buffer. */
void
al_stream_buffer_drop(al_stream_buffer *self, Py_ssize_t size);

/* Where the bytes object `separator` is, from `offset` on; -1 if it is not
 * there. The buffer has `offset` bytes at least, `separator` one. */
Py_ssize_t
al_stream_buffer_find(const al_stream_buffer *self, PyObject *separator,
                      Py_ssize_t offset);

#endif
