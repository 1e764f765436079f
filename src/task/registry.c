/* registry.c - which task runs and which are pending, for the interpreter.
 *
 *                      current_task()                    all_tasks()
 *     3.11 - 3.13      dict _asyncio._current_tasks      our list (*)
 *     3.14 -           thread state (**)                 its list (**)
 *
 * (*) asyncio's set of tasks costs more per task than all the rest of making
 * one.  Ours are in a list of the module state instead, and the set object of
 * asyncio.tasks is given an __iter__ that walks the list, too
 * (asyncloop/_registry.py).
 *
 * (**) Both are kept by asyncio's functions, _swap_current_task() and
 * _register_task(), or right here where it is known how asyncio keeps them
 * (cpython/layout.h): the call costs more than the work.
 *
 * Leaving is lazy: when a step ends, its task stays the current one until
 * something else runs (sched/turn.c), the loop blocks or it stops.  So a task
 * that steps again, or another of ours that follows, costs one call, not two.
 *
 * A step may change the current task (_leave_task(), _swap_current_task()), and
 * has to change it back: in asyncio the step of a task fails if it is not the
 * current one at its end. Here that shows when the next one enters, or nobody
 * does.
 *
 * Invariants
 *   (1) loop->current_task == T  <=>  we have made T the current task of loop,
 *       and it is for us to take it out.
 *   (2) A node is in the list  =>  its task is pending; the list borrows. Of a
 *       Python class derived from ours it may be half deallocated: its slots
 *       go, or the trashcan has it, before its dealloc takes it out. */
#include "task/registry.h"

#include "sched/report.h"

int
al_registry_call(PyObject *function, PyObject *one, PyObject *other)
{
    PyObject *stack[2] = {one, other};
    PyObject *result = PyObject_Vectorcall(function, stack, 2, NULL);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
al_registry_add_as_stock(al_state *state, PyObject *task)
{
    PyObject *result = PyObject_CallOneArg(state->register_task, task);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* --- pending tasks ------------------------------------------------------ */

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
    Py_ssize_t count = 0;

    /* Two passes, as allocating the list may collect garbage: tasks. */
    for (al_list *node = head->next; node != head; node = node->next) {
        count += Py_REFCNT(registry_task_of(node)) > 0; /* by (2) */
    }
    PyObject *tasks = PyList_New(count);
    if (tasks == NULL) {
        return NULL;
    }
    Py_ssize_t i = 0;
    for (al_list *node = head->next; node != head && i < count;
         node = node->next)
    {
        PyObject *task = registry_task_of(node);
        if (Py_REFCNT(task) > 0) {
            PyList_SET_ITEM(tasks, i, Py_NewRef(task));
            i++;
        }
    }
    if (i < count && PyList_SetSlice(tasks, i, count, NULL) < 0) {
        Py_CLEAR(tasks);
    }
    return tasks;
}

/* --- where the current task of a loop is --------------------------------- */

#if AL_HAS_AWAITED_BY

#    define REGISTRY_REFUSES_TO_LEAVE                                         \
        "Invalid attempt to leave task %R while task %R is entered."

typedef al_thread_tasks registry_place;

/* The place, or NULL: ask asyncio's function. That raises RuntimeError where
 * the loop does not run in this thread. */
static inline registry_place *
registry_find(al_state *state, PyObject *loop)
{
    registry_place *place = al_layout_thread_tasks(state);

    return AL_LIKELY(place != NULL && place->loop == loop) ? place : NULL;
}

AL_COLD static PyObject *
registry_swap(al_state *state, PyObject *loop, PyObject *task)
{
    PyObject *stack[2] = {loop, al_or_none(task)};

    return PyObject_Vectorcall(state->swap_current_task, stack, 2, NULL);
}

AL_COLD static int
registry_ask(al_state *state, PyObject *loop, PyObject **task)
{
    PyObject *current = registry_swap(state, loop, NULL);
    PyObject *none =
        current == NULL ? NULL : registry_swap(state, loop, current);

    *task = current == Py_None ? NULL : current;
    Py_XDECREF(current); /* the thread state has it */
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

AL_COLD static int
registry_tell(al_state *state, PyObject *loop, PyObject *task)
{
    PyObject *previous = registry_swap(state, loop, task);

    Py_XDECREF(previous);
    return previous == NULL ? -1 : 0;
}

/* Tell the current task: borrowed, NULL for none. 0, or -1. */
static inline int
registry_get(registry_place *place, al_state *state, PyObject *loop,
             PyObject **task)
{
    if (AL_UNLIKELY(place == NULL)) {
        return registry_ask(state, loop, task);
    }
    *task = place->task;
    return 0;
}

/* Make `task` the current one; NULL: there is none. 0, or -1. */
static inline int
registry_set(registry_place *place, al_state *state, PyObject *loop,
             PyObject *task)
{
    if (AL_UNLIKELY(place == NULL)) {
        return registry_tell(state, loop, task);
    }
    Py_XSETREF(place->task, Py_XNewRef(task));
    return 0;
}

/* Whether it is plain to see that `task` is the current one; else ask. */
static inline bool
registry_is_current(registry_place *place, const al_loop_head *Py_UNUSED(loop),
                    PyObject *task)
{
    return place != NULL && place->task == task;
}

/* We have set the current task. */
static inline void
registry_note(registry_place *Py_UNUSED(place),
              const al_loop_head *Py_UNUSED(loop))
{
}

#else

#    define REGISTRY_REFUSES_TO_LEAVE                                         \
        "Leaving task %R does not match the current task %R."

typedef PyObject registry_place; /* a dict */

static inline registry_place *
registry_find(al_state *state, PyObject *Py_UNUSED(loop))
{
    return state->current_tasks;
}

static inline int
registry_get(registry_place *place, al_state *Py_UNUSED(state), PyObject *loop,
             PyObject **task)
{
    *task = PyDict_GET_SIZE(place) == 0 ? NULL
                                        : PyDict_GetItemWithError(place, loop);
    return *task == NULL && PyErr_Occurred() ? -1 : 0;
}

static inline int
registry_set(registry_place *place, al_state *Py_UNUSED(state), PyObject *loop,
             PyObject *task)
{
    if (task != NULL) {
        return PyDict_SetItem(place, loop, task);
    }
    if (PyDict_DelItem(place, loop) < 0) { /* there was none */
        if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
            return -1;
        }
        PyErr_Clear();
    }
    return 0;
}

/* Changes whenever somebody has changed the current task of a loop. */
static inline uint64_t
registry_version(registry_place *place)
{
#    pragma GCC diagnostic push
#    pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    return ((PyDictObject *)place)->ma_version_tag;
#    pragma GCC diagnostic pop
}

static inline bool
registry_is_current(registry_place *place, const al_loop_head *loop,
                    PyObject *Py_UNUSED(task))
{
    return loop->tasks_version == registry_version(place);
}

static inline void
registry_note(registry_place *place, al_loop_head *loop)
{
    loop->tasks_version = registry_version(place);
}

#endif

PyObject *
al_registry_swap(al_state *state, PyObject *loop, PyObject *task)
{
    registry_place *place = registry_find(state, loop);
    PyObject *previous;

    if (registry_get(place, state, loop, &previous) < 0) {
        return NULL;
    }
    previous = Py_NewRef(al_or_none(previous));
    if (registry_set(place, state, loop, task != Py_None ? task : NULL) < 0) {
        Py_CLEAR(previous);
    }
    return previous;
}

/* --- entering and leaving ----------------------------------------------- */

/* Make `next` the current task of the loop in the place of loop->current_task,
 * or none if it is NULL. 1; 0 if that was not the current one (`*current` is,
 * borrowed), and nothing has changed; -1 with an exception set. */
static inline int
registry_replace(al_loop_head *loop, PyObject *task, PyObject *next,
                 PyObject **current)
{
    registry_place *place = registry_find(loop->state, (PyObject *)loop);

    if (AL_UNLIKELY(!registry_is_current(place, loop, task))) {
        if (registry_get(place, loop->state, (PyObject *)loop, current) < 0) {
            return -1;
        }
        if (AL_UNLIKELY(*current != task)) {
            return 0;
        }
    }
    if (next != task &&
        registry_set(place, loop->state, (PyObject *)loop, next) < 0)
    {
        return -1;
    }
    registry_note(place, loop);
    return 1;
}

/* There must not be a current task yet. 0, or -1 with an exception set. */
static inline int
registry_enter_first(al_loop_head *loop, PyObject *task)
{
    registry_place *place = registry_find(loop->state, (PyObject *)loop);
    PyObject *current;

    if (registry_get(place, loop->state, (PyObject *)loop, &current) < 0) {
        return -1;
    }
    if (AL_UNLIKELY(current != NULL)) {
        PyErr_Format(PyExc_RuntimeError,
                     "Cannot enter into task %R while another task %R is "
                     "being executed.",
                     task, current);
        return -1;
    }
    if (registry_set(place, loop->state, (PyObject *)loop, task) < 0) {
        return -1;
    }
    registry_note(place, loop);
    return 0;
}

int
al_registry_enter(al_loop_head *loop, PyObject *task)
{
    PyObject *previous = loop->current_task;
    PyObject *current;

    if (previous != NULL) {
        int rc = registry_replace(loop, previous, task, &current);
        if (AL_LIKELY(rc > 0)) {
            if (previous != task) {
                loop->current_task = Py_NewRef(task); /* (1) */
                Py_DECREF(previous);
            }
            return 0;
        }
        if (rc < 0 || al_registry_leave(loop) < 0) { /* which reports it */
            return -1;
        }
    }
    if (registry_enter_first(loop, task) < 0) {
        return -1;
    }
    Py_XSETREF(loop->current_task, Py_NewRef(task)); /* (1) */
    return 0;
}

/* Somebody has meddled with what the interpreter knows of a task that is to be
 * left, as by _leave_task() or _set_running_loop(None). In asyncio its step
 * fails of it: tell the exception handler. 0, or -1 with a fatal exception set.
 */
static int
registry_report(al_loop_head *loop, PyObject *task)
{
    const al_report_item items[] = {{loop->state->names.task, task},
                                    {NULL, NULL}};
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *message =
        PyUnicode_FromString("Exception in callback TaskStepMethWrapper()");

    PyErr_Clear();
    PyErr_SetRaisedException(exc);
    return al_report_exception((PyObject *)loop, loop->state, message, items);
}

/* Leave the current task. `*task` is the one that was left, a new reference,
 * or NULL. 0, or -1 with an exception set. */
static int
registry_leave(al_loop_head *loop, PyObject **task)
{
    PyObject *current;

    *task = loop->current_task;
    loop->current_task = NULL; /* moved, before anything runs */
    if (*task == NULL) {
        return 0;
    }
    int rc = registry_replace(loop, *task, NULL, &current);
    if (AL_UNLIKELY(rc == 0)) {
        PyErr_Format(PyExc_RuntimeError, REGISTRY_REFUSES_TO_LEAVE, *task,
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

/* --- for the step of a callable ------------------------------------------ */

/* Call one of asyncio's own functions, for a loop that is not ours. */
static int
registry_call_stock(const char *name, PyObject *loop, PyObject *task)
{
    PyObject *asyncio = PyImport_ImportModule("_asyncio");
    PyObject *function =
        asyncio == NULL ? NULL : PyObject_GetAttrString(asyncio, name);
    int rc = function == NULL ? -1 : al_registry_call(function, loop, task);

    Py_XDECREF(asyncio);
    Py_XDECREF(function);
    return rc;
}

int
al_registry_enter_alone(PyObject *loop, PyObject *task, PyObject **outer)
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
al_registry_leave_alone(PyObject *loop, PyObject *task, PyObject *outer)
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
