/* sock.h - system calls on sockets that never block.
 *
 * All return >= 0, or -errno; none touches Python. Some use a newer system call
 * where the kernel has it, and remember in `refused` where it has not. */
#ifndef AL_SYS_SOCK_H
#define AL_SYS_SOCK_H

#include "base/state.h"
#include "sys/sockaddr.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Whether a result means: not now, ask when the descriptor is ready. These are
 * the numbers of BlockingIOError and InterruptedError. */
static inline bool
al_sock_is_again(ssize_t n)
{
    return n == -EAGAIN || n == -EWOULDBLOCK || n == -EINTR ||
           n == -EALREADY || n == -EINPROGRESS;
}

/* Accept one connection: its descriptor, non-blocking and close-on-exec, and
 * the address of the other end. */
AL_NODISCARD int
al_sock_accept(al_refusals *refused, int fd, al_sockaddr *peer);

/* Read up to `size` bytes; 0 is the end of the stream. */
AL_NODISCARD ssize_t
al_sock_recv(int fd, void *data, size_t size);

/* Write what the kernel takes now. */
AL_NODISCARD ssize_t
al_sock_send(int fd, const void *data, size_t size);
AL_NODISCARD ssize_t
al_sock_sendv(int fd, struct iovec *iov, int count);

/* A datagram on its way in or out. */
typedef struct {
    void *data;
    size_t size;          /* to be received: the room for it, then its size */
    al_sockaddr *address; /* sent: NULL on a connected socket */
} al_datagram;

/* One datagram: its size. */
AL_NODISCARD ssize_t
al_sock_recvfrom(int fd, al_datagram *datagram);
AL_NODISCARD ssize_t
al_sock_sendto(int fd, const al_datagram *datagram);

/* Several of them, AL_SOCK_BATCH at most: how many were transferred, from the
 * first on. */
#define AL_SOCK_BATCH 32

AL_NODISCARD int
al_sock_recv_batch(al_refusals *refused, int fd, al_datagram *datagrams,
                   int count);
AL_NODISCARD int
al_sock_send_batch(al_refusals *refused, int fd, const al_datagram *datagrams,
                   int count);

/* Tell the other end that nothing more will come. */
AL_NODISCARD int
al_sock_shutdown_write(int fd);

/* Send small writes at once. What is not TCP does so anyway. */
void
al_sock_set_nodelay(int fd);

/* The address of this end, of the other end. */
AL_NODISCARD int
al_sock_name(int fd, al_sockaddr *name);
AL_NODISCARD int
al_sock_peer(int fd, al_sockaddr *peer);

/* Close the descriptor, whatever happens. */
void
al_sock_close(int fd);

#endif
