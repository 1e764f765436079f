/* alarm.h - ends a poll at a given time, to some microseconds. */
#ifndef AL_IO_ALARM_H
#define AL_IO_ALARM_H

#include "io/watch_set.h"

typedef struct {
    al_source source; /* the timerfd, watched as long as there is one */
    bool is_refused;  /* there are no timerfds here: do without */
    bool is_rung;     /* the timerfd has expired and is still readable */
    double armed;     /* on the monotonic clock; HUGE_VAL: never */
    double latest;    /* when a poll ends if the timerfd does not end it */
    uint64_t moved; /* in al_cycles(): when it was last set to a later time */
} al_alarm;

/* To be called once, before all else. */
void
al_alarm_init(al_alarm *self);

/* Let a poll of the set end at `when`, on the monotonic clock, and none for an
 * earlier alarm; HUGE_VAL: never. To be called before each poll that waits,
 * which lasts until `latest` at most. */
void
al_alarm_set(al_alarm *self, al_watch_set *set, double when);

/* Give the timerfd back. The alarm may be set again. */
void
al_alarm_close(al_alarm *self, al_watch_set *set);

#endif
