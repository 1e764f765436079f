/* chunks.h - outgoing bytes: a queue of bytes objects, read as an iovec. */
#ifndef AL_BASE_CHUNKS_H
#define AL_BASE_CHUNKS_H

#include "base/compat.h"

#include <sys/uio.h>

typedef struct {
    PyObject *bytes;  /* owned bytes object */
    const char *data; /* what of it is still to go, never empty */
    size_t size;
} al_chunk;

/* All zero is an empty queue. */
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
 * What is empty then is not queued. 0, or -1 with MemoryError set. */
AL_NODISCARD int
al_chunks_push(al_chunks *self, PyObject *object, size_t skip);

/* The same for a copy of `size` bytes at `data`. */
AL_NODISCARD int
al_chunks_push_copy(al_chunks *self, const void *data, size_t size);

/* Move everything from `other` to the end, which leaves `other` empty. 0, or
 * -1 with MemoryError set and nothing moved. */
AL_NODISCARD int
al_chunks_take(al_chunks *self, al_chunks *other);

/* Describe the first chunks, `max` of them at most, as an iovec, valid until
 * the queue changes. -> how many are described. */
int
al_chunks_iovec(const al_chunks *self, struct iovec *iov, int max);

/* Take `size` bytes off the front; there are as many. */
void
al_chunks_consume(al_chunks *self, size_t size);

/* Drop everything. */
void
al_chunks_clear(al_chunks *self);

#endif
