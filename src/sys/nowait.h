/* nowait.h - system calls that must not wait with the GIL held. */
#ifndef AL_SYS_NOWAIT_H
#define AL_SYS_NOWAIT_H

#include "base/errors.h"
#include "sys/sock.h"

/* Read and write without waiting, whatever the file is set to: what read(2)
 * and write(2) return, or -errno. */
AL_NODISCARD ssize_t
al_nowait_read(int fd, void *data, size_t size);
AL_NODISCARD ssize_t
al_nowait_writev(int fd, struct iovec *iov, int count);

/* Whether a result of these two means that the file or the kernel knows no
 * such thing; or it is the file's own failure, which another call shows. */
static inline bool
al_nowait_is_refused(ssize_t n)
{
    return n == -EOPNOTSUPP || (n < 0 && al_errno_is_refusal((int)-n));
}

/* Whether somebody has set the file to blocking. */
bool
al_nowait_is_blocking(int fd);

/* read(2), write(2) and al_sock_accept() of such a file, with the GIL released:
 * what they return, or -errno. Other threads run meanwhile, so the memory has
 * to be held, and the caller looks at his state again. They wait only if
 * another process is faster. */
AL_NODISCARD ssize_t
al_nowait_read_apart(int fd, char *data, size_t size);
AL_NODISCARD ssize_t
al_nowait_write_apart(int fd, const char *data, size_t size);
AL_NODISCARD int
al_nowait_accept_apart(al_refusals *refused, int fd, al_sockaddr *peer);

/* Close a socket, with the GIL released if that waits: a socket that lingers
 * (SO_LINGER) waits until the other end has got all. */
void
al_nowait_close(int fd);

#endif
