/* task.h - asyncloop.Task: a coroutine that a loop steps. */
#ifndef AL_TASK_TASK_H
#define AL_TASK_TASK_H

#include "task/task_object.h"

/* What asyncio calls the callable that wakes a task. */
#define AL_WAKEUP_NAME "task_wakeup"

/* What loop.create_task() makes when there is no factory: `name` and
 * `context` may be NULL or None, `eager_start` says what was passed.
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_task_new(al_loop_head *loop, PyObject *coro, PyObject *name,
            PyObject *context, bool eager_start);

/* Request cancellation: 1, 0 if it is done already; -1 with an exception set.
 * `message` is borrowed, None for none. */
AL_NODISCARD int
al_task_cancel(PyObject *op, PyObject *message);

/* Cancel what a task waits for, a future of any make: 1 if that did it, 0 if
 * it was done already; -1 with an exception set. */
AL_NODISCARD int
al_task_cancel_waiter(al_state *state, PyObject *waiter, PyObject *message);

/* --- task_step.c -------------------------------------------------------- */

/* al_run_fn of tasks: run the coroutine to its next await. */
AL_NODISCARD int
al_task_run(al_loop_head *loop, PyObject *task);

/* Queue the first step, or the next. 0, or -1 with an exception set. */
AL_NODISCARD int
al_task_step_soon(PyObject *task);

/* Run the first step now. 0, or -1 with an exception set. */
AL_NODISCARD int
al_task_start_eagerly(PyObject *task);

/* The future that the task waits for is done: step. -> None, or NULL with an
 * exception set. */
AL_NODISCARD PyObject *
al_task_wakeup(PyObject *task, PyObject *future);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_task_init_type(PyObject *module);

#ifdef AL_DEBUG
/* After a step. */
void
al_task_check(PyObject *op, al_state *state);
#endif

#endif
