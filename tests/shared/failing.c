/* failing.c - lets system calls fail.
 *
 * Preloaded (LD_PRELOAD) before a program, which says by failing_begin() which
 * call is to fail, and how: failing.py.
 *
 * A call is counted, and may fail, if it is made by those who are asked for: by
 * asyncloop's shared object or libev's, or by all others, which are the
 * interpreter and its modules. The return address tells. Children do not count,
 * and other threads only if they are asked for. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#define CALLS(X)                                                              \
    X(socket) X(socketpair) X(connect) X(accept) X(accept4) X(bind) X(listen) \
    X(recv) X(recvfrom) X(recvmsg) X(recvmmsg) X(send) X(sendto) X(sendmsg)   \
    X(sendmmsg) X(read) X(write) X(readv) X(writev) X(preadv2)    \
    X(pwritev2) X(sendfile)                                                   \
    X(epoll_create) X(epoll_create1) X(epoll_ctl) X(epoll_wait) X(poll)       \
    X(eventfd) X(timerfd_create) X(timerfd_settime) X(pipe) X(pipe2)          \
    X(fcntl) X(ioctl) X(getsockopt) X(setsockopt) X(getsockname)              \
    X(getpeername) X(shutdown) X(close) X(fstat) X(dup) X(dup2) X(pidfd_open)

enum {
#define X(name) CALL_##name,
    CALLS(X)
#undef X
    CALLS_COUNT,
};

static const char *const names[] = {
#define X(name) #name,
    CALLS(X)
#undef X
};

enum { BY_US = 1, BY_OTHERS = 2, ANY_THREAD = 4 };

#define RANGES 64

static struct {
    volatile int is_on;
    uint64_t calls; /* a bit for each that fails; 0: they are counted only */
    int nth;  /* the first that fails, from 0 on */
    int times;
    int error;
    int whose;
    pid_t process;
    pthread_t thread;
} plan;

static int counts[CALLS_COUNT];
static int failures;
static struct { uintptr_t start, end; } ours[RANGES]; /* code */
static int ours_count;

/* --- who calls ----------------------------------------------------------- */

static int
note_object(struct dl_phdr_info *info, size_t size, void *data)
{
    const char *base = strrchr(info->dlpi_name, '/');

    (void)size;
    (void)data;
    base = base == NULL ? info->dlpi_name : base + 1;
    if (strncmp(base, "_core.", 6) != 0 && strncmp(base, "libev", 5) != 0) {
        return 0;
    }
    for (int i = 0; i < info->dlpi_phnum && ours_count < RANGES; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_LOAD && (header->p_flags & PF_X)) {
            uintptr_t start = info->dlpi_addr + header->p_vaddr;
            ours[ours_count].start = start;
            ours[ours_count].end = start + header->p_memsz;
            ours_count++;
        }
    }
    return 0;
}

static int
is_ours(uintptr_t address)
{
    for (int i = 0; i < ours_count; i++) {
        if (address >= ours[i].start && address < ours[i].end) {
            return 1;
        }
    }
    return 0;
}

/* Count a call; whether it is to fail, with errno set then. */
static int
fails(int call, void *caller)
{
    if (!plan.is_on || getpid() != plan.process ||
        (!(plan.whose & ANY_THREAD) &&
         !pthread_equal(pthread_self(), plan.thread)) ||
        !(plan.whose & (is_ours((uintptr_t)caller) ? BY_US : BY_OTHERS)))
    {
        return 0;
    }
    int n = counts[call]++;
    if (!(plan.calls >> call & 1) || n < plan.nth ||
        (plan.times >= 0 && n >= plan.nth + plan.times))
    {
        return 0;
    }
    failures++;
    errno = plan.error;
    return 1;
}

/* --- what the program calls ---------------------------------------------- */

int
failing_count(void)
{
    return CALLS_COUNT;
}

const char *
failing_name(int call)
{
    return names[call];
}

/* From now on, calls of the kinds that are set in `calls` fail, each from its
 * nth on, so many times (-1: for ever). */
void
failing_begin(uint64_t calls, int nth, int times, int error, int whose)
{
    plan.is_on = 0;
    ours_count = 0;
    dl_iterate_phdr(note_object, NULL);
    memset(counts, 0, sizeof counts);
    failures = 0;
    plan.calls = calls;
    plan.nth = nth;
    plan.times = times;
    plan.error = error;
    plan.whose = whose;
    plan.process = getpid();
    plan.thread = pthread_self();
    plan.is_on = 1;
}

/* How many have failed. */
int
failing_end(void)
{
    plan.is_on = 0;
    return failures;
}

int
failing_made(int call)
{
    return counts[call];
}

/* --- the calls ----------------------------------------------------------- */

#define CALLER __builtin_return_address(0)
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define CALL(result, name, parameters, arguments)                             \
    result name parameters                                                    \
    {                                                                         \
        static __typeof__(&name) real;                                        \
        if (fails(CALL_##name, CALLER)) {                                     \
            return -1;                                                        \
        }                                                                     \
        if (real == NULL) {                                                   \
            real = REAL(name);                                                \
        }                                                                     \
        return real arguments;                                                \
    }

CALL(int, socket, (int a, int b, int c), (a, b, c))
CALL(int, socketpair, (int a, int b, int c, int *d), (a, b, c, d))
CALL(int, connect, (int a, const struct sockaddr *b, socklen_t c), (a, b, c))
CALL(int, accept, (int a, struct sockaddr *b, socklen_t *c), (a, b, c))
CALL(int, accept4, (int a, struct sockaddr *b, socklen_t *c, int d),
     (a, b, c, d))
CALL(int, bind, (int a, const struct sockaddr *b, socklen_t c), (a, b, c))
CALL(int, listen, (int a, int b), (a, b))
CALL(ssize_t, recv, (int a, void *b, size_t c, int d), (a, b, c, d))
CALL(ssize_t, recvfrom,
     (int a, void *b, size_t c, int d, struct sockaddr *e, socklen_t *f),
     (a, b, c, d, e, f))
CALL(ssize_t, recvmsg, (int a, struct msghdr *b, int c), (a, b, c))
CALL(int, recvmmsg,
     (int a, struct mmsghdr *b, unsigned c, int d, struct timespec *e),
     (a, b, c, d, e))
CALL(ssize_t, send, (int a, const void *b, size_t c, int d), (a, b, c, d))
CALL(ssize_t, sendto,
     (int a, const void *b, size_t c, int d, const struct sockaddr *e,
      socklen_t f),
     (a, b, c, d, e, f))
CALL(ssize_t, sendmsg, (int a, const struct msghdr *b, int c), (a, b, c))
CALL(int, sendmmsg, (int a, struct mmsghdr *b, unsigned c, int d),
     (a, b, c, d))
CALL(ssize_t, read, (int a, void *b, size_t c), (a, b, c))
CALL(ssize_t, write, (int a, const void *b, size_t c), (a, b, c))
CALL(ssize_t, readv, (int a, const struct iovec *b, int c), (a, b, c))
CALL(ssize_t, writev, (int a, const struct iovec *b, int c), (a, b, c))
CALL(ssize_t, preadv2, (int a, const struct iovec *b, int c, off_t d, int e),
     (a, b, c, d, e))
CALL(ssize_t, pwritev2, (int a, const struct iovec *b, int c, off_t d, int e),
     (a, b, c, d, e))
CALL(ssize_t, sendfile, (int a, int b, off_t *c, size_t d), (a, b, c, d))
CALL(int, epoll_create, (int a), (a))
CALL(int, epoll_create1, (int a), (a))
CALL(int, epoll_ctl, (int a, int b, int c, struct epoll_event *d),
     (a, b, c, d))
CALL(int, epoll_wait, (int a, struct epoll_event *b, int c, int d),
     (a, b, c, d))
CALL(int, poll, (struct pollfd *a, nfds_t b, int c), (a, b, c))
CALL(int, eventfd, (unsigned a, int b), (a, b))
CALL(int, timerfd_create, (int a, int b), (a, b))
CALL(int, timerfd_settime,
     (int a, int b, const struct itimerspec *c, struct itimerspec *d),
     (a, b, c, d))
CALL(int, pipe, (int a[2]), (a))
CALL(int, pipe2, (int a[2], int b), (a, b))
CALL(int, getsockopt, (int a, int b, int c, void *d, socklen_t *e),
     (a, b, c, d, e))
CALL(int, setsockopt, (int a, int b, int c, const void *d, socklen_t e),
     (a, b, c, d, e))
CALL(int, getsockname, (int a, struct sockaddr *b, socklen_t *c), (a, b, c))
CALL(int, getpeername, (int a, struct sockaddr *b, socklen_t *c), (a, b, c))
CALL(int, shutdown, (int a, int b), (a, b))
CALL(int, fstat, (int a, struct stat *b), (a, b))
CALL(int, dup, (int a), (a))
CALL(int, dup2, (int a, int b), (a, b))

/* The descriptor is gone whatever close() says. */
int
close(int fd)
{
    int is_failing = fails(CALL_close, CALLER);
    int error = errno;
    int result = REAL(close)(fd);

    if (is_failing) {
        errno = error;
        result = -1;
    }
    return result;
}

static void *
next_argument(va_list list)
{
    void *argument = va_arg(list, void *);

    va_end(list);
    return argument;
}

/* To ask for the flags of a descriptor or a file that is open cannot fail. */
static int
fcntl_fails(int what, void *caller)
{
    return what != F_GETFD && what != F_GETFL && fails(CALL_fcntl, caller);
}

int
fcntl(int fd, int what, ...)
{
    va_list list;

    va_start(list, what);
    void *argument = next_argument(list);
    return fcntl_fails(what, CALLER) ? -1 : REAL(fcntl)(fd, what, argument);
}

int
fcntl64(int fd, int what, ...)
{
    va_list list;

    va_start(list, what);
    void *argument = next_argument(list);
    return fcntl_fails(what, CALLER) ? -1 : REAL(fcntl)(fd, what, argument);
}

int
ioctl(int fd, unsigned long what, ...)
{
    va_list list;

    va_start(list, what);
    void *argument = next_argument(list);
    return fails(CALL_ioctl, CALLER) ? -1 : REAL(ioctl)(fd, what, argument);
}

int
fstat64(int fd, struct stat64 *status)
{
    return fails(CALL_fstat, CALLER) ? -1 : REAL(fstat64)(fd, status);
}

ssize_t
preadv64v2(int fd, const struct iovec *iov, int count, off64_t where, int how)
{
    return fails(CALL_preadv2, CALLER)
               ? -1
               : REAL(preadv64v2)(fd, iov, count, where, how);
}

ssize_t
pwritev64v2(int fd, const struct iovec *iov, int count, off64_t where, int how)
{
    return fails(CALL_pwritev2, CALLER)
               ? -1
               : REAL(pwritev64v2)(fd, iov, count, where, how);
}

ssize_t
sendfile64(int out, int in, off64_t *offset, size_t count)
{
    return fails(CALL_sendfile, CALLER)
               ? -1
               : REAL(sendfile64)(out, in, offset, count);
}

/* The C library has no pidfd_open() of its own that the interpreter uses. */
long
syscall(long number, ...)
{
    va_list list;
    long a[6];

    va_start(list, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(list, long);
    }
    va_end(list);
    return number == SYS_pidfd_open && fails(CALL_pidfd_open, CALLER)
               ? -1
               : REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
