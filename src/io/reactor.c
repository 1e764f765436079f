/* reactor.c - what a loop waits with: a set of watches, a wake-up, an alarm.
 *
 *                  .--- al_watch_set: who waits for which descriptor
 *     one poll <---|--- al_wakeup:    other threads, signals
 *                  `--- al_alarm:     the first deadline
 *
 * The wait itself is libev's: of its select() backend for one descriptor, our
 * epoll set, or else of the backend that the loop was asked for.  The GIL is
 * released around a wait, by libev's own hooks.
 *
 * libev calls back for what the kernel refuses, and most of its loops that try
 * again until that callback does not return are never entered: those that make a
 * pipe (its own wake-up is not used) and an epoll set (nor is its epoll
 * backend). */
#include "io/reactor.h"

#include <errno.h>
#include <unistd.h>

#include "base/errors.h"

/* What libev could not do in this thread's poll: an errno, 0 <=> nothing. Its
 * callback for that is the process's and is told no loop. */
static _Thread_local int reactor_error;

static void
reactor_on_syserr(const char *Py_UNUSED(message))
{
    reactor_error = errno;
}

static void
reactor_on_release(struct ev_loop *ev) EV_NOEXCEPT
{
    al_loop_head *loop = al_loop_head_CAST(ev_userdata(ev));

    if (loop->is_blocked) {
        loop->reactor->tstate = PyEval_SaveThread();
    }
}

static void
reactor_on_acquire(struct ev_loop *ev) EV_NOEXCEPT
{
    al_reactor *self = al_loop_head_CAST(ev_userdata(ev))->reactor;

    if (self->tstate != NULL) {
        PyEval_RestoreThread(self->tstate);
        self->tstate = NULL;
    }
}

/* --- polls ---------------------------------------------------------------- */

/* The end of a poll that gave `errnum`: 0, or -1 with OSError set. */
static int
reactor_end_poll(int errnum)
{
    if (errnum == 0) {
        errnum = reactor_error;
    }
    reactor_error = 0;
    if (AL_LIKELY(errnum == 0)) {
        return 0;
    }
    al_error_set_errno(errnum);
    return -1;
}

int
al_reactor_look(al_loop_head *loop)
{
    al_watch_set *set = loop->reactor->set;

    al_fdwatch_settle(loop);
    return reactor_end_poll(set->kind->look(set));
}

int
al_reactor_wait(al_loop_head *loop)
{
    al_watch_set *set = loop->reactor->set;

    al_fdwatch_settle(loop);
    loop->is_blocked = true;
    int errnum = set->kind->wait(set);
    loop->is_blocked = false;
    return reactor_end_poll(errnum);
}

/* --- lifetime ------------------------------------------------------------- */

/* Whether the loop is to have an epoll set of its own. */
static bool
reactor_has_epoll(unsigned int backend)
{
#if defined(__linux__)
    return backend == 0 || backend == EVBACKEND_EPOLL;
#else
    (void)backend;
    return false;
#endif
}

/* Why libev has not made a loop: an errno, 0 <=> the backend is not to be had.
 * libev's own says nothing, it has cleared up since. */
static int
reactor_find_cause(unsigned int backend)
{
    int ends[2];

    if (backend == 0 || reactor_has_epoll(backend)) {
        return ENOMEM;
    }
    if (pipe(ends) < 0) { /* a backend takes two descriptors at most */
        return errno;
    }
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* 0, or -1 with an exception set. */
static int
reactor_make_ev(al_loop_head *loop, unsigned int backend)
{
    ev_set_syserr_cb(reactor_on_syserr);
    loop->ev =
        ev_loop_new(EVFLAG_NOENV |
                    (reactor_has_epoll(backend) ? EVBACKEND_SELECT : backend));
    if (loop->ev == NULL) {
        int errnum = reactor_find_cause(backend);
        if (errnum == 0) {
            PyErr_SetString(PyExc_ValueError,
                            "libev cannot use this backend here");
        }
        else {
            al_error_set_errno(errnum);
        }
        return -1;
    }
    ev_set_userdata(loop->ev, loop);
    ev_set_loop_release_cb(loop->ev, reactor_on_release, reactor_on_acquire);
    return 0;
}

int
al_reactor_open(al_loop_head *loop, unsigned int backend)
{
    al_reactor *self = PyMem_New(al_reactor, 1);

    if (self == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    *self = (al_reactor){.wakeup = {.source.fd = -1, .sender = -1}};
    if (reactor_make_ev(loop, backend) < 0) {
        PyMem_Free(self);
        return -1;
    }
    loop->reactor = self;
    al_alarm_init(loop);
    int errnum = reactor_has_epoll(backend)
                     ? al_watch_epoll_new(loop, &self->set)
                     : al_watch_libev_new(loop, &self->set);
    if (errnum == 0) {
        errnum = al_wakeup_open(loop);
    }
    if (errnum != 0) {
        al_reactor_close(loop);
        al_error_set_errno(errnum);
        return -1;
    }
    return 0;
}

void
al_reactor_close(al_loop_head *loop)
{
    al_reactor *self = loop->reactor;
    al_watch_set *set = self->set;

    if (set != NULL) {
        al_alarm_close(loop);
        set->kind->close(set);
        self->set = NULL;
    }
    al_wakeup_close(loop);
    ev_loop_destroy(loop->ev);
    loop->ev = NULL;
    loop->reactor = NULL;
    PyMem_Free(self);
}

void
al_reactor_forked(al_loop_head *loop)
{
    al_reactor *self = loop->reactor;

    /* A loop that waited was another thread's, and that is not here. */
    loop->is_blocked = false;
    self->tstate = NULL;
    self->set->kind->forked(self->set);
    al_alarm_close(loop);
    al_wakeup_forked(loop);
}
