/* sock.c - system calls on sockets that never block.
 *
 * Every transfer sets MSG_DONTWAIT.  So even if another process has set the
 * socket to blocking, no call waits with the GIL held.  nowait.c has the calls
 * that have no such flag. */
#include "sys/sock.h"

#include "base/errors.h"
#include "base/features.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#ifdef MSG_NOSIGNAL
#    define AL_SOCK_SEND_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL)
#else
#    define AL_SOCK_SEND_FLAGS MSG_DONTWAIT
#endif

/* The result of a system call, or -errno. */
static inline ssize_t
sock_result(ssize_t n)
{
    return n < 0 ? -errno : n;
}

/* Whether a signal has interrupted a call that sends: make it again. (A call
 * that receives is not repeated: the next poll finds the socket ready
 * again.) */
static inline bool
sock_is_interrupted(ssize_t n)
{
    return AL_UNLIKELY(n < 0) && errno == EINTR;
}

/* Whether a result may mean that the kernel does not have the system call. It
 * may also be an error of the connection (a firewall, a path). Make an older
 * call to find out. */
static inline bool
sock_may_be_refused(ssize_t n)
{
    return n < 0 && al_errno_is_refusal((int)-n);
}

/* Whether the kernel does not have the newer call: the `older` call, made
 * right after it, has another result. */
static inline bool
sock_is_refused(ssize_t newer, ssize_t older)
{
    return older != newer && !al_sock_is_again(older);
}

/* --- accept -------------------------------------------------------------- */

/* Accept by accept(), which every kernel has. */
static int
sock_accept_plain(int fd, al_sockaddr *peer)
{
    peer->size = sizeof(peer->any);
    int conn = accept(fd, &peer->any.sa, &peer->size);
    if (conn < 0) {
        return -errno;
    }
    if (fcntl(conn, F_SETFD, FD_CLOEXEC) < 0 ||
        fcntl(conn, F_SETFL, O_NONBLOCK) < 0)
    {
        int errnum = errno;
        close(conn);
        return -errnum;
    }
    return conn;
}

#if AL_HAS_ACCEPT4

int
al_sock_accept(al_refusals *refused, int fd, al_sockaddr *peer)
{
    if (AL_UNLIKELY(refused->accept4)) {
        return sock_accept_plain(fd, peer);
    }
    peer->size = sizeof(peer->any);
    int conn = (int)sock_result(
        accept4(fd, &peer->any.sa, &peer->size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (AL_LIKELY(!sock_may_be_refused(conn))) {
        return conn;
    }
    int newer = conn;
    conn = sock_accept_plain(fd, peer);
    refused->accept4 = sock_is_refused(newer, conn);
    return conn;
}

#else

int
al_sock_accept(al_refusals *Py_UNUSED(refused), int fd, al_sockaddr *peer)
{
    return sock_accept_plain(fd, peer);
}

#endif

/* --- streams ------------------------------------------------------------- */

ssize_t
al_sock_recv(int fd, void *data, size_t size)
{
    return sock_result(recv(fd, data, size, MSG_DONTWAIT));
}

ssize_t
al_sock_send(int fd, const void *data, size_t size)
{
    ssize_t n;

    do {
        n = send(fd, data, size, AL_SOCK_SEND_FLAGS);
    } while (sock_is_interrupted(n));
    return sock_result(n);
}

ssize_t
al_sock_sendv(int fd, struct iovec *iov, int count)
{
    struct msghdr message = {.msg_iov = iov};

    if (count == 1) {
        return al_sock_send(fd, iov->iov_base, iov->iov_len);
    }
    message.msg_iovlen = (size_t)count;
    ssize_t n;
    do {
        n = sendmsg(fd, &message, AL_SOCK_SEND_FLAGS);
    } while (sock_is_interrupted(n));
    return sock_result(n);
}

/* --- datagrams ----------------------------------------------------------- */

ssize_t
al_sock_recvfrom(int fd, al_datagram *datagram)
{
    al_sockaddr *from = datagram->address;

    from->size = sizeof(from->any);
    return sock_result(recvfrom(fd, datagram->data, datagram->size,
                                MSG_DONTWAIT, &from->any.sa, &from->size));
}

ssize_t
al_sock_sendto(int fd, const al_datagram *datagram)
{
    const al_sockaddr *to = datagram->address;

    if (to == NULL) {
        return al_sock_send(fd, datagram->data, datagram->size);
    }
    ssize_t n;
    do {
        n = sendto(fd, datagram->data, datagram->size, AL_SOCK_SEND_FLAGS,
                   &to->any.sa, to->size);
    } while (sock_is_interrupted(n));
    return sock_result(n);
}

/* Receive one of several datagrams by recvfrom(), which every kernel has. */
static int
sock_recv_first(int fd, al_datagram *datagrams)
{
    ssize_t n = al_sock_recvfrom(fd, datagrams);
    if (n < 0) {
        return (int)n;
    }
    datagrams[0].size = (size_t)n;
    return 1;
}

static int
sock_send_first(int fd, const al_datagram *datagrams)
{
    ssize_t n = al_sock_sendto(fd, datagrams);
    return n < 0 ? (int)n : 1;
}

#if AL_HAS_RECVMMSG || AL_HAS_SENDMMSG

/* Fill the structs that tell the kernel of the datagrams. */
static void
sock_fill_batch(struct mmsghdr *messages, struct iovec *iov,
                const al_datagram *datagrams, int count)
{
    for (int i = 0; i < count; i++) {
        al_sockaddr *address = datagrams[i].address;
        struct msghdr *header = &messages[i].msg_hdr;

        iov[i] = (struct iovec){datagrams[i].data, datagrams[i].size};
        memset(header, 0, sizeof(*header));
        header->msg_iov = &iov[i];
        header->msg_iovlen = 1;
        if (address != NULL) {
            header->msg_name = &address->any;
            header->msg_namelen = address->size;
        }
    }
}

#endif

#if AL_HAS_RECVMMSG

int
al_sock_recv_batch(al_refusals *refused, int fd, al_datagram *datagrams,
                   int count)
{
    struct mmsghdr messages[AL_SOCK_BATCH];
    struct iovec iov[AL_SOCK_BATCH];

    if (AL_UNLIKELY(refused->recvmmsg)) {
        return sock_recv_first(fd, datagrams);
    }
    for (int i = 0; i < count; i++) {
        datagrams[i].address->size = sizeof(datagrams[i].address->any);
    }
    sock_fill_batch(messages, iov, datagrams, count);
    int n = (int)sock_result(
        recvmmsg(fd, messages, (unsigned)count, MSG_DONTWAIT, NULL));
    for (int i = 0; i < n; i++) {
        datagrams[i].size = messages[i].msg_len;
        datagrams[i].address->size = messages[i].msg_hdr.msg_namelen;
    }
    if (AL_UNLIKELY(sock_may_be_refused(n))) {
        int newer = n;
        n = sock_recv_first(fd, datagrams);
        refused->recvmmsg = sock_is_refused(newer, n);
    }
    return n;
}

#else

int
al_sock_recv_batch(al_refusals *Py_UNUSED(refused), int fd,
                   al_datagram *datagrams, int Py_UNUSED(count))
{
    return sock_recv_first(fd, datagrams);
}

#endif

#if AL_HAS_SENDMMSG

int
al_sock_send_batch(al_refusals *refused, int fd, const al_datagram *datagrams,
                   int count)
{
    struct mmsghdr messages[AL_SOCK_BATCH];
    struct iovec iov[AL_SOCK_BATCH];

    if (count == 1 || AL_UNLIKELY(refused->sendmmsg)) {
        return sock_send_first(fd, datagrams);
    }
    sock_fill_batch(messages, iov, datagrams, count);
    int n = (int)sock_result(
        sendmmsg(fd, messages, (unsigned)count, AL_SOCK_SEND_FLAGS));
    if (AL_UNLIKELY(sock_may_be_refused(n))) {
        int newer = n;
        n = sock_send_first(fd, datagrams);
        refused->sendmmsg = sock_is_refused(newer, n);
    }
    return n;
}

#else

int
al_sock_send_batch(al_refusals *Py_UNUSED(refused), int fd,
                   const al_datagram *datagrams, int Py_UNUSED(count))
{
    return sock_send_first(fd, datagrams);
}

#endif

/* --- the rest ------------------------------------------------------------ */

int
al_sock_shutdown_write(int fd)
{
    return (int)sock_result(shutdown(fd, SHUT_WR));
}

void
al_sock_set_nodelay(int fd)
{
    int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int
al_sock_name(int fd, al_sockaddr *name)
{
    name->size = sizeof(name->any);
    return (int)sock_result(getsockname(fd, &name->any.sa, &name->size));
}

int
al_sock_peer(int fd, al_sockaddr *peer)
{
    peer->size = sizeof(peer->any);
    return (int)sock_result(getpeername(fd, &peer->any.sa, &peer->size));
}

void
al_sock_close(int fd)
{
    /* Do not repeat this after EINTR: the descriptor is closed then, too, and
     * another thread may have opened a file with its number. */
    (void)close(fd);
}
