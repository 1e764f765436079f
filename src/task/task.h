/* task.h - asyncloop.Task: a coroutine that a loop steps, and its future. */
#ifndef AL_TASK_TASK_H
#define AL_TASK_TASK_H

#include "task/task_object.h"

/* asyncio's name of the callable that wakes a task. */
#define AL_WAKEUP_NAME "task_wakeup"

/* The task that loop.create_task() makes when there is no factory. `name` and
 * `context` may be NULL or None. -> new reference, or NULL with an exception
 * set. */
AL_NODISCARD PyObject *
al_task_new(al_loop_head *loop, PyObject *coro, PyObject *name,
            PyObject *context, bool eager_start);

/* Task.cancel(): 1, or 0 if the task is done; -1 with an exception set.
 * `message` is borrowed, and may be None. */
AL_NODISCARD int
al_task_cancel(PyObject *op, PyObject *message);

/* Cancel the future, of any type, that a task waits for: 1, or 0 if it
 * refuses, because it is done; -1 with an exception set. */
AL_NODISCARD int
al_task_cancel_waiter(al_state *state, PyObject *waiter, PyObject *message);

/* --- task_step.c -------------------------------------------------------- */

/* al_run_fn of tasks: one step. */
AL_NODISCARD int
al_task_run(al_loop_head *loop, PyObject *task);

/* Queue a step. 0, or -1 with an exception set. */
AL_NODISCARD int
al_task_step_soon(PyObject *task);

/* Run the first step at once. 0, or -1 with an exception set. */
AL_NODISCARD int
al_task_start_eagerly(PyObject *task);

/* What the handle of a queued step would have in asyncio: the callback, its
 * argument (NULL for none) and its context, all new references.
 * -> new reference to the callback, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_task_make_callback(PyObject *task, PyObject **argument, PyObject **context);

/* Step a task when the future that it waits for is done. -> None, or NULL with
 * an exception set. */
AL_NODISCARD PyObject *
al_task_wakeup(PyObject *task, PyObject *future);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_task_init_type(PyObject *module);

#ifdef AL_DEBUG
void
al_task_check(PyObject *op, al_loop_head *loop);
#endif

/* The loop, if it is ours and its create_task() would only do what al_task_new()
 * does: there is no task factory, no method of the program, no keep_tasks. ->
 * borrowed, or NULL. */
static inline al_loop_head *
al_task_direct_loop(PyObject *loop)
{
    if (loop == NULL || !al_loop_is_ours(loop)) {
        return NULL;
    }
    al_loop_head *head = al_loop_head_CAST(loop);
    bool is_direct = head->state->TaskType != NULL &&
                     AL_LOAD(head->is_direct) && head->task_factory == NULL &&
                     head->kept_tasks == NULL &&
                     !(head->overrides & AL_OVERRIDES_CREATE_TASK);
    return AL_LIKELY(is_direct) ? head : NULL;
}

#endif
