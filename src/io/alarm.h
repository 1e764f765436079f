/* alarm.h - ends a poll after less than a millisecond, or after a few. */
#ifndef AL_IO_ALARM_H
#define AL_IO_ALARM_H

#include "sched/loop_head.h"

/* Waits that are no longer than so many seconds are worth an alarm: epoll and
 * poll round up to a millisecond, which of longer ones is little. */
#define AL_ALARM_LONGEST 0.004

/* All zero is no alarm. */
typedef struct {
    ev_io watcher; /* of the timerfd, active as long as there is one */
    int fd;        /* owned timerfd, meaningful if is_open */
    bool is_open;
    double armed; /* for when, on the monotonic clock; 0 <=> it is not */
} al_alarm;

/* Let the loop's next poll end in so many seconds: true; false if the system
 * has no means or none to spare. What is left of an alarm ends a later poll
 * for nothing, once. */
AL_NODISCARD bool
al_alarm_set(al_alarm *self, al_loop_head *loop, double seconds);

/* Give the timerfd back, in a child process too: the parent's is another. */
void
al_alarm_close(al_alarm *self, al_loop_head *loop);

#endif
