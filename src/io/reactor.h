/* reactor.h - what a loop waits with: a set of watches, a wake-up, an alarm. */
#ifndef AL_IO_REACTOR_H
#define AL_IO_REACTOR_H

#include "io/alarm.h"
#include "io/wakeup.h"
#include "io/watch_set.h"

typedef struct al_reactor {
    al_watch_set *set; /* owned */
    al_wakeup wakeup;
    al_alarm alarm;
} al_reactor;

/* Make loop->reactor; `backend` is an EVBACKEND_ flag, 0: the best there is.
 * 0, or -1 with ValueError or OSError set and nothing made. */
AL_NODISCARD int
al_reactor_open(al_loop_head *loop, unsigned int backend);

/* Give all of it back. The table of watches (io/fdwatch.h) is closed. */
void
al_reactor_close(al_loop_head *loop);

/* Queue what is ready. 0, or -1 with OSError set. Before each poll, call
 * al_fdwatch_settle(). */
AL_NODISCARD int
al_reactor_look(al_loop_head *loop);

/* Wait without the GIL until something is ready or the monotonic clock shows
 * `until` (HUGE_VAL: however long); then queue it. 0, or -1 with OSError set. */
AL_NODISCARD int
al_reactor_wait(al_loop_head *loop, double until);

/* Let the loop's poll return, if it is blocked in one (GIL held). Once is
 * enough: until the loop's thread has the GIL again it is on its way. */
static inline void
al_reactor_wake_if_blocked(al_loop_head *loop)
{
    if (loop->is_blocked) {
        loop->is_blocked = false;
        al_wakeup_send(&loop->reactor->wakeup);
    }
}

/* In a child process: let go of what the parent waits with, and make all of it
 * anew before the next poll, which raises OSError if that fails. */
void
al_reactor_forked(al_loop_head *loop);

#endif
