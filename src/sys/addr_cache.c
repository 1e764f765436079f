/* addr_cache.c - a cache of Python tuples for the addresses of datagrams.
 *
 *     recvfrom ---> sockaddr --- slot of its hash ---> (host, port)
 *                                                          |
 *     sendto   <--- sockaddr --- the last one? ------------'
 *
 * Invariant
 *   (1) The slots own tuples of str and int: these refer to nothing that the
 *       garbage collector has to visit, and freeing one runs no code. So a
 *       slot changes in al_addr_cache_get() only. */
#include "sys/addr_cache.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define AL_ADDR_CACHE_SLOTS 32 /* a power of two */

typedef struct {
    PyObject *object; /* owned, NULL <=> empty */
    al_sockaddr address;
} al_addr_slot;

struct al_addr_cache {
    al_addr_slot *last; /* the slot of the last get(), NULL <=> none yet */
    al_addr_slot slots[AL_ADDR_CACHE_SLOTS];
};

static size_t
addr_cache_hash(const al_sockaddr *address)
{
    const unsigned char *bytes = (const unsigned char *)&address->any;
    uint32_t hash = 0;

    /* The size of an address is a multiple of 32 bits. */
    for (size_t i = 0; i + 4 <= address->size; i += 4) {
        uint32_t word;
        memcpy(&word, bytes + i, 4);
        hash = (hash ^ word) * UINT32_C(0x9E3779B1);
    }
    return hash >> 27; /* for 32 slots: the top bits are mixed best */
}

static bool
addr_cache_is(const al_addr_slot *slot, const al_sockaddr *address)
{
    return slot->object != NULL && slot->address.size == address->size &&
           memcmp(&slot->address.any, &address->any, address->size) == 0;
}

PyObject *
al_addr_cache_get(al_addr_cache **self, const al_sockaddr *address)
{
    int family = address->size == 0 ? AF_UNSPEC : address->any.sa.sa_family;

    if (AL_UNLIKELY(family != AF_INET && family != AF_INET6)) {
        return al_sockaddr_to_python(address);
    }
    if (AL_UNLIKELY(*self == NULL)) {
        *self = PyMem_Calloc(1, sizeof(al_addr_cache));
        if (*self == NULL) {
            return PyErr_NoMemory();
        }
    }
    al_addr_slot *slot = &(*self)->slots[addr_cache_hash(address)];
    if (AL_UNLIKELY(!addr_cache_is(slot, address))) {
        /* May collect garbage, and so run finalisers: change the slot
         * later. */
        PyObject *object = al_sockaddr_to_python(address);
        if (object == NULL) {
            return NULL;
        }
        memcpy(&slot->address, address,
               offsetof(al_sockaddr, any) + address->size);
        Py_XSETREF(slot->object, object);
    }
    (*self)->last = slot;
    return Py_NewRef(slot->object);
}

const al_sockaddr *
al_addr_cache_find(const al_addr_cache *self, PyObject *object)
{
    return self != NULL && self->last != NULL && self->last->object == object
               ? &self->last->address
               : NULL;
}

void
al_addr_cache_free(al_addr_cache *self)
{
    if (self == NULL) {
        return;
    }
    for (int i = 0; i < AL_ADDR_CACHE_SLOTS; i++) {
        Py_XDECREF(self->slots[i].object);
    }
    PyMem_Free(self);
}
