/* nowait.c - system calls that must not wait with the GIL held.
 *
 *     read, write ---> RWF_NOWAIT                    usually the only call
 *                        | refused: terminals, named pipes, older kernels
 *                        v
 *     accept4 -----> is the file blocking? -- no --> the call
 *                        | yes
 *                        v
 *                      release the GIL; poll; the call if it is ready
 *
 * Our descriptors are non-blocking.  But O_NONBLOCK belongs to the open file,
 * which several processes may share: standard output of the parent, a
 * listening socket.  Each of them may set it to blocking, as shells, ssh and
 * node do.  A call that then waits with the GIL held stops all threads,
 * perhaps the one that it waits for.
 *
 * Connected and datagram sockets do not need this file: MSG_DONTWAIT does for
 * them what RWF_NOWAIT does here.
 *
 * If another process sets the file to blocking between our question and our
 * call, that one call may wait. */
#include "sys/nowait.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef PIPE_BUF
#    define PIPE_BUF 512 /* the minimum in POSIX */
#endif

/* --- with the GIL -------------------------------------------------------- */

#if defined(RWF_NOWAIT)

ssize_t
al_nowait_read(int fd, void *data, size_t size)
{
    struct iovec iov = {data, size};

    ssize_t n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
    return n < 0 ? -errno : n;
}

ssize_t
al_nowait_writev(int fd, struct iovec *iov, int count)
{
    ssize_t n = pwritev2(fd, iov, count, -1, RWF_NOWAIT);
    return n < 0 ? -errno : n;
}

#else

ssize_t
al_nowait_read(int Py_UNUSED(fd), void *Py_UNUSED(data),
               size_t Py_UNUSED(size))
{
    return -ENOSYS;
}

ssize_t
al_nowait_writev(int Py_UNUSED(fd), struct iovec *Py_UNUSED(iov),
                 int Py_UNUSED(count))
{
    return -ENOSYS;
}

#endif

bool
al_nowait_is_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    /* If fcntl() fails, the caller's own call fails, too, and says why. */
    return flags >= 0 && !(flags & O_NONBLOCK);
}

/* --- without the GIL ----------------------------------------------------- */

/* Whether a call would return at once, be it with an error. */
static bool
nowait_is_ready(int fd, short event)
{
    struct pollfd look = {.fd = fd, .events = event};

    return poll(&look, 1, 0) > 0;
}

static ssize_t
nowait_try_read(int fd, char *data, size_t size)
{
    if (!nowait_is_ready(fd, POLLIN)) {
        return -EAGAIN;
    }
    ssize_t n = read(fd, data, size);
    return n < 0 ? -errno : n;
}

ssize_t
al_nowait_read_nogil(int fd, char *data, size_t size)
{
    ssize_t n;

    Py_BEGIN_ALLOW_THREADS;
    n = nowait_try_read(fd, data, size);
    Py_END_ALLOW_THREADS;
    return n;
}

/* Write pieces of PIPE_BUF: a pipe that is ready takes such a piece at
 * once. */
static ssize_t
nowait_try_write(int fd, const char *data, size_t size)
{
    size_t written = 0;

    while (written < size && nowait_is_ready(fd, POLLOUT)) {
        size_t left = size - written;
        size_t piece = left < PIPE_BUF ? left : PIPE_BUF;
        ssize_t n = write(fd, data + written, piece);
        if (n < 0) {
            return written > 0 ? (ssize_t)written : -errno;
        }
        written += (size_t)n;
        if ((size_t)n < piece) {
            break;
        }
    }
    return written > 0 ? (ssize_t)written : -EAGAIN;
}

ssize_t
al_nowait_write_nogil(int fd, const char *data, size_t size)
{
    ssize_t n;

    Py_BEGIN_ALLOW_THREADS;
    n = nowait_try_write(fd, data, size);
    Py_END_ALLOW_THREADS;
    return n;
}

int
al_nowait_accept_nogil(al_refusals *refused, int fd, al_sockaddr *peer)
{
    al_refusals known = *refused; /* a copy: the GIL guards the original */
    int conn = -EAGAIN;

    Py_BEGIN_ALLOW_THREADS;
    if (nowait_is_ready(fd, POLLIN)) {
        conn = al_sock_accept(&known, fd, peer);
    }
    Py_END_ALLOW_THREADS;
    return conn;
}

/* --- close ---------------------------------------------------------------- */

/* Whether close() may wait: SO_LINGER is set. */
static bool
nowait_lingers(int fd)
{
    struct linger linger = {0};
    socklen_t size = sizeof(linger);

    return getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 &&
           linger.l_onoff && linger.l_linger > 0;
}

void
al_nowait_close(int fd)
{
    if (AL_LIKELY(!nowait_lingers(fd))) {
        al_sock_close(fd);
        return;
    }
    Py_BEGIN_ALLOW_THREADS;
    al_sock_close(fd);
    Py_END_ALLOW_THREADS;
}
