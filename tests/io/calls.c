/* calls.c - counts the system calls of waiting, lets some fail, and has a clock
 * that goes on by waiting alone.
 *
 * Preloaded (LD_PRELOAD) before a program, which reads and sets the variables
 * below by ctypes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* Looked up once: to look it up takes longer than some of the calls. */
#define REAL(name)                                                            \
    ({                                                                        \
        static __typeof__(&name) real;                                        \
        real ? real : (real = (__typeof__(&name))dlsym(RTLD_NEXT, #name));    \
    })

int waits;          /* for something to happen; not those that only look */
int settings;       /* of a timerfd */
int readings;       /* of a timerfd */
int refuse_timerfd; /* <> 0: there are none, for this errno */
int refuse_watch;   /* <> 0: the epoll set takes no timerfd, for this errno */
int refuse_add;     /* <> 0: no epoll set takes anything, for this errno */
int refuse_mod;     /* <> 0: nor changes what it watches something for */
int refuse_wait;    /* <> 0: no epoll_wait(), for this errno */
int refuse_set;     /* <> 0: no epoll set is made, for this errno */
int refuse_pipe2;   /* <> 0: no pipe is made by pipe2(), for this errno */
int refuse_fstat;   /* <> 0: no fstat(), for this errno */
int changes;        /* of epoll sets */

/* <> 0: what the monotonic clock says, in nanoseconds. It stands still but for
 * waits, which end soon and take it to what the timerfd is set to. */
int64_t standing_clock;
static int64_t set_to;

static int timer = -1; /* the last timerfd, but for libev's own of real time */

int
timerfd_create(int clock, int flags)
{
    if (refuse_timerfd) {
        errno = refuse_timerfd;
        return -1;
    }
    int fd = REAL(timerfd_create)(clock, flags);
    if (clock == CLOCK_MONOTONIC) {
        timer = fd;
    }
    return fd;
}

int
timerfd_settime(int fd, int flags, const struct itimerspec *value,
                struct itimerspec *old)
{
    struct itimerspec at_once = {.it_value = {.tv_nsec = 1}};

    settings += fd == timer;
    if (standing_clock && fd == timer) {
        set_to = value->it_value.tv_sec * INT64_C(1000000000) +
                 value->it_value.tv_nsec;
        value = &at_once;
    }
    return REAL(timerfd_settime)(fd, flags, value, old);
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
    if (!standing_clock || clock != CLOCK_MONOTONIC) {
        return REAL(clock_gettime)(clock, now);
    }
    now->tv_sec = standing_clock / 1000000000;
    now->tv_nsec = standing_clock % 1000000000;
    return 0;
}

/* A wait begins, unless it only looks. */
static void
count_wait(int is_wait)
{
    waits += is_wait;
    if (is_wait && standing_clock) {
        usleep(100); /* else a loop whose waits take no time looks first */
        standing_clock = set_to > standing_clock ? set_to : standing_clock;
    }
}

ssize_t
read(int fd, void *buffer, size_t size)
{
    readings += fd == timer;
    return REAL(read)(fd, buffer, size);
}

int
epoll_create1(int flags)
{
    if (refuse_set) {
        errno = refuse_set;
        return -1;
    }
    return REAL(epoll_create1)(flags);
}

int
pipe2(int ends[2], int flags)
{
    if (refuse_pipe2) {
        errno = refuse_pipe2;
        return -1;
    }
    return REAL(pipe2)(ends, flags);
}

int
fstat(int fd, struct stat *status)
{
    if (refuse_fstat) {
        errno = refuse_fstat;
        return -1;
    }
    return REAL(fstat)(fd, status);
}

int
epoll_ctl(int set, int what, int fd, struct epoll_event *event)
{
    int error = what == EPOLL_CTL_ADD   ? refuse_add
                : what == EPOLL_CTL_MOD ? refuse_mod
                                        : 0;

    changes++;
    if (refuse_watch && fd == timer) {
        error = refuse_watch;
    }
    if (error) {
        errno = error;
        return -1;
    }
    return REAL(epoll_ctl)(set, what, fd, event);
}

int
epoll_wait(int set, struct epoll_event *events, int count, int timeout)
{
    count_wait(timeout != 0);
    if (refuse_wait) {
        errno = refuse_wait;
        return -1;
    }
    return REAL(epoll_wait)(set, events, count, timeout);
}

int
select(int count, fd_set *reading, fd_set *writing, fd_set *urgent,
       struct timeval *timeout)
{
    count_wait(!timeout || timeout->tv_sec || timeout->tv_usec);
    return REAL(select)(count, reading, writing, urgent, timeout);
}
