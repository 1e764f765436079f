/* nowait.h - system calls that must not wait with the GIL held. */
#ifndef AL_SYS_NOWAIT_H
#define AL_SYS_NOWAIT_H

#include "base/errors.h"
#include "sys/sock.h"

/* Read and write without waiting, even if the file is set to blocking: what
 * read(2) and write(2) return, or -errno. */
AL_NODISCARD ssize_t
al_nowait_read(int fd, void *data, size_t size);
AL_NODISCARD ssize_t
al_nowait_writev(int fd, struct iovec *iov, int count);

/* Whether a result of these two may mean that the file or the kernel does not
 * know RWF_NOWAIT. It may also be an error of the file: another call shows
 * it. */
static inline bool
al_nowait_is_refused(ssize_t n)
{
    return n == -EOPNOTSUPP || (n < 0 && al_errno_is_refusal((int)-n));
}

/* Whether another process or the program has set the file to blocking. */
bool
al_nowait_is_blocking(int fd);

/* read(2), write(2) and al_sock_accept() without the GIL, for a file that is
 * set to blocking: what they return, or -errno. Other threads run meanwhile,
 * so the caller keeps the memory alive and checks its state again afterwards.
 * They wait only if another process takes the data (or the room, or the
 * connection) between poll() and the call. */
AL_NODISCARD ssize_t
al_nowait_read_nogil(int fd, char *data, size_t size);
AL_NODISCARD ssize_t
al_nowait_write_nogil(int fd, const char *data, size_t size);
AL_NODISCARD int
al_nowait_accept_nogil(al_refusals *refused, int fd, al_sockaddr *peer);

/* Close a socket. If SO_LINGER is set, close() waits until the peer has got
 * all bytes: then release the GIL around it. */
void
al_nowait_close(int fd);

#endif
