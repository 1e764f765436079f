/* watch_epoll.c - a set of watches that is an epoll set.
 *
 *     al_fdwatch ---> epoll_ctl() ---> epoll set ---> epoll_wait() ---> ready queue
 *
 * Each change is one epoll_ctl() at once, so its caller gets the kernel's
 * error.  libev's epoll backend is not used: it tells the kernel at the next
 * poll, where nobody can raise an error.  After some errors it aborts the
 * process or tries again for ever.
 *
 * An event carries a tag: the watch's descriptor and the generation of its
 * registration.  If the program closes a descriptor of which a duplicate is
 * open (in a child process, for example), the kernel keeps the registration,
 * but no descriptor of ours names it.  Its events have an old generation, by
 * which we recognise them.  If the registration cannot be removed, the set is
 * made anew: otherwise each poll would find the event.
 *
 * A watch that shall watch nothing is parked: it stays registered without
 * events.  Most parked watches come back, and changing a registration costs
 * less than making one.  The kernel reports a hang-up of a parked descriptor,
 * but only once (EPOLLONESHOT).
 *
 * The set is also made anew in a child process, and after the program has
 * closed it (os.closerange()).
 *
 * Invariants
 *   (1) fd < 0 <=> there is no set.  The next poll makes one, or the next
 *       descriptor that is to be watched.
 *   (2) If there is a set, watch->events is registered.  is_parked => events
 *       is 0, but the watch is registered. */
#include "io/watch_set.h"

#include <errno.h>
#include <math.h>

#include "base/grow.h"
#include "io/fdwatch.h"
#include "io/reactor.h"
#include "sched/timers.h"

#if AL_HAS_EPOLL

#    include <sys/epoll.h>
#    include <unistd.h>

/* Places for the events of one poll: at first, and the fewest that a cut
 * leaves. A poll that fills all places doubles them. */
#    define EPOLLSET_ROOM 64
#    define EPOLLSET_LEAST 1024

/* The tag of a parked watch. */
#    define EPOLLSET_PARKED ((uint64_t)AL_SOURCES)

typedef struct {
    al_watch_set base;
    int fd;                         /* owned, by (1) */
    uint32_t generation;            /* of the last registration */
    al_source *sources[AL_SOURCES]; /* borrowed, NULL: none */
    struct epoll_event *found;      /* owned, `room` places */
    int room;
    bool is_stale; /* it has an old registration that cannot be removed */
} EpollSet;

#    define EpollSet_CAST(set) ((EpollSet *)(set))

/* --- epoll_ctl() ---------------------------------------------------------- */

/* 0, or an errno. */
static int
epollset_ctl(EpollSet *self, int what, int fd, int events, uint32_t generation,
             uint32_t number)
{
    struct epoll_event event = {.events = (events & EV_READ ? EPOLLIN : 0u) |
                                          (events & EV_WRITE ? EPOLLOUT : 0u),
                                .data.u64 =
                                    (uint64_t)generation << 32 | number};

    return epoll_ctl(self->fd, what, fd, &event) < 0 ? errno : 0;
}

/* The tag of a source: generation 0, and its place instead of a descriptor. */
static int
epollset_ctl_source(EpollSet *self, int what, const al_source *source)
{
    return epollset_ctl(self, what, source->fd, EV_READ, 0,
                        (uint32_t)source->place);
}

static int
epollset_ctl_watch(EpollSet *self, int what, const al_fdwatch *watch,
                   int events)
{
    return epollset_ctl(self, what, watch->fd, events, watch->generation,
                        (uint32_t)watch->fd);
}

/* Watch nothing. epoll reports a hang-up even if no event is asked for;
 * EPOLLONESHOT makes it report that only once. */
static void
epollset_park(EpollSet *self, al_fdwatch *watch)
{
    struct epoll_event event = {.events = EPOLLONESHOT,
                                .data.u64 = EPOLLSET_PARKED};

    watch->is_parked =
        epoll_ctl(self->fd, EPOLL_CTL_MOD, watch->fd, &event) == 0;
    if (!watch->is_parked) {
        (void)epollset_ctl_watch(self, EPOLL_CTL_DEL, watch, 0);
    }
    watch->events = 0;
}

/* Register a watch that is not registered. */
static int
epollset_register(EpollSet *self, al_fdwatch *watch, int events)
{
    self->generation += self->generation == UINT32_MAX ? 2 : 1;
    watch->generation = self->generation;
    int errnum = epollset_ctl_watch(self, EPOLL_CTL_ADD, watch, events);
    /* The program has closed the descriptor and got it back by dup2() from a
     * duplicate: the kernel still has the old registration. */
    if (errnum == EEXIST) {
        errnum = epollset_ctl_watch(self, EPOLL_CTL_MOD, watch, events);
        if (errnum == ENOENT) { /* another thread has closed the duplicate */
            errnum = epollset_ctl_watch(self, EPOLL_CTL_ADD, watch, events);
        }
    }
    if (errnum == 0) {
        watch->events = (uint8_t)events;
        watch->must_tell = watch->is_parked = false;
    }
    return errnum;
}

/* Change the events of a watch that is registered. */
static int
epollset_modify(EpollSet *self, al_fdwatch *watch, int events)
{
    int errnum = epollset_ctl_watch(self, EPOLL_CTL_MOD, watch, events);

    if (errnum == 0) {
        watch->events = (uint8_t)events;
        watch->must_tell = watch->is_parked = false;
    }
    else if (errnum == ENOENT || errnum == EBADF) { /* it was closed */
        /* ENOENT: the number names another file now. Register that file only
         * if the caller may mean it. */
        bool may_be_new = watch->must_tell || watch->is_parked;
        watch->events = 0;
        watch->is_parked = false;
        return errnum == ENOENT && may_be_new
                   ? epollset_register(self, watch, events)
                   : EBADF;
    }
    return errnum;
}

/* --- the set -------------------------------------------------------------- */

/* Whether the number still is our set. The program may have closed it, and the
 * number may name another file or another loop's set. Our set is recognised by
 * our wake-up, which is registered in it. */
static bool
epollset_is_ours(EpollSet *self)
{
    const al_source *wakeup = self->sources[AL_SOURCE_WAKEUP];

    /* Ask twice: a set of ours that is not recognised would never be
     * closed. */
    return wakeup == NULL ||
           epollset_ctl_source(self, EPOLL_CTL_MOD, wakeup) == 0 ||
           epollset_ctl_source(self, EPOLL_CTL_MOD, wakeup) == 0;
}

/* Close the set, which is ours. */
static void
epollset_discard(EpollSet *self)
{
    if (self->fd >= 0) {
        close(self->fd);
        self->fd = -1;
    }
}

/* Close the set if it is ours. */
static void
epollset_drop(EpollSet *self)
{
    if (self->fd >= 0 && !epollset_is_ours(self)) {
        self->fd = -1;
    }
    epollset_discard(self);
}

static int
epollset_make(EpollSet *self)
{
    self->fd = epoll_create1(EPOLL_CLOEXEC);
    if (self->fd < 0) {
        return errno;
    }
    self->is_stale = false;
    return 0;
}

/* Register all watches in a new set: 0, or an errno. */
static int
epollset_register_all(EpollSet *self)
{
    al_loop_head *loop = self->base.loop;
    al_fdwatch *watch = al_fdwatch_next(loop, 0);
    int errnum = 0;

    for (; watch != NULL && errnum == 0;
         watch = al_fdwatch_next(loop, watch->fd + 1))
    {
        int events = watch->events;
        watch->is_parked = false;
        if (events == 0) {
            continue;
        }
        errnum = epollset_register(self, watch, events);
        if (errnum == EBADF || errnum == EPERM) { /* it was closed */
            watch->events = 0;
            al_fdwatch_note_closed(watch);
            errnum = 0;
        }
    }
    return errnum;
}

/* Make a new set with all watches in it: 0, or an errno and no set. */
static int
epollset_renew(EpollSet *self)
{
    al_loop_head *loop = self->base.loop;

    epollset_drop(self);
    /* The next wait sets the alarm again. */
    al_alarm_close(&loop->reactor->alarm, &self->base);
    int errnum = epollset_make(self);
    if (errnum == 0) {
        errnum = al_wakeup_open(&loop->reactor->wakeup, &self->base);
        if (errnum == 0) {
            errnum = epollset_register_all(self);
        }
        if (errnum != 0) {
            /* Ours, though it may have no wake-up to recognise it by. */
            epollset_discard(self);
        }
    }
    al_loop_note_event(loop);
    /* We may be in another thread, while the loop waits in the old set. */
    al_reactor_wake_if_blocked(loop);
    return errnum;
}

#    ifdef AL_DEBUG

static void
epollset_check(const EpollSet *self, const al_fdwatch *watch)
{
    AL_HOLDS(2, !watch->is_parked || watch->events == 0);
    AL_HOLDS(2, self->fd < 0 || watch->generation != 0 ||
                    (watch->events == 0 && !watch->is_parked));
}

#    endif

/* --- watches and sources -------------------------------------------------- */

static int
epollset_try_change(EpollSet *self, al_fdwatch *watch, int events)
{
    if (self->fd < 0) {
        return EBADF;
    }
    return watch->events == 0 && !watch->is_parked
               ? epollset_register(self, watch, events)
               : epollset_modify(self, watch, events);
}

static int
epollset_change(al_watch_set *base, al_fdwatch *watch, int events)
{
    EpollSet *self = EpollSet_CAST(base);

    AL_CHECK(epollset_check, self, watch);
    if (events == 0) {
        if (watch->events != 0) {
            epollset_park(self, watch);
        }
        return 0;
    }
    int errnum = epollset_try_change(self, watch, events);
    if (AL_UNLIKELY(errnum == EBADF || errnum == EINVAL) &&
        (self->fd < 0 || !epollset_is_ours(self)))
    {
        errnum = epollset_renew(self);
        if (errnum == 0) {
            errnum = epollset_try_change(self, watch, events);
        }
    }
    return errnum;
}

static void
epollset_forget(al_watch_set *base, al_fdwatch *watch)
{
    EpollSet *self = EpollSet_CAST(base);

    AL_CHECK(epollset_check, self, watch);
    if (watch->events != 0 || watch->is_parked) {
        (void)epollset_ctl_watch(self, EPOLL_CTL_DEL, watch, 0);
    }
    watch->events = 0;
    watch->is_parked = false;
}

static int
epollset_add(al_watch_set *base, al_source *source)
{
    EpollSet *self = EpollSet_CAST(base);

    int errnum = epollset_ctl_source(self, EPOLL_CTL_ADD, source);
    if (errnum == 0) {
        self->sources[source->place] = source;
    }
    return errnum;
}

static void
epollset_remove(al_watch_set *base, al_source *source)
{
    EpollSet *self = EpollSet_CAST(base);

    if (self->fd >= 0) {
        (void)epollset_ctl_source(self, EPOLL_CTL_DEL, source);
    }
    self->sources[source->place] = NULL;
}

#    ifdef AL_DEBUG

static bool
epollset_watches(al_watch_set *base, const al_source *source)
{
    return EpollSet_CAST(base)->sources[source->place] == source;
}

#    endif

/* --- polls ---------------------------------------------------------------- */

/* The event's registration is old, or the set is another loop's that has the
 * number of ours. Remove the registration if the number may still name its
 * file: if no watch has registered the number since. */
static void
epollset_end(EpollSet *self, int fd, const al_fdwatch *watch)
{
    if ((watch != NULL && watch->events != 0) || !epollset_is_ours(self) ||
        epollset_ctl(self, EPOLL_CTL_DEL, fd, 0, 0, 0) != 0)
    {
        self->is_stale = true;
    }
}

static void
epollset_deliver(EpollSet *self, const struct epoll_event *event)
{
    uint32_t generation = (uint32_t)(event->data.u64 >> 32);
    uint32_t number = (uint32_t)event->data.u64;

    if (AL_UNLIKELY(event->data.u64 == EPOLLSET_PARKED)) {
        return;
    }
    if (generation == 0) {
        if (number < AL_SOURCES && self->sources[number] != NULL) {
            self->sources[number]->on_ready(self->sources[number], false);
        }
        else { /* another loop's set has the number of ours */
            self->is_stale = true;
        }
        return;
    }
    al_fdwatch *watch = al_fdwatch_find(self->base.loop, (int)number);
    if (AL_UNLIKELY(watch == NULL || watch->generation != generation ||
                    watch->events == 0))
    {
        epollset_end(self, (int)number, watch);
        return;
    }
    al_fdwatch_ready(
        watch,
        (event->events & (EPOLLIN | EPOLLERR | EPOLLHUP) ? EV_READ : 0) |
            (event->events & (EPOLLOUT | EPOLLERR | EPOLLHUP) ? EV_WRITE : 0));
}

/* Make `room` places for events, if there is memory. */
static void
epollset_resize(EpollSet *self, size_t room)
{
    struct epoll_event *found = self->found;

    if (room > INT_MAX) {
        return;
    }
    PyMem_Resize(found, struct epoll_event, room);
    if (found != NULL) {
        self->found = found;
        self->room = (int)room;
    }
}

/* Adapt the number of places after a poll that has found `count` events. */
static void
epollset_adapt(EpollSet *self, int count)
{
    size_t room = (size_t)self->room;
    size_t used = (size_t)count;

    if (AL_UNLIKELY(used == room)) {
        epollset_resize(self, al_grow_capacity(room, room + 1, room));
    }
    else if (al_grow_is_spare(room, used, EPOLLSET_LEAST)) {
        epollset_resize(self, al_grow_cut(room, used, EPOLLSET_LEAST));
    }
}

/* Wait `timeout` milliseconds at most; -1: for ever. Returns the number of
 * events, or minus an errno. */
static int
epollset_ask(EpollSet *self, int timeout)
{
    if (self->fd < 0) {
        return -EBADF;
    }
    int count = epoll_wait(self->fd, self->found, self->room, timeout);
    return count >= 0 ? count : errno == EINTR ? 0 : -errno;
}

/* The same without the GIL. */
static int
epollset_ask_nogil(EpollSet *self, int timeout)
{
    al_metrics *metrics = &self->base.loop->metrics;
    PyThreadState *tstate = PyEval_SaveThread();

    al_metrics_begin_wait(metrics);
    int count = epollset_ask(self, timeout);
    al_metrics_end_wait(metrics);
    PyEval_RestoreThread(tstate);
    return count;
}

/* Queue what was found: `count` events, or minus an errno. */
static int
epollset_take(EpollSet *self, int count)
{
    if (AL_UNLIKELY(count < 0)) {
        bool is_closed = count == -EBADF || count == -EINVAL;
        int errnum = is_closed ? epollset_renew(self) : 0;
        if (errnum != 0) {
            return errnum;
        }
        count = epollset_ask(self, 0); /* if that fails, too, the run ends */
    }
    if (AL_UNLIKELY(count < 0)) {
        return -count;
    }
    for (int i = 0; i < count; i++) {
        epollset_deliver(self, &self->found[i]);
    }
    epollset_adapt(self, count);
    return AL_UNLIKELY(self->is_stale) ? epollset_renew(self) : 0;
}

static int
epollset_look(al_watch_set *base)
{
    EpollSet *self = EpollSet_CAST(base);

    return epollset_take(self, epollset_ask(self, 0));
}

/* The timeout of a wait until `latest`, rounded up: it must not end
 * earlier. */
static int
epollset_timeout(double latest)
{
    if (latest == Py_HUGE_VAL) {
        return -1;
    }
    double ms = ceil((latest - al_timers_clock()) * 1e3);
    return ms <= 0 ? 0 : (int)Py_MIN(ms, INT_MAX);
}

static int
epollset_wait(al_watch_set *base, double latest)
{
    EpollSet *self = EpollSet_CAST(base);

    return epollset_take(self,
                         epollset_ask_nogil(self, epollset_timeout(latest)));
}

/* --- lifetime ------------------------------------------------------------- */

static void
epollset_forked(al_watch_set *base)
{
    /* Do not call epollset_drop(): the parent has the same set, and
     * epoll_ctl() would change it for the parent, too. */
    epollset_discard(EpollSet_CAST(base));
}

static void
epollset_close(al_watch_set *base)
{
    EpollSet *self = EpollSet_CAST(base);

    epollset_drop(self);
    PyMem_Free(self->found);
    PyMem_Free(self);
}

static const al_watch_kind epollset_kind = {
    .is_in_order = true,
    .change = epollset_change,
    .forget = epollset_forget,
    .add = epollset_add,
    .remove = epollset_remove,
    .look = epollset_look,
    .wait = epollset_wait,
    .forked = epollset_forked,
    .close = epollset_close,
#    ifdef AL_DEBUG
    .watches = epollset_watches,
#    endif
};

int
al_watch_epoll_new(al_loop_head *loop, al_watch_set **made)
{
    EpollSet *self = PyMem_New(EpollSet, 1);
    int errnum = ENOMEM;

    if (self == NULL) {
        return errnum;
    }
    *self = (EpollSet){.base = {.kind = &epollset_kind, .loop = loop},
                       .fd = -1,
                       .found = PyMem_New(struct epoll_event, EPOLLSET_ROOM),
                       .room = EPOLLSET_ROOM};
    if (self->found != NULL) {
        errnum = epollset_make(self);
    }
    if (errnum != 0) {
        PyMem_Free(self->found);
        PyMem_Free(self);
        return errnum;
    }
    *made = &self->base;
    return 0;
}

#else

int
al_watch_epoll_new(al_loop_head *Py_UNUSED(loop),
                   al_watch_set **Py_UNUSED(made))
{
    return ENOSYS;
}

#endif
