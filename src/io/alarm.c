/* alarm.c - ends a poll at a given time, exact to some microseconds.
 *
 *     al_alarm_set(when) ---> timerfd ---> (readable) ----------> poll ends
 *                       \---> the poll's timeout, 1 ms later ---> poll ends
 *
 * epoll counts its timeout in milliseconds, and the kernel may add 0.1 % of it
 * (timer slack).  A timerfd is exact: it becomes readable at the set time, and
 * the poll ends as soon as the kernel has woken the thread.
 *
 * The poll has a timeout, too.  It ends the poll if the program has closed the
 * timerfd, for example by os.closerange().  If the kernel refuses to make a
 * timerfd or to watch it (ENOSPC, ENOMEM), the timeout is the only way.
 *
 * One system call sets the timerfd when the time changes; an unchanged time
 * costs none.  The same call makes the timerfd unreadable again, so nobody has
 * to read it.
 *
 * Most timers are cancelled.  A server that arms a timer for each request and
 * cancels it would move the alarm to a later time with each request.  So if
 * moves are only milliseconds apart, an alarm that is far away is not moved.
 * It may end one poll too early, but saves many system calls before that.
 *
 * Invariants
 *   (1) An alarm whose timerfd has expired is not armed.
 *   (2) source.fd >= 0  =>  the set watches it. */
#include "io/alarm.h"

#include <errno.h>
#include <math.h>
#include <unistd.h>

#include "base/cycles.h"
#include "base/features.h"
#include "sched/timers.h"

/* Seconds from the timerfd's time to the end of the poll's own timeout. */
#define ALARM_GRACE 0.001

/* An alarm that is at least this many seconds away is far. */
#define ALARM_FAR 0.1

/* A far alarm is moved to a later time at most once in this many
 * al_cycles_budget(), which is once in 4 to 12 ms. */
#define ALARM_MOVE_BUDGETS 200

/* The latest time that is given to the kernel, some 95 years after boot. The
 * kernel refuses values that are far beyond it. */
#define ALARM_LATEST 3e9

#ifdef AL_DEBUG

static void
alarm_check(const al_alarm *self)
{
    const al_source *source = &self->source;

    AL_HOLDS(1, !self->is_rung || self->armed == Py_HUGE_VAL);
    AL_HOLDS(2, source->fd < 0 ||
                    source->set->kind->watches(source->set, source));
}

#endif

/* --- timerfd --------------------------------------------------------------- */

#if AL_HAS_TIMERFD

#    include <sys/timerfd.h>

/* Whether source.fd is a timerfd still. The program may have closed it, and
 * its number may name another file by now. */
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
        /* Either the kernel refuses to watch it, or the program closed it. */
        self->is_refused = alarm_is_ours(self);
        alarm_close_exactly(self, source->set);
        return;
    }
    /* Do not read it: the next al_alarm_set() makes it unreadable, usually at
     * once. If a second poll finds it readable, the loop is busy and never
     * waits: then read it, or each poll would find it. */
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

/* Set the timerfd to `when`. False if there is no timerfd. */
static bool
alarm_set_exactly(al_alarm *self, al_watch_set *set, double when)
{
    struct itimerspec timer = {{0, 0}, {0, 0}}; /* never */

    if (!alarm_open(self, set)) {
        return false;
    }
    if (when < Py_HUGE_VAL) {
        /* Round up: the poll must not end before `when`. */
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
        alarm_close_exactly(self, set); /* the next call makes a new one */
        return false;
    }
    return true;
}

#else /* there is no timerfd: the poll's timeout is the only way */

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

/* Whether one early end of a poll is cheaper than moving the alarm. */
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
    AL_CHECK(alarm_check, self);
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
    AL_CHECK(alarm_check, self);
}

void
al_alarm_close(al_alarm *self, al_watch_set *set)
{
    self->armed = self->latest = Py_HUGE_VAL;
    self->is_rung = false;
    alarm_close_exactly(self, set);
}
