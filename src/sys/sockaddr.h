/* sockaddr.h - socket addresses: Python's form <-> the kernel's. */
#ifndef AL_SYS_SOCKADDR_H
#define AL_SYS_SOCKADDR_H

#include "base/compat.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

typedef struct {
    socklen_t size; /* bytes used of `any`; 0 <=> no address */
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } any;
} al_sockaddr;

/* The address as the socket module shows it: (host, port), (host, port,
 * flowinfo, scope id), a path (str), an abstract name (bytes), or None for no
 * address. -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_sockaddr_to_python(const al_sockaddr *self);

/* Whether al_sockaddr_to_python() shows the addresses of a family as the
 * socket module does. Those of other families become (family, bytes). */
static inline bool
al_sockaddr_knows(int family)
{
    return family == AF_INET || family == AF_INET6 || family == AF_UNIX;
}

/* A copy of the used bytes of the address, to be freed by PyMem_Free(); or
 * NULL with MemoryError set. */
AL_NODISCARD al_sockaddr *
al_sockaddr_copy(const al_sockaddr *self);

/* Fill the address from what a user passes to connect() or sendto() on a
 * socket of `family`. False (no exception): the socket module has to do it,
 * which resolves names, knows other families, and raises for an address that
 * is wrong. */
AL_NODISCARD bool
al_sockaddr_from_python(al_sockaddr *self, int family, PyObject *address);

#endif
