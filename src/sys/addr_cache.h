/* addr_cache.h - a cache of Python tuples for the addresses of datagrams.
 *
 * Datagrams come from the same few addresses again and again, so the tuple of
 * an address is made once.  A program often answers to the same tuple that it
 * got: then the address is not parsed again. */
#ifndef AL_SYS_ADDR_CACHE_H
#define AL_SYS_ADDR_CACHE_H

#include "sys/sockaddr.h"

typedef struct al_addr_cache al_addr_cache; /* NULL is an empty one */

/* al_sockaddr_to_python() with the cache, which is made at the first use.
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_addr_cache_get(al_addr_cache **self, const al_sockaddr *address);

/* The address of the last al_addr_cache_get(), if `object` is the tuple that
 * it returned. -> borrowed until the next get(); else NULL (no exception). */
const al_sockaddr *
al_addr_cache_find(const al_addr_cache *self, PyObject *object);

void
al_addr_cache_free(al_addr_cache *self);

#endif
