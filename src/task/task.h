/* task.h - asyncloop.Task: a coroutine that a loop steps. */
#ifndef AL_TASK_TASK_H
#define AL_TASK_TASK_H

#include "base/list.h"
#include "task/future.h"

typedef struct {
    al_future future;     /* first: al_future_of() works on tasks */
    PyObject *coro;       /* owned; NULL <=> eagerly finished, or no init */
    PyObject *context;    /* owned contextvars.Context; NULL <=> no init */
    uintptr_t label;      /* the name; 0 <=> no init. See al_task_name() */
    PyObject *fut_waiter; /* owned, what it waits for; NULL <=> nothing */
    al_list pending;      /* in state->pending_tasks while not done */
} al_task;

/* Where in a Task this is. Written once, when the first interpreter imports
 * us: it is a property of the process's _asyncio, not of an interpreter. */
extern Py_ssize_t al_task_offset;

/* What al_future_of() finds, without asking the type. */
static inline al_task *
al_task_of(PyObject *op)
{
    return (al_task *)((char *)op + al_task_offset);
}

/* A task that is given no name is called "Task-<number>", and hardly ever by
 * name: until then its label is 2 * number + 1. Else it is an owned str, which
 * as an object lies at an even address. */

/* The name, where it is a str: borrowed, else NULL. */
static inline PyObject *
al_task_name(const al_task *self)
{
    return self->label & 1 ? NULL : (PyObject *)self->label;
}

/* The number, where there is no name. */
static inline uintptr_t
al_task_number(const al_task *self)
{
    assert(self->label & 1);
    return self->label >> 1;
}

/* The object a pending-list node belongs to. */
static inline PyObject *
al_task_from_pending(al_list *node)
{
    return (PyObject *)((char *)node - offsetof(al_task, pending) -
                        al_task_offset);
}

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

/* The callable that stands for a waiting task wherever Python sees it (as a
 * done callback): wakes the task. -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_task_wakeup_method(PyObject *task);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_task_init_type(PyObject *module);

#endif
