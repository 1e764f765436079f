/* wakeup.c - ends a poll from another thread or a signal handler.
 *
 *     call_soon_threadsafe() ---> ev_async_send() ---> eventfd ---> poll ends
 *
 * What was queued is in the ready queue already: the callback has nothing to
 * do.  libev writes to its eventfd only when the loop sleeps (or is about to)
 * and no earlier wakeup is still on its way. */
#include "io/wakeup.h"

static void
wakeup_on_async(struct ev_loop *Py_UNUSED(ev), ev_async *Py_UNUSED(watcher),
                int Py_UNUSED(revents))
{
}

void
al_wakeup_start(al_loop_head *loop)
{
    ev_async_init(&loop->wakeup, wakeup_on_async);
    ev_async_start(loop->ev, &loop->wakeup);
}

void
al_wakeup_stop(al_loop_head *loop)
{
    ev_async_stop(loop->ev, &loop->wakeup);
}
