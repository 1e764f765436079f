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

/* The same for a step that is not the ready queue's: no task must be current,
 * not even the same. If another task's step calls it, that has to have seen to
 * this: `*outer` is that task, owned, or NULL, for al_registry_leave_alone(). */
AL_NODISCARD int
al_registry_enter_alone(al_loop_head *loop, PyObject *task, PyObject **outer);

/* Make no task the current one: loop->leave_task. Its failure is reported.
 * 0, or -1 with an exception of the handler set that ends the run. */
AL_NODISCARD int
al_registry_leave(al_loop_head *loop);

/* The same after al_registry_enter_alone(): failing is an exception of the step.
 * 0, or -1 with it set. Takes the reference to `outer`. */
AL_NODISCARD int
al_registry_leave_alone(al_loop_head *loop, PyObject *outer);

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

/* Let outside tools (`python -m asyncio ps`) see the name. 0, or -1 with an
 * exception set. */
AL_NODISCARD int
al_registry_fill_name(al_state *state, PyObject *task);

/* Where asyncio's part of a future of 3.14 and 3.15 says who awaits it: one
 * object, or a set of them. Only to be used if state->base_is_known. */
#define AL_BASE_AWAITED_BY 96

/* The same by asyncio's own functions, for whatever future. 0, or -1. */
AL_NODISCARD int
al_registry_add_awaiter(al_state *state, PyObject *future, PyObject *task);
AL_NODISCARD int
al_registry_discard_awaiter(al_state *state, PyObject *future, PyObject *task);

/* `task` begins to wait for `future`: 0, or -1 with an exception set. */
AL_NODISCARD static inline int
al_registry_begin_await(al_state *state, PyObject *future, PyObject *task)
{
    if (!AL_HAS_AWAITED_BY) {
        return 0;
    }
    if (AL_LIKELY(state->base_is_known &&
                  al_future_check_exact(state, future)))
    {
        PyObject **field = (PyObject **)((char *)future + AL_BASE_AWAITED_BY);
        if (AL_LIKELY(*field == NULL)) {
            *field = Py_NewRef(task);
            return 0;
        }
    }
    return al_registry_add_awaiter(state, future, task);
}

/* It waits no more; the caller holds both. 0, or -1 with an exception set. */
AL_NODISCARD static inline int
al_registry_end_await(al_state *state, PyObject *future, PyObject *task)
{
    if (!AL_HAS_AWAITED_BY) {
        return 0;
    }
    if (AL_LIKELY(state->base_is_known &&
                  al_future_check_exact(state, future)))
    {
        PyObject **field = (PyObject **)((char *)future + AL_BASE_AWAITED_BY);
        if (AL_LIKELY(*field == task)) {
            *field = NULL;
            Py_DECREF(task);
            return 0;
        }
        if (*field == NULL) {
            return 0;
        }
    }
    return al_registry_discard_awaiter(state, future, task);
}

AL_NODISCARD int
al_registry_init(PyObject *module);

/* _core._pending_tasks(): a list of all pending tasks of ours. */
PyObject *
al_registry_pending_tasks(PyObject *module, PyObject *ignored);

/* _core._learn_task_layout(specimen, coro, context): find in a stock task the
 * fields that al_registry_fill_base() fills in ours. */
PyObject *
al_registry_learn_layout(PyObject *module, PyObject *args);

/* _core._learn_task_list(...): from 3.14, hold stock tasks and futures against
 * the layout we expect; if it is that, our tasks go into the interpreter's
 * list from now on. -> bool. See asyncloop/_registry.py. */
PyObject *
al_registry_learn_list(PyObject *module, PyObject *args);

#endif
