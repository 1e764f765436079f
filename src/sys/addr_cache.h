/* addr_cache.h - the Python form of the addresses that datagrams come from.
 *
 * Datagrams come from the same few addresses again and again, and answers go
 * where the question came from: the tuple for an address is made once, and
 * recognised when it comes back as a destination. */
#ifndef AL_SYS_ADDR_CACHE_H
#define AL_SYS_ADDR_CACHE_H

#include "sys/sockaddr.h"

typedef struct al_addr_cache al_addr_cache; /* NULL is an empty one */

/* al_sockaddr_to_python() through the cache, which is made at the first use.
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_addr_cache_get(al_addr_cache **self, const al_sockaddr *address);

/* The address whose tuple al_addr_cache_get() gave last, if `object` is that
 * very tuple. -> borrowed until the next get(); NULL (no exception). */
const al_sockaddr *
al_addr_cache_find(const al_addr_cache *self, PyObject *object);

void
al_addr_cache_free(al_addr_cache *self);

#endif
