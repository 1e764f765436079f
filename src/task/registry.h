/* registry.h - which task runs and which are pending, for the interpreter.
 *
 * asyncio.current_task() and asyncio.all_tasks() tell it. How it is kept differs
 * so much between versions of CPython that what is different stands here alone. */
#ifndef AL_TASK_REGISTRY_H
#define AL_TASK_REGISTRY_H

#include "task/task_object.h"

/* The same as al_registry_add() by asyncio's function. 0, or -1. */
AL_NODISCARD int
al_registry_add_as_stock(al_state *state, PyObject *task);

/* Enter a new task among the pending ones: 0, or -1 with an exception set. */
AL_NODISCARD static inline int
al_registry_add(al_state *state, PyObject *task)
{
#if AL_HAS_AWAITED_BY
    al_thread_tasks *place = al_layout_thread_tasks(state);
    if (AL_UNLIKELY(place == NULL)) {
        return al_registry_add_as_stock(state, task);
    }
    al_list *tasks = &place->tasks;
#else
    al_list *tasks = &state->pending_tasks;
#endif
    if (AL_LIKELY(!al_list_is_linked(al_task_node(task)))) {
        al_list_append(tasks, al_task_node(task));
    }
    return 0;
}

/* Take a done or dying one out. */
static inline void
al_registry_remove(PyObject *task)
{
    al_list_remove(al_task_node(task));
}

/* Make `task` the current task of its loop, in the place of the one that
 * loop->current_task says, if any. 0, or -1 with an exception set. */
AL_NODISCARD int
al_registry_enter(al_loop_head *loop, PyObject *task);

/* Make no task the current one: loop->leave_task. Its failure is reported.
 * 0, or -1 with an exception of the handler set that ends the run. */
AL_NODISCARD int
al_registry_leave(al_loop_head *loop);

/* Make `task` the current one for the step of a callable, on a loop that may be
 * anybody's: no task must be current, not even the same. If another task's step
 * calls it, that has to have seen to this: `*outer` is that task, owned, or
 * NULL, for al_registry_leave_alone(). 0, or -1 with an exception set. */
AL_NODISCARD int
al_registry_enter_alone(PyObject *loop, PyObject *task, PyObject **outer);

/* Make none the current one after it: failing is an exception of the step. 0, or
 * -1 with it set. Takes the reference to `outer`. */
AL_NODISCARD int
al_registry_leave_alone(PyObject *loop, PyObject *task, PyObject *outer);

/* Make `task` current on a loop that may be anybody's, whatever was current
 * there, and back. `task` None: none. -> new reference to the one before (or
 * None), or NULL with an exception set. */
AL_NODISCARD PyObject *
al_registry_swap(al_state *state, PyObject *loop, PyObject *task);

/* function(one, other), a function of asyncio's. 0, or -1. */
AL_NODISCARD int
al_registry_call(PyObject *function, PyObject *one, PyObject *other);

/* `task` begins to wait for `future`: 0, or -1 with an exception set. */
AL_NODISCARD static inline int
al_registry_begin_await(al_state *state, PyObject *future, PyObject *task)
{
#if AL_HAS_AWAITED_BY
    if (AL_LIKELY(al_future_check_exact(state, future))) {
        al_future *awaited = al_future_of(future);
        if (AL_LIKELY(awaited->awaited_by == NULL)) {
            awaited->awaited_by = Py_NewRef(task);
            return 0;
        }
    }
    return al_registry_call(state->add_awaiter, future, task);
#else
    (void)state, (void)future, (void)task;
    return 0;
#endif
}

/* It waits no more; the caller holds both. 0, or -1 with an exception set. */
AL_NODISCARD static inline int
al_registry_end_await(al_state *state, PyObject *future, PyObject *task)
{
#if AL_HAS_AWAITED_BY
    if (AL_LIKELY(al_future_check_exact(state, future))) {
        al_future *awaited = al_future_of(future);
        if (AL_LIKELY(awaited->awaited_by == task)) {
            awaited->awaited_by = NULL;
            Py_DECREF(task);
            return 0;
        }
        if (awaited->awaited_by == NULL) {
            return 0;
        }
    }
    return al_registry_call(state->discard_awaiter, future, task);
#else
    (void)state, (void)future, (void)task;
    return 0;
#endif
}

/* _core._pending_tasks(): a list of all pending tasks of ours. */
PyObject *
al_registry_pending_tasks(PyObject *module, PyObject *ignored);

#endif
