/* wakeup.h - ends a poll from another thread or a signal handler. */
#ifndef AL_IO_WAKEUP_H
#define AL_IO_WAKEUP_H

#include "sched/loop_head.h"

/* Start the ev_async (so that an otherwise empty loop has one active watcher
 * and blocks). The watcher is loop->wakeup. */
void
al_wakeup_start(al_loop_head *loop);

void
al_wakeup_stop(al_loop_head *loop);

/* Let the loop's poll return, if it is blocked in one (GIL held). Once is
 * enough: until the loop's thread has the GIL again it is on its way. */
static inline void
al_wakeup_if_blocked(al_loop_head *loop)
{
    if (loop->is_blocked) {
        loop->is_blocked = false;
        ev_async_send(loop->ev, &loop->wakeup);
    }
}

#endif
