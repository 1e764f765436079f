/* reactor.c - what a loop waits with: a set of watches, a wake-up, an alarm.
 *
 *                  .--- al_watch_set: who waits for which descriptor
 *     one poll <---|--- al_wakeup:    other threads, signals
 *                  `--- al_alarm:     the first deadline
 *
 * On Linux the set is an epoll set.  It consists of libev's watchers if the
 * program asks for one of libev's backends, on other systems, and if the
 * kernel refuses epoll. */
#include "io/reactor.h"

#include "base/errors.h"

/* 0, or -1 with OSError set. */
static inline int
reactor_check(int errnum)
{
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

    return reactor_check(set->kind->look(set));
}

int
al_reactor_wait(al_loop_head *loop, double until)
{
    al_reactor *self = loop->reactor;
    al_watch_set *set = self->set;

    al_alarm_set(&self->alarm, set, until);
#if AL_FREE_THREADED
    if (!al_inbox_begin_wait(loop)) {
        return 0; /* the turn goes on with what is there */
    }
    int errnum = set->kind->wait(set, self->alarm.latest);
    al_inbox_end_wait(loop);
#else
    loop->is_blocked = loop->is_waiting = true;
    int errnum = set->kind->wait(set, self->alarm.latest);
    loop->is_blocked = loop->is_waiting = false;
#endif
    return reactor_check(errnum);
}

#if AL_FREE_THREADED

void
al_reactor_send_wakeup(al_loop_head *loop)
{
    al_wakeup_send(&loop->reactor->wakeup);
}

#endif

/* --- lifetime ------------------------------------------------------------- */

static void
reactor_close_set(al_loop_head *loop)
{
    al_reactor *self = loop->reactor;

    if (self->set != NULL) {
        al_alarm_close(&self->alarm, self->set);
        self->set->kind->close(self->set);
        self->set = NULL;
    }
    al_wakeup_close(&self->wakeup, NULL);
}

/* Make a set of one kind with the wake-up in it: 0, or an errno and
 * neither. */
static int
reactor_open_set(al_loop_head *loop, bool has_epoll, unsigned int backend)
{
    al_reactor *self = loop->reactor;

    int errnum = has_epoll ? al_watch_epoll_new(loop, &self->set)
                           : al_watch_libev_new(loop, backend, &self->set);
    if (errnum == 0) {
        errnum = al_wakeup_open(&self->wakeup, self->set);
    }
    if (errnum != 0) {
        reactor_close_set(loop);
    }
    return errnum;
}

/* 0, or an errno: ENOSYS if this system does not have the backend. */
static int
reactor_open_best_set(al_loop_head *loop, unsigned int backend)
{
    if (backend != 0 && backend != EVBACKEND_EPOLL) {
        return reactor_open_set(loop, false, backend);
    }
    int errnum = reactor_open_set(loop, true, 0);
    if (backend == 0 && al_errno_is_refusal(errnum)) {
        errnum = reactor_open_set(loop, false, AL_WATCH_LIBEV_BEST);
    }
    return errnum;
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
    loop->reactor = self;
    al_alarm_init(&self->alarm);
    int errnum = reactor_open_best_set(loop, backend);
    if (errnum == 0) {
        return 0;
    }
    loop->reactor = NULL;
    PyMem_Free(self);
    if (errnum == ENOSYS) {
        PyErr_SetString(PyExc_ValueError,
                        "this system does not have the backend");
    }
    else {
        al_error_set_errno(errnum);
    }
    return -1;
}

void
al_reactor_close(al_loop_head *loop)
{
    reactor_close_set(loop);
    PyMem_Free(loop->reactor);
    loop->reactor = NULL;
}

void
al_reactor_forked(al_loop_head *loop)
{
    al_reactor *self = loop->reactor;

    /* The thread that waited is not in the child. */
    loop->is_blocked = loop->is_waiting = false;
    self->set->kind->forked(self->set);
    al_alarm_close(&self->alarm, self->set);
    al_wakeup_forked(&self->wakeup, self->set);
}
