/* alarm.h - ends a poll at a given time, exact to some microseconds. */
#ifndef AL_IO_ALARM_H
#define AL_IO_ALARM_H

#include "io/watch_set.h"

typedef struct {
    al_source source; /* the timerfd; watched while it is open */
    bool is_refused;  /* the kernel refuses timerfds: use the timeout alone */
    bool is_rung;     /* the timerfd has expired and is still readable */
    double armed;     /* time on the monotonic clock; HUGE_VAL: never */
    double latest;    /* when the poll's own timeout ends it */
    uint64_t moved;   /* al_cycles() when it was last set to a later time */
} al_alarm;

/* Call this once, before the other functions. */
void
al_alarm_init(al_alarm *self);

/* Make the next poll of the set end at `when` on the monotonic clock;
 * HUGE_VAL: never. This replaces the alarm that was set before. Call it before
 * each poll that waits, and give that poll `latest` as its timeout. */
void
al_alarm_set(al_alarm *self, al_watch_set *set, double when);

/* Close the timerfd. The alarm may be set again. */
void
al_alarm_close(al_alarm *self, al_watch_set *set);

#endif
