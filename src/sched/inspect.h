/* inspect.h - shows the queues to debuggers, tests and the garbage
 * collector. */
#ifndef AL_SCHED_INSPECT_H
#define AL_SCHED_INSPECT_H

#include "sched/loop_head.h"

/* loop._ready: the queued objects, first to last. -> new list, or NULL. */
AL_NODISCARD PyObject *
al_inspect_ready(al_loop_head *loop);

/* loop._scheduled: the armed handles. The one with the first deadline comes
 * first, the others in no order. -> new list, or NULL. */
AL_NODISCARD PyObject *
al_inspect_timers(al_loop_head *loop);

/* The loop stops running: track each queued handle that somebody else owns. */
void
al_inspect_track_shared(al_loop_head *loop);

/* tp_traverse of both queues. */
int
al_inspect_traverse(al_loop_head *loop, visitproc visit, void *arg);

#endif
