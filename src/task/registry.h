/* registry.h - the interpreter's books: which task runs, which are pending.
 *
 * asyncio.current_task() and asyncio.all_tasks() read them. They differ so much
 * between versions of CPython that what is different stands here alone. */
#ifndef AL_TASK_REGISTRY_H
#define AL_TASK_REGISTRY_H

#include "task/task.h"

/* Enter a new task among the pending ones, take a done or dying one out. */
void
al_registry_add(al_state *state, PyObject *task);
void
al_registry_remove(PyObject *task);

/* Make `task` the current task of its loop, in the place of the one that
 * loop->current_task says, if any. 0, or -1 with an exception set. */
AL_NODISCARD int
al_registry_enter(al_loop_head *loop, PyObject *task);

/* Make no task the current one: loop->leave_task. 0, or -1. */
AL_NODISCARD int
al_registry_leave(al_loop_head *loop);

/* Make `task` current on a loop that may be anybody's, whatever was current
 * there, and back. `task` NULL or None: none. -> new reference to the one
 * before (or None), or NULL with an exception set. */
AL_NODISCARD PyObject *
al_registry_swap(al_state *state, PyObject *loop, PyObject *task);

/* Enter and leave for a loop that is not ours. 0, or -1. */
AL_NODISCARD int
al_registry_enter_foreign(al_state *state, PyObject *loop, PyObject *task);
AL_NODISCARD int
al_registry_leave_foreign(al_state *state, PyObject *loop, PyObject *task);

/* Fill the fields of the base part that unbound methods of asyncio.Task read
 * without a check (coroutine, context), when a task begins. */
void
al_registry_fill_base(al_state *state, PyObject *task);

AL_NODISCARD int
al_registry_init(PyObject *module);

/* _core._pending_tasks(): a list of all pending tasks of ours. */
PyObject *
al_registry_pending_tasks(PyObject *module, PyObject *ignored);

/* _core._learn_task_layout(specimen, coro, context): find in a stock task the
 * fields that al_registry_fill_base() fills in ours. */
PyObject *
al_registry_learn_layout(PyObject *module, PyObject *args);

#endif
