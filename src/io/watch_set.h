/* watch_set.h - how the kernel is told what to watch: two ways, one interface.
 *
 *     fdwatch.c, wakeup.c, alarm.c ---> al_watch_set ---> watch_epoll.c
 *                                                   \---> watch_libev.c
 *
 * On Linux a loop has an epoll set and hears at once what the kernel refuses.
 * With the other backends that it can be asked for, on other systems, and where
 * epoll is refused, the descriptors are watchers of libev's, which tells the
 * kernel at the next poll.
 *
 * What can fail returns an errno, 0 <=> done. */
#ifndef AL_IO_WATCH_SET_H
#define AL_IO_WATCH_SET_H

#include "sched/loop_head.h"

struct al_fdwatch; /* io/fdwatch.h */

typedef struct al_watch_set al_watch_set;
typedef struct al_source al_source;

enum { AL_SOURCE_WAKEUP, AL_SOURCE_ALARM, AL_SOURCES };

/* A descriptor of the loop's own. */
struct al_source {
    al_watch_set *set; /* borrowed */
    ev_io io;          /* watch_libev.c */
    int fd;            /* owned by whoever has the source; -1: there is none */
    int place;         /* AL_SOURCE_... */
    /* It is readable; or `failed`: it is not watched any more. No user code
     * runs in it. */
    void (*on_ready)(al_source *self, bool failed);
};

typedef struct {
    bool is_in_order; /* al_fdwatch_ready() is called in the order that the
                       * entries are queued in */
    /* Watch `events` (EV_READ | EV_WRITE, 0: nothing) of a watch. After an
     * error `watch->events` says what is watched all the same. */
    int (*change)(al_watch_set *self, struct al_fdwatch *watch, int events);
    /* Watch nothing, and leave nothing behind: the descriptor is about to be
     * closed, or the watch to be freed. */
    void (*forget)(al_watch_set *self, struct al_fdwatch *watch);
    /* Begin and cease to watch a source. */
    int (*add)(al_watch_set *self, al_source *source);
    void (*remove)(al_watch_set *self, al_source *source);
    /* Queue what is ready now; or wait without the GIL until something is, or
     * until `latest` on the monotonic clock (HUGE_VAL: however long). */
    int (*look)(al_watch_set *self);
    int (*wait)(al_watch_set *self, double latest);
    /* In a child process: let go of what is the parent's, and have an own one
     * from the next poll on. */
    void (*forked)(al_watch_set *self);
    void (*close)(al_watch_set *self); /* frees it */
} al_watch_kind;

struct al_watch_set {
    const al_watch_kind *kind;
    al_loop_head *loop; /* borrowed: the loop owns us */
};

/* The best backend of libev's beside an epoll set: on Linux select(), which has
 * no limit of descriptors there and never aborts; else what libev finds. */
#if defined(__linux__)
#    define AL_WATCH_LIBEV_BEST EVBACKEND_SELECT
#else
#    define AL_WATCH_LIBEV_BEST 0
#endif

/* Make one: 0, or an errno: ENOSYS where there is no such thing. `backend` is an
 * EVBACKEND_ flag, or AL_WATCH_LIBEV_BEST. */
int
al_watch_epoll_new(al_loop_head *loop, al_watch_set **made);
int
al_watch_libev_new(al_loop_head *loop, unsigned int backend,
                   al_watch_set **made);

#endif
