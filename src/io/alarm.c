/* alarm.c - ends a poll at a given time, to some microseconds.
 *
 *     al_alarm_set(when) ---> timerfd ---> (readable) ----------> poll ends
 *                       \---> the poll's timeout, 1 ms later ---> poll ends
 *
 * epoll counts its timeout in milliseconds, and the kernel may add 0.1 % of it
 * (its timer slack).  A timerfd has neither: it rings within the time that the
 * kernel takes to wake a thread.
 *
 * The poll has a timeout all the same.  It ends the poll where the timerfd does
 * not: a program may close descriptors that it does not know (closerange()).
 * Where the kernel has no timerfd for us, or does not watch it (ENOSPC, ENOMEM),
 * the timeout is all.
 *
 * The timerfd is set by one system call when the time changes, and by none
 * otherwise.  That call also takes back that it is readable, so it is not read.
 *
 * Most timeouts are cancelled.  A server that arms a timeout for each request
 * and cancels it would set the alarm to a later time with each request.  So
 * where that happens every few milliseconds, an alarm that is far away stays:
 * it may end one poll for nothing, after having saved many calls.
 *
 * Invariants
 *   (1) An alarm that has rung is not armed.
 *   (2) source.fd >= 0  =>  it is watched. */
#include "io/alarm.h"

#include <errno.h>
#include <math.h>
#include <unistd.h>

#include "io/cycles.h"
#include "sched/timers.h"

/* How long after the timerfd the poll ends by itself. */
#define ALARM_GRACE 0.001

/* An alarm that is so many seconds away is far. */
#define ALARM_FAR 0.1

/* An alarm that is far is moved to a later time once in so many
 * al_cycles_budget(): 4 to 12 ms. */
#define ALARM_MOVE_BUDGETS 200

/* Nobody waits a century; times beyond are those that the kernel refuses. */
#define ALARM_LATEST 3e9

/* --- timerfd --------------------------------------------------------------- */

#ifdef __linux__

#    include <sys/timerfd.h>

/* Somebody has closed the timerfd: the number may be another file's. */
static bool
alarm_is_ours(const al_alarm *self)
{
    struct itimerspec timer;

    return timerfd_gettime(self->source.fd, &timer) == 0;
}

static void
alarm_close_exactly(al_alarm *self, al_watch_set *set)
{
    if (self->source.fd < 0) {
        return;
    }
    set->kind->remove(set, &self->source); /* by (2) */
    if (alarm_is_ours(self)) {
        close(self->source.fd);
    }
    self->source.fd = -1;
}

static void
alarm_on_expiry(al_source *source, bool failed)
{
    al_alarm *self = (al_alarm *)((char *)source - offsetof(al_alarm, source));
    uint64_t count;

    self->armed = Py_HUGE_VAL; /* by (1) */
    if (failed) {
        self->is_refused = alarm_is_ours(self); /* else it was closed */
        alarm_close_exactly(self, source->set);
        return;
    }
    /* The next al_alarm_set() takes it back, usually at once. A second poll
     * that finds it readable means that the loop is busy and does not wait. */
    if (!self->is_rung) {
        self->is_rung = true;
        al_loop_note_event(source->set->loop);
    }
    else if (read(self->source.fd, &count, sizeof count) > 0) {
        self->is_rung = false;
    }
}

static bool
alarm_open(al_alarm *self, al_watch_set *set)
{
    if (self->source.fd >= 0 || self->is_refused) {
        return !self->is_refused;
    }
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0) {
        self->is_refused = errno != EMFILE && errno != ENFILE;
        return false;
    }
    self->source = (al_source){.set = set,
                               .fd = fd,
                               .place = AL_SOURCE_ALARM,
                               .on_ready = alarm_on_expiry};
    if (set->kind->add(set, &self->source) != 0) {
        self->source.fd = -1; /* by (2) */
        close(fd);
        return false;
    }
    return true;
}

/* Have the timerfd ring at `when`. False if there is none. */
static bool
alarm_set_exactly(al_alarm *self, al_watch_set *set, double when)
{
    struct itimerspec timer = {{0, 0}, {0, 0}}; /* never */

    if (!alarm_open(self, set)) {
        return false;
    }
    if (when < Py_HUGE_VAL) {
        /* Rounded up: it must not end before. */
        double whole = floor(when);
        timer.it_value.tv_sec = (time_t)whole;
        timer.it_value.tv_nsec = (long)ceil((when - whole) * 1e9);
        if (timer.it_value.tv_nsec >= 1000000000) {
            timer.it_value.tv_sec++;
            timer.it_value.tv_nsec -= 1000000000;
        }
    }
    self->is_rung = false;
    if (timerfd_settime(self->source.fd, TFD_TIMER_ABSTIME, &timer, NULL) < 0)
    {
        alarm_close_exactly(self, set); /* the next alarm gets a new one */
        return false;
    }
    return true;
}

#else /* the poll's timeout is what there is */

static bool
alarm_set_exactly(al_alarm *Py_UNUSED(self), al_watch_set *Py_UNUSED(set),
                  double Py_UNUSED(when))
{
    return false;
}

static void
alarm_close_exactly(al_alarm *Py_UNUSED(self), al_watch_set *Py_UNUSED(set))
{
}

#endif

/* Whether it is cheaper to let an alarm ring for nothing than to move it. */
static bool
alarm_may_stay(const al_alarm *self)
{
    return al_cycles() - self->moved <
               ALARM_MOVE_BUDGETS * al_cycles_budget() &&
           self->armed - al_timers_clock() > ALARM_FAR;
}

/* --- for others ------------------------------------------------------------ */

void
al_alarm_init(al_alarm *self)
{
    self->source.fd = -1;
    self->armed = self->latest = Py_HUGE_VAL;
}

void
al_alarm_set(al_alarm *self, al_watch_set *set, double when)
{
    if (when > ALARM_LATEST) {
        when = Py_HUGE_VAL;
    }
    if (when == self->armed && !self->is_rung) {
        return;
    }
    if (self->armed < when) {
        if (alarm_may_stay(self)) {
            return;
        }
        self->moved = al_cycles();
    }
    self->armed = when;
    bool is_exact = alarm_set_exactly(self, set, when);
    self->latest = is_exact ? when + ALARM_GRACE : when;
}

void
al_alarm_close(al_alarm *self, al_watch_set *set)
{
    self->armed = self->latest = Py_HUGE_VAL;
    self->is_rung = false;
    alarm_close_exactly(self, set);
}
