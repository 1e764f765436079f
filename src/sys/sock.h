/* sock.h - system calls on sockets that never block.
 *
 * All return >= 0, or -errno; none uses the Python API.  Some try a newer
 * system call first, and set a flag in `refused` if the kernel does not have
 * it. */
#ifndef AL_SYS_SOCK_H
#define AL_SYS_SOCK_H

#include "base/state.h"
#include "sys/sockaddr.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Whether a result means: try again when the descriptor is ready. These are
 * the errnos of BlockingIOError and InterruptedError. */
static inline bool
al_sock_is_again(ssize_t n)
{
    return n == -EAGAIN || n == -EWOULDBLOCK || n == -EINTR ||
           n == -EALREADY || n == -EINPROGRESS;
}

/* Accept one connection: returns its descriptor, non-blocking and
 * close-on-exec, and fills the address of the peer. */
AL_NODISCARD int
al_sock_accept(al_refusals *refused, int fd, al_sockaddr *peer);

/* Read up to `size` bytes; 0 is the end of the stream. */
AL_NODISCARD ssize_t
al_sock_recv(int fd, void *data, size_t size);

/* Write as many bytes as the kernel takes now. */
AL_NODISCARD ssize_t
al_sock_send(int fd, const void *data, size_t size);
AL_NODISCARD ssize_t
al_sock_sendv(int fd, struct iovec *iov, int count);

/* A datagram to send, or room for one to receive. */
typedef struct {
    void *data;
    size_t size; /* before a receive: bytes of room; after: its size */
    al_sockaddr *address; /* for a send on a connected socket: NULL */
} al_datagram;

/* Receive and send one datagram: its size. */
AL_NODISCARD ssize_t
al_sock_recvfrom(int fd, al_datagram *datagram);
AL_NODISCARD ssize_t
al_sock_sendto(int fd, const al_datagram *datagram);

/* Receive and send several datagrams, at most AL_SOCK_BATCH: returns how many
 * of them, counted from the first. */
#define AL_SOCK_BATCH 32

AL_NODISCARD int
al_sock_recv_batch(al_refusals *refused, int fd, al_datagram *datagrams,
                   int count);
AL_NODISCARD int
al_sock_send_batch(al_refusals *refused, int fd, const al_datagram *datagrams,
                   int count);

/* Tell the peer that no more bytes will come. */
AL_NODISCARD int
al_sock_shutdown_write(int fd);

/* Send small writes at once (no Nagle). Does nothing if the socket is not
 * TCP. */
void
al_sock_set_nodelay(int fd);

/* Fill the address of this end; that of the peer. */
AL_NODISCARD int
al_sock_name(int fd, al_sockaddr *name);
AL_NODISCARD int
al_sock_peer(int fd, al_sockaddr *peer);

/* Close the descriptor and ignore errors. */
void
al_sock_close(int fd);

#endif
