/* chunks.h - a queue of bytes objects to send, read as an iovec. */
#ifndef AL_BASE_CHUNKS_H
#define AL_BASE_CHUNKS_H

#include "base/compat.h"

#include <sys/uio.h>

typedef struct {
    PyObject *bytes;  /* owned bytes object */
    const char *data; /* the bytes of it that are not sent yet */
    size_t size;      /* > 0 */
} al_chunk;

/* Zeroed: an empty queue. */
typedef struct {
    al_chunk *items; /* owned, NULL <=> capacity is 0 */
    size_t capacity;
    size_t head;  /* the first chunk is items[head] */
    size_t count; /* chunks */
    size_t size;  /* bytes in all of them */
} al_chunks;

#ifdef AL_DEBUG
void
al_chunks_check(const al_chunks *self);
#endif

/* Queue `object` (bytes) without its first `skip` bytes; takes a reference.
 * If no bytes are left, nothing is queued. 0, or -1 with MemoryError set. */
AL_NODISCARD int
al_chunks_push(al_chunks *self, PyObject *object, size_t skip);

/* The same for a copy of `size` bytes at `data`. */
AL_NODISCARD int
al_chunks_push_copy(al_chunks *self, const void *data, size_t size);

/* Move all chunks of `other` to the end. 0, or -1 with MemoryError set and
 * nothing moved. */
AL_NODISCARD int
al_chunks_take(al_chunks *self, al_chunks *other);

/* Fill an iovec with the first chunks, at most `max`. It is valid until the
 * queue changes. -> how many chunks. */
int
al_chunks_iovec(const al_chunks *self, struct iovec *iov, int max);

/* Remove the first `size` bytes; the queue has at least so many. */
void
al_chunks_consume(al_chunks *self, size_t size);

/* Drop all chunks. */
void
al_chunks_clear(al_chunks *self);

#endif
