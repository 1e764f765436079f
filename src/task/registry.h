/* registry.h - tells the interpreter which task is current, which tasks are
 * pending and which task awaits which future: asyncio.current_task(),
 * all_tasks(), call graphs. Versions of CPython keep that in different places.
 */
#ifndef AL_TASK_REGISTRY_H
#define AL_TASK_REGISTRY_H

#include "task/task_object.h"

/* Call function(one, other), a function of asyncio, or function(one) if `other`
 * is NULL. 0, or -1 with an exception set. */
AL_NODISCARD int
al_registry_call(PyObject *function, PyObject *one, PyObject *other);

#if AL_FREE_THREADED
/* Remove a task from the list of another thread. */
void
al_registry_remove_from_other(PyObject *task);
#endif

/* Count a task that was made or has ended for the metrics of its loop. */
static inline void
al_registry_count(PyObject *task, uint64_t made, uint64_t ended)
{
    al_loop_head *loop = al_future_our_loop(&al_task_of(task)->future);

    if (AL_LIKELY(loop != NULL)) {
        al_metrics *metrics = &loop->metrics;
        AL_TALLY_SHARED(metrics->tasks_made, made);
        AL_TALLY_SHARED(metrics->tasks_ended, ended);
    }
}

/* Add a new task to the pending ones. 0, or -1 with an exception set. */
AL_NODISCARD static inline int
al_registry_add(al_state *state, PyObject *task)
{
#if AL_HAS_AWAITED_BY
    al_thread_tasks *thread = al_layout_thread_tasks(state);
    if (AL_UNLIKELY(thread == NULL)) {
        return al_registry_call(state->register_task, task, NULL);
    }
    al_list *tasks = &thread->tasks;
#else
    if (AL_UNLIKELY(state->register_task != NULL)) {
        return al_registry_call(state->register_task, task, NULL);
    }
    al_list *tasks = &state->pending_tasks;
#endif
    if (AL_LIKELY(!al_list_is_linked(al_task_node(task)))) {
        al_list_append(tasks, al_task_node(task));
        al_registry_count(task, 1, 0);
#if AL_FREE_THREADED
        al_task_of(task)->thread = al_thread_id();
        PyUnstable_EnableTryIncRef(task); /* other threads walk the list */
#endif
    }
    return 0;
}

/* Remove a task that is done or being freed. */
static inline void
al_registry_remove(PyObject *task)
{
    if (!al_list_is_linked(al_task_node(task))) {
        return;
    }
    al_registry_count(task, 0, 1);
#if AL_FREE_THREADED
    if (AL_UNLIKELY(al_task_of(task)->thread != al_thread_id())) {
        al_registry_remove_from_other(task);
        return;
    }
#endif
    al_list_remove(al_task_node(task));
}

/* Make `task` the current task of its loop, instead of loop->current_task if
 * that is not NULL. 0, or -1 with an exception set. */
AL_NODISCARD int
al_registry_enter(al_loop_head *loop, PyObject *task);

/* loop->leave_task: make no task the current one. A failure is reported. 0, or
 * -1 with an exception of the exception handler set that ends the run. */
AL_NODISCARD int
al_registry_leave(al_loop_head *loop);

/* Make `task` the current one while a callable of it steps it, on a loop of
 * any type. No task may be current, not even this one: if the callable is
 * called in a step of another task, the caller must have left that. `*outer`
 * is that task, owned, or NULL. 0, or -1 with an exception set. */
AL_NODISCARD int
al_registry_enter_for_call(PyObject *loop, PyObject *task, PyObject **outer);

/* Make no task the current one after that call, and steal `outer`. 0, or -1
 * with an exception set, which the callable has to raise. */
AL_NODISCARD int
al_registry_leave_after_call(PyObject *loop, PyObject *task, PyObject *outer);

/* Note that `task` awaits `future` now. 0, or -1 with an exception set. */
AL_NODISCARD static inline int
al_registry_begin_await(al_state *state, PyObject *future, PyObject *task)
{
#if AL_HAS_AWAITED_BY
    if (AL_LIKELY(al_future_check_exact(state, future))) {
        al_future *awaited = al_future_of(future);
        bool is_first;
        AL_LOCK(future);
        is_first = awaited->awaited_by == NULL;
        if (AL_LIKELY(is_first)) {
            awaited->awaited_by = Py_NewRef(task);
        }
        AL_UNLOCK();
        if (AL_LIKELY(is_first)) {
            return 0;
        }
    }
    return al_registry_call(state->add_awaiter, future, task);
#else
    (void)state, (void)future, (void)task;
    return 0;
#endif
}

/* Note that it awaits it no longer. The caller owns references to both. 0, or
 * -1 with an exception set. */
AL_NODISCARD static inline int
al_registry_end_await(al_state *state, PyObject *future, PyObject *task)
{
#if AL_HAS_AWAITED_BY
    if (AL_LIKELY(al_future_check_exact(state, future))) {
        al_future *awaited = al_future_of(future);
        PyObject *awaiter;
        AL_LOCK(future);
        awaiter = awaited->awaited_by;
        if (AL_LIKELY(awaiter == task)) {
            awaited->awaited_by = NULL; /* moved to `awaiter` */
        }
        AL_UNLOCK();
        if (AL_LIKELY(awaiter == task)) {
            Py_DECREF(task);
            return 0;
        }
        if (awaiter == NULL) {
            return 0;
        }
    }
    return al_registry_call(state->discard_awaiter, future, task);
#else
    (void)state, (void)future, (void)task;
    return 0;
#endif
}

/* _core._pending_tasks(): the list of our pending tasks. */
PyObject *
al_registry_pending_tasks(PyObject *module, PyObject *ignored);

/* _core._register_tasks_by(function): call function(task) for each new task
 * from now on, instead of adding it to that list. Up to 3.13. */
PyObject *
al_registry_register_by(PyObject *module, PyObject *function);

#endif
