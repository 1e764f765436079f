/* watch_set.h - tells the kernel what to watch: one interface of two kinds.
 *
 *     fdwatch.c, wakeup.c, alarm.c ---> al_watch_set ---> watch_epoll.c
 *                                                   \---> watch_libev.c
 *
 * On Linux a loop has an epoll set, and an error of the kernel is known at
 * once. If the program asks for another backend, on other systems, and if the
 * kernel refuses epoll, each descriptor is a watcher of libev, which tells the
 * kernel at the next poll.
 *
 * Functions that can fail return 0 or an errno. */
#ifndef AL_IO_WATCH_SET_H
#define AL_IO_WATCH_SET_H

#include "base/features.h"
#include "sched/loop_head.h"

struct al_fdwatch; /* io/fdwatch.h */

typedef struct al_watch_set al_watch_set;
typedef struct al_source al_source;

enum { AL_SOURCE_WAKEUP, AL_SOURCE_ALARM, AL_SOURCES };

/* A descriptor that the loop itself needs. */
struct al_source {
    al_watch_set *set; /* borrowed */
    ev_io io;          /* watch_libev.c */
    int fd;            /* owned by the alarm or the wake-up; -1: none */
    int place;         /* AL_SOURCE_... */
    /* The descriptor is readable; or `failed`: it is not watched any more. It
     * runs no user code. */
    void (*on_ready)(al_source *self, bool failed);
};

typedef struct {
    bool is_in_order; /* the final order of the entries in the queue is the
                       * order of the calls of al_fdwatch_ready() */
    /* Watch `events` (EV_READ | EV_WRITE, 0: nothing) of a watch. After an
     * error, `watch->events` says what is still watched. */
    int (*change)(al_watch_set *self, struct al_fdwatch *watch, int events);
    /* Watch nothing and end the registration: the descriptor will be closed,
     * or the watch freed. */
    void (*forget)(al_watch_set *self, struct al_fdwatch *watch);
    /* Start and stop watching a source. */
    int (*add)(al_watch_set *self, al_source *source);
    void (*remove)(al_watch_set *self, al_source *source);
    /* Queue the entries of the descriptors that are ready now. Or wait without
     * the GIL until one is ready, or until `latest` on the monotonic clock
     * (HUGE_VAL: for ever), then queue them. */
    int (*look)(al_watch_set *self);
    int (*wait)(al_watch_set *self, double latest);
    /* In a child process: close our copy of the parent's set. The next poll
     * makes a new one. */
    void (*forked)(al_watch_set *self);
    void (*close)(al_watch_set *self); /* frees it */
#ifdef AL_DEBUG
    bool (*watches)(al_watch_set *self, const al_source *source);
#endif
} al_watch_kind;

struct al_watch_set {
    const al_watch_kind *kind;
    al_loop_head *loop; /* borrowed: the loop owns us */
};

/* The best backend of libev, apart from epoll: select() where it is unlimited.
 * libev's epoll is not for Linux, because it aborts where the kernel refuses
 * what it asks for. Elsewhere libev chooses. */
#if AL_HAS_UNLIMITED_SELECT
#    define AL_WATCH_LIBEV_BEST EVBACKEND_SELECT
#elif AL_ON_LINUX
#    define AL_WATCH_LIBEV_BEST EVBACKEND_POLL
#else
#    define AL_WATCH_LIBEV_BEST 0
#endif

/* Make a set: 0, or an errno; ENOSYS: this system does not have it. `backend`
 * is an EVBACKEND_ flag, or AL_WATCH_LIBEV_BEST. */
int
al_watch_epoll_new(al_loop_head *loop, al_watch_set **made);
int
al_watch_libev_new(al_loop_head *loop, unsigned int backend,
                   al_watch_set **made);

#endif
