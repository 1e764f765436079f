/* stock.h - asyncio's own futures and tasks, for a loop of ours.
 *
 * What a loop makes where state->layout.futures is false. */
#ifndef AL_TASK_STOCK_H
#define AL_TASK_STOCK_H

#include "sched/loop_head.h"

/* asyncio.Future(loop=loop). -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_stock_make_future(al_loop_head *loop);

/* asyncio.Task(coro, loop=loop, ...): see al_task_new(). */
AL_NODISCARD PyObject *
al_stock_make_task(al_loop_head *loop, PyObject *coro, PyObject *name,
                   PyObject *context, bool eager_start);

#endif
