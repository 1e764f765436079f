/* buffer.c - the bytes that a StreamReader was fed and that nobody has read.
 *
 *     chunk:  | already read | start ... end | free, if is_own |
 *
 * Mostly one message is fed and then read as a whole. So a bytes object that is
 * fed to an empty buffer becomes its chunk, and is what read() returns. More
 * bytes are copied to a larger chunk that only we know.
 *
 * Invariants
 *   (1) chunk == NULL  <=>  start == end: an empty buffer keeps no memory.
 *   (2) Only an own chunk is written to, and only after `end`. */
#include "streams/buffer.h"

#include <string.h>

void
al_stream_buffer_clear(al_stream_buffer *self)
{
    PyObject *chunk = self->chunk;

    *self = (al_stream_buffer){0};
    Py_XDECREF(chunk);
}

/* --- filling it -------------------------------------------------------------- */

/* Have room for `more` > 0 bytes after `end`. 0, or -1 with MemoryError set. */
static int
buffer_reserve(al_stream_buffer *self, Py_ssize_t more)
{
    Py_ssize_t size = al_stream_buffer_size(self);
    Py_ssize_t room = self->is_own ? PyBytes_GET_SIZE(self->chunk) : 0;

    if (room - self->end >= more) {
        return 0;
    }
    if (self->start >= size && room - size >= more) {
        char *data = PyBytes_AS_STRING(self->chunk);
        memcpy(data, data + self->start, (size_t)size);
        self->start = 0;
        self->end = size;
        return 0;
    }
    if (more > PY_SSIZE_T_MAX / 2 - size) {
        (void)PyErr_NoMemory();
        return -1;
    }
    PyObject *chunk =
        PyBytes_FromStringAndSize(NULL, size + Py_MAX(size, more));
    if (chunk == NULL) {
        return -1;
    }
    if (size > 0) {
        memcpy(PyBytes_AS_STRING(chunk), al_stream_buffer_data(self),
               (size_t)size);
    }
    al_stream_buffer_clear(self);
    *self = (al_stream_buffer){.chunk = chunk, .end = size, .is_own = true};
    return 0;
}

int
al_stream_buffer_append(al_stream_buffer *self, const char *data,
                        Py_ssize_t size)
{
    if (size == 0) {
        return 0;
    }
    if (self->chunk == NULL) {
        self->chunk = PyBytes_FromStringAndSize(data, size);
        self->end = self->chunk == NULL ? 0 : size;
        return self->chunk == NULL ? -1 : 0;
    }
    if (buffer_reserve(self, size) < 0) {
        return -1;
    }
    memcpy(PyBytes_AS_STRING(self->chunk) + self->end, data, (size_t)size);
    self->end += size;
    return 0;
}

int
al_stream_buffer_add(al_stream_buffer *self, PyObject *bytes)
{
    if (self->chunk != NULL || PyBytes_GET_SIZE(bytes) == 0) {
        return al_stream_buffer_append(self, PyBytes_AS_STRING(bytes),
                                       PyBytes_GET_SIZE(bytes));
    }
    self->chunk = Py_NewRef(bytes);
    self->end = PyBytes_GET_SIZE(bytes);
    return 0;
}

/* --- emptying it ------------------------------------------------------------- */

void
al_stream_buffer_drop(al_stream_buffer *self, Py_ssize_t size)
{
    self->start += size;
    if (self->start == self->end) {
        al_stream_buffer_clear(self); /* by (1) */
    }
}

/* Make the chunk what is returned, if it has all the bytes and not much more.
 * -> new reference, or NULL: with MemoryError set, or it is not so. */
static PyObject *
buffer_give(al_stream_buffer *self)
{
    Py_ssize_t end = self->end;

    if (self->start > 0) {
        return NULL;
    }
    Py_ssize_t room = PyBytes_GET_SIZE(self->chunk);
    if (end < room && (!self->is_own || end < room / 2)) {
        return NULL;
    }
    PyObject *chunk = self->chunk;
    *self = (al_stream_buffer){0};
    if (end < room) {
        (void)_PyBytes_Resize(&chunk, end); /* NULL with an exception set */
    }
    return chunk;
}

PyObject *
al_stream_buffer_take(al_stream_buffer *self, Py_ssize_t size)
{
    PyObject *result;

    if (self->chunk == NULL) {
        return PyBytes_FromStringAndSize(NULL, 0);
    }
    if (size >= al_stream_buffer_size(self)) {
        size = al_stream_buffer_size(self);
        result = buffer_give(self);
        if (result != NULL || self->chunk == NULL) {
            return result;
        }
    }
    result = PyBytes_FromStringAndSize(al_stream_buffer_data(self), size);
    if (result != NULL) {
        al_stream_buffer_drop(self, size);
    }
    return result;
}

Py_ssize_t
al_stream_buffer_find(const al_stream_buffer *self, PyObject *separator,
                      Py_ssize_t offset)
{
    if (self->chunk == NULL) {
        return -1;
    }
    const char *data = al_stream_buffer_data(self);
    size_t size = (size_t)(al_stream_buffer_size(self) - offset);
    const char *wanted = PyBytes_AS_STRING(separator);
    size_t length = (size_t)PyBytes_GET_SIZE(separator);
    const char *found = length == 1
                            ? memchr(data + offset, wanted[0], size)
                            : memmem(data + offset, size, wanted, length);

    return found == NULL ? -1 : found - data;
}
