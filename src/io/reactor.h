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
    PyThreadState *tstate; /* saved around a poll that blocks, else NULL */
} al_reactor;

/* Make loop->ev and loop->reactor; `backend` is an EVBACKEND_ flag, 0: the best
 * there is. 0, or -1 with ValueError or OSError set and nothing made. */
AL_NODISCARD int
al_reactor_open(al_loop_head *loop, unsigned int backend);

/* Give all of it back. The table of watches (io/fdwatch.h) is closed. */
void
al_reactor_close(al_loop_head *loop);

/* Queue what is ready. 0, or -1 with OSError set. */
AL_NODISCARD int
al_reactor_look(al_loop_head *loop);

/* Wait until something is, at most until the alarm that was set, and without
 * the GIL; then queue it. 0, or -1 with OSError set. */
AL_NODISCARD int
al_reactor_wait(al_loop_head *loop);

/* In a child process: let go of what the parent waits with, and make all of it
 * anew before the next poll, which raises OSError if that fails. */
void
al_reactor_forked(al_loop_head *loop);

#endif
