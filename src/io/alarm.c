/* alarm.c - ends a poll after less than a millisecond, or after a few.
 *
 *     al_alarm_set() ---> timerfd ---> (readable) ---> poll ends
 *
 * A deadline that has not changed is not set again, so a poll that ended for
 * something else costs no system call more. */
#include "io/alarm.h"

#ifdef __linux__

#    include <math.h>
#    include <sys/timerfd.h>
#    include <unistd.h>

#    include "sched/timers.h"

#    define ALARM_SAME                                                        \
        1e-6 /* seconds by which two readings of a clock differ */

static void
alarm_on_expiry(struct ev_loop *Py_UNUSED(ev), ev_io *watcher,
                int Py_UNUSED(revents))
{
    al_alarm *self = (al_alarm *)watcher;
    uint64_t count;

    self->armed = 0;
    /* Or it would stay readable; a failure is libev's to find. */
    if (read(self->fd, &count, sizeof count) < 0) {
        return;
    }
}

static bool
alarm_open(al_alarm *self, al_loop_head *loop)
{
    if (self->is_open) {
        return true;
    }
    self->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (self->fd < 0) {
        return false;
    }
    self->is_open = true;
    self->armed = 0;
    ev_io_init(&self->watcher, alarm_on_expiry, self->fd, EV_READ);
    ev_io_start(loop->ev, &self->watcher);
    return true;
}

bool
al_alarm_set(al_alarm *self, al_loop_head *loop, double seconds)
{
    double when = al_timers_clock() + seconds;
    struct itimerspec timer = {{0, 0}, {0, 0}};

    if (!alarm_open(self, loop)) {
        return false;
    }
    if (fabs(when - self->armed) < ALARM_SAME) {
        return true;
    }
    /* Rounded up: it must not end before. */
    double whole = floor(when);
    timer.it_value.tv_sec = (time_t)whole;
    timer.it_value.tv_nsec = (long)ceil((when - whole) * 1e9);
    if (timer.it_value.tv_nsec >= 1000000000) {
        timer.it_value.tv_sec++;
        timer.it_value.tv_nsec -= 1000000000;
    }
    if (timerfd_settime(self->fd, TFD_TIMER_ABSTIME, &timer, NULL) < 0) {
        /* Somebody has closed it: the number may be another file's. */
        ev_io_stop(loop->ev, &self->watcher);
        self->is_open = false;
        return false;
    }
    self->armed = when;
    return true;
}

void
al_alarm_close(al_alarm *self, al_loop_head *loop)
{
    if (self->is_open) {
        self->is_open = false;
        ev_io_stop(loop->ev, &self->watcher);
        close(self->fd);
    }
}

#else /* libev's timers are what there is */

bool
al_alarm_set(al_alarm *Py_UNUSED(self), al_loop_head *Py_UNUSED(loop),
             double Py_UNUSED(seconds))
{
    return false;
}

void
al_alarm_close(al_alarm *Py_UNUSED(self), al_loop_head *Py_UNUSED(loop))
{
}

#endif
