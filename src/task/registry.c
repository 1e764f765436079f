/* registry.c - tells the interpreter which task is current, and which tasks
 * are pending.
 *
 * From 3.14 on, pending tasks are in a list of the thread state. If the layout
 * is known (cpython/layout.h), we write there directly, because a call of
 * asyncio's _register_task() costs more than what it does.
 *
 * Up to 3.13 asyncio has a set. To add a task to it costs more than all else in
 * making the task. So our tasks are in a list of the module state, and the set
 * object of asyncio.tasks gets an __iter__ that walks this list, too
 * (asyncloop/_registry.py). If a profiler asks for the data of the set, new
 * tasks are added to the set after all.
 *
 * Leaving is lazy: when a step ends, its task stays the current one until
 * something else runs (sched/turn.c), or the loop blocks or stops. So if our
 * tasks step one after the other, each costs one change, not two.
 *
 * A step may change the current task (_leave_task(), _swap_current_task()),
 * but must restore it, or in asyncio the step fails. Here we notice it when
 * the next task is entered, or when the task is left.
 *
 * Invariants
 *   (1) loop->current_task == T  <=>  we have made T the current task of the
 *       loop, and have to leave it.
 *   (2) A node is in the list  =>  its task is pending. The list borrows it.
 *       An object of a Python subclass may have no references any more: the
 *       subclass frees its slots, or the trashcan delays it, before our
 *       dealloc removes the node. */
#include "task/registry.h"

#include "base/call.h"
#include "cpython/current_task.h"
#include "sched/report.h"

#ifdef AL_DEBUG

/* Before a step of `task` begins. */
static void
registry_check(const al_loop_head *loop, PyObject *task)
{
    const al_list *node = al_task_node(task);
    PyObject *current = loop->current_task;

    AL_HOLDS(1, current == NULL ||
                    PyObject_TypeCheck(current, loop->state->TaskType));
    AL_HOLDS(2, !al_list_is_linked(node) ||
                    (node->next->prev == node && node->prev->next == node));
}

#endif

int
al_registry_call(PyObject *function, PyObject *one, PyObject *other)
{
    PyObject *stack[2] = {one, other};
    size_t count = other != NULL ? 2 : 1;

    return al_call_finish(PyObject_Vectorcall(function, stack, count, NULL));
}

/* al_registry_call() of _asyncio.<name>. */
static int
registry_call_stock(const char *name, PyObject *one, PyObject *other)
{
    PyObject *asyncio = PyImport_ImportModule("_asyncio");
    PyObject *function =
        asyncio == NULL ? NULL : PyObject_GetAttrString(asyncio, name);
    int rc = function == NULL ? -1 : al_registry_call(function, one, other);

    Py_XDECREF(asyncio);
    Py_XDECREF(function);
    return rc;
}

/* --- pending tasks ------------------------------------------------------ */

#if AL_FREE_THREADED

/* asyncio's function stops all other threads meanwhile. A task that is being
 * freed gets a reference for the call. */
void
al_registry_remove_from_other(PyObject *task)
{
    PyObject *raised = PyErr_GetRaisedException();
    bool is_dying = Py_REFCNT(task) == 0;

    if (is_dying) {
        Py_SET_REFCNT(task, 1);
    }
    if (registry_call_stock("_unregister_task", task, NULL) < 0) {
        PyErr_WriteUnraisable(NULL);
    }
    if (is_dying) {
        Py_SET_REFCNT(task, 0);
    }
    PyErr_SetRaisedException(raised);
}

#endif

/* The task that a node of our list belongs to. */
static PyObject *
registry_task_of(al_list *node)
{
    return (PyObject *)((char *)node - sizeof(al_task));
}

PyObject *
al_registry_pending_tasks(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    al_list *head = &al_state_from_module(module)->pending_tasks;
    PyObject *tasks = PyList_New(0);

    if (tasks == NULL) {
        return NULL;
    }
    /* Appending collects no garbage, and so ends no task. */
    for (al_list *node = head->next; node != head; node = node->next) {
        PyObject *task = registry_task_of(node);
        if (Py_REFCNT(task) > 0 /* by (2) */ && PyList_Append(tasks, task) < 0)
        {
            Py_DECREF(tasks);
            return NULL;
        }
    }
    return tasks;
}

PyObject *
al_registry_register_by(PyObject *module, PyObject *function)
{
    al_state *state = al_state_from_module(module);

    Py_XSETREF(state->register_task, Py_NewRef(function));
    Py_RETURN_NONE;
}

/* --- entering and leaving ----------------------------------------------- */

/* Make `next` the current task of the loop instead of `task`; each may be
 * NULL: none. 1; or 0 if another task is current, *current (borrowed), which
 * stays so; or -1 with an exception set. */
static inline int
registry_replace(al_loop_head *loop, PyObject *task, PyObject *next,
                 PyObject **current)
{
    al_state *state = loop->state;
    PyObject *op = (PyObject *)loop;
    al_current_task_place *place = al_current_task_find(state, op);

    if (task == NULL ||
        AL_UNLIKELY(!al_current_task_is(place, task, loop->tasks_version)))
    {
        if (al_current_task_get(place, state, op, current) < 0) {
            return -1;
        }
        if (AL_UNLIKELY(*current != task)) {
            return 0;
        }
    }
    if (next != task && al_current_task_set(place, state, op, next) < 0) {
        return -1;
    }
    al_current_task_note(place, &loop->tasks_version);
    return 1;
}

int
al_registry_enter(al_loop_head *loop, PyObject *task)
{
    PyObject *previous = loop->current_task;
    PyObject *current;

    AL_CHECK(registry_check, loop, task);
    int rc = registry_replace(loop, previous, task, &current);
    if (AL_UNLIKELY(rc == 0 && previous != NULL)) {
        if (al_registry_leave(loop) < 0) { /* reports the failure */
            return -1;
        }
        rc = registry_replace(loop, NULL, task, &current);
    }
    if (AL_LIKELY(rc > 0)) {
        if (loop->current_task != task) {
            Py_XSETREF(loop->current_task, Py_NewRef(task)); /* (1) */
        }
        return 0;
    }
    if (rc == 0) {
        PyErr_Format(PyExc_RuntimeError,
                     "Cannot enter into task %R while another task %R is "
                     "being executed.",
                     task, current);
    }
    return -1;
}

/* `task` could not be left: the program has changed the current task or the
 * running loop, and has not restored it. In asyncio the step of the task would
 * fail: tell the exception handler. 0, or -1 with a fatal exception set. */
static int
registry_report(al_loop_head *loop, PyObject *task)
{
    const al_report_item items[] = {{loop->state->names.task, task},
                                    {NULL, NULL}};

    return al_report_exception(
        (PyObject *)loop, loop->state,
        PyUnicode_FromString("Exception in callback TaskStepMethWrapper()"),
        items);
}

/* Leave the current task. *task is that task, a new reference, or NULL. 0, or
 * -1 with an exception set. */
static int
registry_leave(al_loop_head *loop, PyObject **task)
{
    PyObject *current;

    *task = loop->current_task;
    loop->current_task = NULL; /* moved to *task */
    if (*task == NULL) {
        return 0;
    }
    int rc = registry_replace(loop, *task, NULL, &current);
    if (AL_UNLIKELY(rc == 0)) {
        PyErr_Format(PyExc_RuntimeError, AL_CURRENT_TASK_STAYS, *task,
                     al_or_none(current));
    }
    return rc > 0 ? 0 : -1;
}

int
al_registry_leave(al_loop_head *loop)
{
    PyObject *task;
    int rc = registry_leave(loop, &task);

    if (AL_UNLIKELY(rc < 0)) {
        rc = registry_report(loop, task);
    }
    Py_XDECREF(task);
    return rc;
}

/* --- while a callable steps a task -------------------------------------- */

int
al_registry_enter_for_call(PyObject *loop, PyObject *task, PyObject **outer)
{
    *outer = NULL;
    if (AL_UNLIKELY(!al_loop_is_ours(loop))) {
        return registry_call_stock("_enter_task", loop, task);
    }
    al_loop_head *ours = al_loop_head_CAST(loop);
    *outer = ours->current_task;
    ours->current_task = NULL; /* moved */
    if (al_registry_enter(ours, task) == 0) {
        return 0;
    }
    Py_XSETREF(ours->current_task, *outer);
    return -1;
}

int
al_registry_leave_after_call(PyObject *loop, PyObject *task, PyObject *outer)
{
    PyObject *left;

    if (AL_UNLIKELY(!al_loop_is_ours(loop))) {
        return registry_call_stock("_leave_task", loop, task);
    }
    al_loop_head *ours = al_loop_head_CAST(loop);
    int rc = registry_leave(ours, &left);
    ours->current_task = outer;
    Py_XDECREF(left);
    return rc;
}
