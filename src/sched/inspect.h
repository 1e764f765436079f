/* inspect.h - what debuggers, tests and the garbage collector ask of the queues. */
#ifndef AL_SCHED_INSPECT_H
#define AL_SCHED_INSPECT_H

#include "sched/loop_head.h"

/* loop._ready: the queued objects, first to last. -> new list, or NULL. */
AL_NODISCARD PyObject *
al_inspect_ready(al_loop_head *loop);

/* loop._scheduled: the armed handles, the first deadline first, the others in no
 * order. -> new list, or NULL. */
AL_NODISCARD PyObject *
al_inspect_timers(al_loop_head *loop);

/* The loop stops running: al_handle_settle() for each handle in the queues. */
void
al_inspect_settle(al_loop_head *loop);

/* tp_traverse of both queues. */
int
al_inspect_traverse(al_loop_head *loop, visitproc visit, void *arg);

#endif
