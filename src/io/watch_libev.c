/* watch_libev.c - a set of watches that are watchers of libev.
 *
 *     al_fdwatch ---> ev_io ---> select(), poll(), kqueue() ... ---> ready queue
 *     until when ---> ev_timer ------^
 *
 * libev's hooks release the GIL around a wait.
 *
 * libev tells the kernel of changes at the next poll.  If a changed descriptor
 * was closed meanwhile, some of its backends abort the process (by an
 * assertion).  So before a poll we look at the watches that changed, and stop
 * those whose descriptors are closed.
 *
 * In a child process some backends make their descriptor anew, and repeat that
 * until it succeeds.  So the child checks first that there are descriptors
 * left.  libev's wake-up pipe and its epoll backend would repeat such calls,
 * too; we use neither. */
#include "io/watch_set.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compat.h"
#include "io/fdwatch.h"
#include "io/reactor.h"
#include "sched/ready.h"
#include "sched/timers.h"

/* The most descriptors that a backend of libev needs to start. */
#define LIBEV_DESCRIPTORS 4

/* The most seconds that libev sleeps by default. */
#define LIBEV_MINUTE 59.0

/* A time that is never reached: 95 years. */
#define LIBEV_NEVER 3e9

typedef struct {
    al_watch_set base;
    struct ev_loop *ev;    /* owned */
    bool may_wait;         /* a wait, not a look */
    PyThreadState *tstate; /* saved while libev waits, else NULL */
    al_list changed;       /* heads the watches' `changed` */
    ev_prepare prepare; /* active while there are changed watches; with poll(),
                         * which gets all descriptors each time, always */
    ev_fork fork; /* called when libev tells the kernel everything anew */
    ev_timer
        hurry; /* is due at once: the poll that starts it does not block */
    ev_timer timeout; /* active during a wait that has a timeout */
    al_source *sources[AL_SOURCES]; /* borrowed, NULL: none */
    bool is_forked;                 /* the next poll calls ev_loop_fork() */
    bool is_deaf; /* the wake-up was closed: the next poll makes a new one */
    bool is_patient; /* libev may sleep for more than LIBEV_MINUTE */
} LibevSet;

#define LibevSet_CAST(set) ((LibevSet *)(set))

static inline al_fdwatch *
libevset_from_changed(al_list *node)
{
    return (al_fdwatch *)((char *)node - offsetof(al_fdwatch, changed));
}

static bool
libevset_is_open(const al_fdwatch *watch)
{
    return fcntl(watch->fd, F_GETFD) >= 0;
}

/* --- what is ready -------------------------------------------------------- */

static void
libevset_on_ready(struct ev_loop *Py_UNUSED(ev), ev_io *io, int revents)
{
    al_fdwatch *watch = (al_fdwatch *)((char *)io - offsetof(al_fdwatch, io));

    if (AL_UNLIKELY(revents & EV_ERROR)) { /* libev has stopped it */
        watch->events = 0;
        if (watch->owner == NULL && !libevset_is_open(watch)) {
            return;
        }
    }
    if (revents & EV_WRITE) { /* queued second: libevset_on_pending() */
        al_fdwatch_ready(watch, EV_WRITE);
    }
    if (revents & EV_READ) {
        al_fdwatch_ready(watch, EV_READ);
    }
}

static inline al_entry *
libevset_entry(al_queue *ready, size_t i)
{
    return &ready->ring[(ready->head + i) & (ready->capacity - 1)];
}

/* libev calls back in the reverse of the kernel's order. asyncio runs
 * callbacks in the kernel's order, so reverse the entries that libev's
 * callbacks queue. */
static void
libevset_on_pending(struct ev_loop *ev)
{
    al_queue *ready = &al_loop_head_CAST(ev_userdata(ev))->ready;
    size_t first = ready->count;

    ev_invoke_pending(ev);
    for (size_t last = ready->count; first + 1 < last; first++) {
        al_entry *a = libevset_entry(ready, first);
        al_entry *b = libevset_entry(ready, --last);
        al_entry entry = *a;

        *a = *b;
        *b = entry;
    }
}

/* --- what is watched ------------------------------------------------------ */

/* Does nothing: the timer has ended the poll. */
static void
libevset_on_timer(struct ev_loop *Py_UNUSED(ev), ev_timer *Py_UNUSED(timer),
                  int Py_UNUSED(revents))
{
}

/* The program has closed the descriptor. Do not block in this poll: the
 * entries of a transport are queued. */
static void
libevset_drop(LibevSet *self, al_fdwatch *watch)
{
    ev_io_stop(self->ev, &watch->io);
    watch->events = 0;
    al_fdwatch_note_closed(watch);
    ev_timer_start(self->ev, &self->hurry);
}

static void
libevset_drop_source(LibevSet *self, al_source *source)
{
    ev_io_stop(self->ev, &source->io);
    ev_timer_start(self->ev, &self->hurry);
    self->is_deaf |= source->place == AL_SOURCE_WAKEUP;
    source->on_ready(source, true);
}

/* Stop every watch and source whose descriptor is closed. */
static void
libevset_check(LibevSet *self)
{
    for (int i = 0; i < AL_SOURCES; i++) {
        if (self->sources[i] != NULL &&
            fcntl(self->sources[i]->fd, F_GETFD) < 0)
        {
            libevset_drop_source(self, self->sources[i]);
        }
    }
    al_fdwatch *watch = al_fdwatch_next(self->base.loop, 0);

    for (; watch != NULL;
         watch = al_fdwatch_next(self->base.loop, watch->fd + 1))
    {
        if (watch->events != 0 && !libevset_is_open(watch)) {
            libevset_drop(self, watch);
        }
    }
}

/* libev calls this before it tells the kernel what has changed. */
static void
libevset_on_prepare(struct ev_loop *ev, ev_prepare *prepare,
                    int Py_UNUSED(revents))
{
    LibevSet *self = LibevSet_CAST(prepare->data);
    al_list *node;

    while ((node = self->changed.next) != &self->changed) {
        al_fdwatch *watch = libevset_from_changed(node);

        al_list_remove(node);
        if (watch->events != watch->polled && watch->events != 0 &&
            !libevset_is_open(watch))
        {
            libevset_drop(self, watch);
        }
        watch->polled = watch->events;
    }
    if (ev_backend(ev) == EVBACKEND_POLL) {
        libevset_check(self);
    }
    else {
        ev_prepare_stop(ev, prepare);
    }
}

/* libev calls this when it tells the kernel everything anew: in a child
 * process, or after an error. */
static void
libevset_on_fork(struct ev_loop *Py_UNUSED(ev), ev_fork *watcher,
                 int Py_UNUSED(revents))
{
    libevset_check(LibevSet_CAST(watcher->data));
}

/* Regular files and directories are always ready, and epoll refuses them.
 * Refuse them, too: 0, or the errno that epoll returns. If the system does not
 * tell what the file is, the poll shall find out. */
static int
libevset_check_pollable(int fd)
{
    struct stat status;

    if (fstat(fd, &status) < 0) {
        return errno == EBADF ? EBADF : 0;
    }
    return S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) ? EPERM : 0;
}

static int
libevset_change(al_watch_set *base, al_fdwatch *watch, int events)
{
    LibevSet *self = LibevSet_CAST(base);
    struct ev_loop *ev = self->ev;
    int errnum;

    if (events != 0 && watch->must_tell) {
        errnum = libevset_check_pollable(watch->fd);
        if (errnum != 0) {
            return errnum;
        }
    }
    if (watch->events != 0) {
        ev_io_stop(ev, &watch->io);
    }
    if (watch->must_tell) { /* a new watcher makes libev tell the kernel */
        ev_io_init(&watch->io, libevset_on_ready, watch->fd, events);
        watch->polled = 0;
    }
    else {
        ev_io_modify(&watch->io, events);
    }
    watch->events = (uint8_t)events;
    if (watch->events == 0) {
        al_list_remove(&watch->changed);
        watch->polled = 0;
        return 0;
    }
    watch->must_tell = false;
    ev_io_start(ev, &watch->io);
    if (!al_list_is_linked(&watch->changed)) {
        al_list_append(&self->changed, &watch->changed);
        ev_prepare_start(ev, &self->prepare);
    }
    /* We may be in another thread, while the loop waits without this watch. */
    al_reactor_wake_if_blocked(base->loop);
    return 0;
}

static void
libevset_forget(al_watch_set *base, al_fdwatch *watch)
{
    (void)libevset_change(base, watch, 0);
}

/* --- sources -------------------------------------------------------------- */

static void
libevset_on_source(struct ev_loop *Py_UNUSED(ev), ev_io *io, int revents)
{
    al_source *source = (al_source *)((char *)io - offsetof(al_source, io));

    if (revents & EV_ERROR) {
        libevset_drop_source(LibevSet_CAST(source->set), source);
    }
    else {
        source->on_ready(source, false);
    }
}

static int
libevset_add(al_watch_set *base, al_source *source)
{
    LibevSet *self = LibevSet_CAST(base);

    ev_io_stop(self->ev, &source->io); /* it may be active already */
    ev_io_init(&source->io, libevset_on_source, source->fd, EV_READ);
    ev_io_start(self->ev, &source->io);
    self->sources[source->place] = source;
    return 0;
}

static void
libevset_remove(al_watch_set *base, al_source *source)
{
    LibevSet *self = LibevSet_CAST(base);

    ev_io_stop(self->ev, &source->io);
    self->sources[source->place] = NULL;
}

#ifdef AL_DEBUG

static bool
libevset_watches(al_watch_set *base, const al_source *source)
{
    return LibevSet_CAST(base)->sources[source->place] == source &&
           ev_is_active(&source->io);
}

#endif

/* --- polls ---------------------------------------------------------------- */

/* The errno of libev's last failed system call in this thread's poll; 0: none.
 * libev reports it by one callback for the whole process, which is not told of
 * which loop. */
static _Thread_local int libev_error;

static void
libev_on_syserr(const char *Py_UNUSED(message))
{
    libev_error = errno;
}

static inline LibevSet *
libevset_of(struct ev_loop *ev)
{
    al_loop_head *loop = al_loop_head_CAST(ev_userdata(ev));

    return LibevSet_CAST(loop->reactor->set);
}

static void
libevset_on_release(struct ev_loop *ev) EV_NOEXCEPT
{
    LibevSet *self = libevset_of(ev);

    if (self->may_wait) {
        self->tstate = PyEval_SaveThread();
        al_metrics_begin_wait(&self->base.loop->metrics);
    }
}

static void
libevset_on_acquire(struct ev_loop *ev) EV_NOEXCEPT
{
    LibevSet *self = libevset_of(ev);

    if (self->tstate != NULL) {
        al_metrics_end_wait(&self->base.loop->metrics);
        PyEval_RestoreThread(self->tstate);
        self->tstate = NULL;
    }
}

/* libev wakes up once a minute to check whether somebody has set the clock.
 * Its periodic watchers need that; we have none. Starting one makes libev ask
 * the kernel to tell it instead, and then libev sleeps for as long as it
 * may. */
static void
libevset_be_patient(LibevSet *self)
{
#if EV_PERIODIC_ENABLE
    ev_periodic never;

    ev_periodic_init(&never, NULL, LIBEV_NEVER, 0., NULL);
    ev_periodic_start(self->ev, &never);
    ev_periodic_stop(self->ev, &never);
#endif
    self->is_patient = true;
}

/* Make the next wait end at `latest`. */
static void
libevset_start_timeout(LibevSet *self, double latest)
{
    double seconds = latest - al_timers_clock();

    if (seconds > LIBEV_MINUTE && !self->is_patient) {
        libevset_be_patient(self);
    }
    if (latest < Py_HUGE_VAL) {
        ev_now_update(self->ev); /* libev counts the seconds from its "now" */
        ev_timer_set(&self->timeout, Py_MAX(seconds, 0.), 0.);
        ev_timer_start(self->ev, &self->timeout);
    }
}

/* Whether there are enough descriptors for libev to start again: 0, or an
 * errno. `any` is an open descriptor that is duplicated for the test. */
static int
libevset_check_descriptors(int any)
{
    int taken[LIBEV_DESCRIPTORS];
    int count = 0;
    int errnum = 0;

    while (count < LIBEV_DESCRIPTORS && errnum == 0) {
        int fd = fcntl(any, F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
            errnum = errno;
        }
        else {
            taken[count++] = fd;
        }
    }
    while (count > 0) {
        close(taken[--count]);
    }
    return errnum;
}

/* Make a new wake-up, and in a child process libev's own state: 0, or an
 * errno. */
static int
libevset_renew(LibevSet *self)
{
    al_loop_head *loop = self->base.loop;

    int errnum = al_wakeup_open(&loop->reactor->wakeup, &self->base);
    if (errnum == 0 && self->is_forked) {
        errnum = libevset_check_descriptors(loop->reactor->wakeup.sender);
        if (errnum == 0) {
            self->is_forked = false;
            ev_loop_fork(self->ev);
        }
    }
    self->is_deaf = errnum != 0;
    return errnum;
}

static int
libevset_poll(LibevSet *self, int flags)
{
    int errnum = AL_UNLIKELY(self->is_forked || self->is_deaf)
                     ? libevset_renew(self)
                     : 0;

    if (errnum == 0) {
        libev_error = 0;
        ev_run(self->ev, flags);
        errnum = libev_error;
    }
    return errnum;
}

static int
libevset_look(al_watch_set *base)
{
    return libevset_poll(LibevSet_CAST(base), EVRUN_NOWAIT);
}

static int
libevset_wait(al_watch_set *base, double latest)
{
    LibevSet *self = LibevSet_CAST(base);

    libevset_start_timeout(self, latest);
    self->may_wait = true;
    int errnum = libevset_poll(self, EVRUN_ONCE);
    self->may_wait = false;
    ev_timer_stop(self->ev, &self->timeout);
    return errnum;
}

/* --- lifetime ------------------------------------------------------------- */

static void
libevset_forked(al_watch_set *base)
{
    LibevSet *self = LibevSet_CAST(base);

    self->is_forked = true;
    self->may_wait = false;
    self->tstate = NULL; /* the thread that waited is not in the child */
}

static void
libevset_close(al_watch_set *base)
{
    LibevSet *self = LibevSet_CAST(base);

    ev_loop_destroy(self->ev);
    PyMem_Free(self);
}

static const al_watch_kind libevset_kind = {
    .change = libevset_change,
    .forget = libevset_forget,
    .add = libevset_add,
    .remove = libevset_remove,
    .look = libevset_look,
    .wait = libevset_wait,
    .forked = libevset_forked,
    .close = libevset_close,
#ifdef AL_DEBUG
    .watches = libevset_watches,
#endif
};

/* Why ev_loop_new() has failed: an errno. `errno` itself is useless: libev has
 * made other calls since. */
static int
libev_find_cause(void)
{
    int ends[2];

    if (pipe(ends) < 0) { /* a backend needs two descriptors at most */
        return errno;
    }
    close(ends[0]);
    close(ends[1]);
    return ENOSYS;
}

int
al_watch_libev_new(al_loop_head *loop, unsigned int backend,
                   al_watch_set **made)
{
    LibevSet *self = PyMem_New(LibevSet, 1);

    if (self == NULL) {
        return ENOMEM;
    }
    *self = (LibevSet){.base = {.kind = &libevset_kind, .loop = loop}};
    ev_set_syserr_cb(libev_on_syserr);
    self->ev = ev_loop_new(EVFLAG_NOENV | backend);
    if (self->ev == NULL) {
        PyMem_Free(self);
        return libev_find_cause();
    }
    ev_set_userdata(self->ev, loop);
    ev_set_loop_release_cb(self->ev, libevset_on_release, libevset_on_acquire);
    ev_set_invoke_pending_cb(self->ev, libevset_on_pending);
    al_list_init(&self->changed);
    ev_prepare_init(&self->prepare, libevset_on_prepare);
    ev_fork_init(&self->fork, libevset_on_fork);
    ev_timer_init(&self->hurry, libevset_on_timer, 0., 0.);
    ev_timer_init(&self->timeout, libevset_on_timer, 0., 0.);
    self->prepare.data = self->fork.data = self;
    ev_fork_start(self->ev, &self->fork);
    if (ev_backend(self->ev) == EVBACKEND_POLL) {
        ev_prepare_start(self->ev, &self->prepare);
    }
    *made = &self->base;
    return 0;
}
