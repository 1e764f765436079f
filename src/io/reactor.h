/* reactor.h - what a loop waits with: a set of watches, a wake-up, an
 * alarm. */
#ifndef AL_IO_REACTOR_H
#define AL_IO_REACTOR_H

#include "io/alarm.h"
#include "io/wakeup.h"
#include "io/watch_set.h"
#include "sched/inbox.h"

typedef struct al_reactor {
    al_watch_set *set; /* owned */
    al_wakeup wakeup;
    al_alarm alarm;
} al_reactor;

/* Make loop->reactor; `backend` is an EVBACKEND_ flag; 0: the best there is.
 * 0, or -1 with ValueError or OSError set and nothing made. */
AL_NODISCARD int
al_reactor_open(al_loop_head *loop, unsigned int backend);

/* Free all of it. The table of watches (io/fdwatch.h) is already closed. */
void
al_reactor_close(al_loop_head *loop);

/* Queue the entries of all ready descriptors, without waiting. 0, or -1 with
 * OSError set. Before each poll, call al_fdwatch_flush(). */
AL_NODISCARD int
al_reactor_look(al_loop_head *loop);

/* Wait without the GIL until a descriptor is ready or the monotonic clock
 * shows `until` (HUGE_VAL: for ever), then queue its entries. 0, or -1 with
 * OSError set. */
AL_NODISCARD int
al_reactor_wait(al_loop_head *loop, double until);

/* If the loop is blocked in a poll, make the poll return. Call it with the
 * GIL. One wake-up is enough: is_blocked stays false until the loop waits
 * again. */
static inline void
al_reactor_wake_if_blocked(al_loop_head *loop)
{
#if AL_FREE_THREADED
    if (!al_loop_is_mine(loop)) {
        al_inbox_wake(loop);
    }
#else
    if (loop->is_blocked) {
        loop->is_blocked = false;
        al_wakeup_send(&loop->reactor->wakeup);
    }
#endif
}

#if AL_FREE_THREADED
/* Send the wake-up: loop->wake. */
void
al_reactor_send_wakeup(al_loop_head *loop);
#endif

/* In a child process: close our copies of the parent's descriptors. The next
 * poll makes new ones, and raises OSError if that fails. */
void
al_reactor_forked(al_loop_head *loop);

#endif
