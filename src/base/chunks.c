/* chunks.c - a queue of bytes objects to send, read as an iovec.
 *
 *     write(data) ---> | chunk | chunk | chunk | ---> sendmsg(iovec)
 *
 * A bytes object is queued by reference; what can change (bytearray,
 * memoryview) comes as a copy, as its owner may use it again at once.
 *
 * Invariants
 *   (1) The chunks are items[head + i] for 0 <= i < count, in a row, so that
 *       no iovec has to be cut in two.
 *   (2) size is the sum of their sizes; none is empty.
 */
#include "base/chunks.h"

#include "base/check.h"
#include "base/grow.h"

/* Places of a new queue; the fewest that a cut leaves (768 bytes). */
#define CHUNKS_FIRST 8
#define CHUNKS_LEAST 32

#ifdef AL_DEBUG

void
al_chunks_check(const al_chunks *self)
{
    size_t size = 0;

    AL_HOLDS(1, self->head + self->count <= self->capacity);
    for (size_t i = 0; i < self->count; i++) {
        const al_chunk *chunk = &self->items[self->head + i];
        AL_HOLDS(2, chunk->size > 0 && PyBytes_Check(chunk->bytes));
        size += chunk->size;
    }
    AL_HOLDS(2, self->size == size);
}

#endif

/* Make room for `n` more chunks: 0, or -1 with MemoryError set. */
static int
chunks_reserve(al_chunks *self, size_t n)
{
    if (self->head + self->count + n <= self->capacity) {
        return 0;
    }
    /* Move the chunks to the front only if that frees half of the places:
     * otherwise each push could move them again. */
    if (self->head > self->capacity / 2 && n <= self->head) {
        memmove(self->items, self->items + self->head,
                self->count * sizeof(al_chunk));
        self->head = 0;
        return 0;
    }
    size_t capacity = al_grow_capacity(
        self->capacity, self->head + self->count + n, CHUNKS_FIRST);
    al_chunk *items = self->items;
    PyMem_Resize(items, al_chunk, capacity);
    if (items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->items = items;
    self->capacity = capacity;
    return 0;
}

/* Make the queue shorter if it has far too many places. */
static void
chunks_cut(al_chunks *self)
{
    if (!al_grow_is_spare(self->capacity, self->count, CHUNKS_LEAST)) {
        return;
    }
    if (self->head > 0) {
        memmove(self->items, self->items + self->head,
                self->count * sizeof(al_chunk));
        self->head = 0;
    }
    size_t capacity = al_grow_cut(self->capacity, self->count, CHUNKS_LEAST);
    al_chunk *items = self->items;
    PyMem_Resize(items, al_chunk, capacity);
    if (items != NULL) { /* else there is no memory: it stays long */
        self->items = items;
        self->capacity = capacity;
    }
}

int
al_chunks_push(al_chunks *self, PyObject *object, size_t skip)
{
    size_t size = (size_t)PyBytes_GET_SIZE(object) - skip;

    assert(skip <= (size_t)PyBytes_GET_SIZE(object));
    if (size == 0) {
        return 0; /* by (2) */
    }
    if (chunks_reserve(self, 1) < 0) {
        return -1;
    }
    self->items[self->head + self->count] = (al_chunk){
        .bytes = Py_NewRef(object),
        .data = PyBytes_AS_STRING(object) + skip,
        .size = size,
    };
    self->count++;
    self->size += size;
    return 0;
}

int
al_chunks_push_copy(al_chunks *self, const void *data, size_t size)
{
    PyObject *copy = PyBytes_FromStringAndSize(data, (Py_ssize_t)size);
    if (copy == NULL) {
        return -1;
    }
    int rc = al_chunks_push(self, copy, 0);
    Py_DECREF(copy);
    return rc;
}

int
al_chunks_take(al_chunks *self, al_chunks *other)
{
    if (other->count == 0) {
        return 0;
    }
    if (self->count == 0) {
        al_chunk *items = self->items;
        *self = *other;
        PyMem_Free(items);
    }
    else {
        if (chunks_reserve(self, other->count) < 0) {
            return -1;
        }
        memcpy(self->items + self->head + self->count,
               other->items + other->head, other->count * sizeof(al_chunk));
        self->count += other->count;
        self->size += other->size;
        PyMem_Free(other->items);
    }
    *other = (al_chunks){0};
    return 0;
}

int
al_chunks_iovec(const al_chunks *self, struct iovec *iov, int max)
{
    int n = self->count < (size_t)max ? (int)self->count : max;

    for (int i = 0; i < n; i++) {
        const al_chunk *chunk = &self->items[self->head + (size_t)i];
        iov[i].iov_base = (void *)chunk->data;
        iov[i].iov_len = chunk->size;
    }
    return n;
}

void
al_chunks_consume(al_chunks *self, size_t size)
{
    assert(size <= self->size);
    while (size > 0 && self->count > 0) { /* they may be dropped meanwhile */
        al_chunk *first = &self->items[self->head];
        if (size < first->size) {
            first->data += size;
            first->size -= size;
            self->size -= size;
            break;
        }
        PyObject *bytes = first->bytes;
        size -= first->size;
        self->size -= first->size;
        self->count--;
        self->head = self->count == 0 ? 0 : self->head + 1;
        Py_DECREF(bytes); /* last: a subclass of bytes may run code */
    }
    chunks_cut(self);
}

void
al_chunks_clear(al_chunks *self)
{
    al_chunks old = *self;

    *self = (al_chunks){0};
    for (size_t i = 0; i < old.count; i++) {
        Py_DECREF(old.items[old.head + i].bytes);
    }
    PyMem_Free(old.items);
}
