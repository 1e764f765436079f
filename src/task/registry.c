/* registry.c - tells the interpreter which task is current, and which tasks
 * are pending.
 *
 *                      current_task()                    all_tasks()
 *     3.11 - 3.13      dict _asyncio._current_tasks      our list (*)
 *     3.14 -           thread state (**)                 its list (**)
 *
 * (*) To add a task to asyncio's set costs more than all else in making it. So
 * our tasks are in a list of the module state, and the set object of
 * asyncio.tasks gets an __iter__ that walks this list, too
 * (asyncloop/_registry.py). If a profiler asks for the data of the set, new
 * tasks are added to the set after all.
 *
 * (**) If the layout is known (cpython/layout.h), we write there directly,
 * because calls of asyncio's _swap_current_task() and _register_task() cost
 * more than what they do. Otherwise we call them.
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

    return al_call_finish(PyObject_Vectorcall(function, stack, 2, NULL));
}

int
al_registry_add_as_stock(al_state *state, PyObject *task)
{
    return al_call_finish(PyObject_CallOneArg(state->register_task, task));
}

/* --- pending tasks ------------------------------------------------------ */

#if AL_FREE_THREADED

/* asyncio's function stops all other threads meanwhile. A task that is being
 * freed gets a reference for the call. */
void
al_registry_remove_from_other(PyObject *task)
{
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *asyncio = PyImport_ImportModule("_asyncio");
    PyObject *result = NULL;
    bool is_dying = Py_REFCNT(task) == 0;

    if (is_dying) {
        Py_SET_REFCNT(task, 1);
    }
    if (asyncio != NULL) {
        result = PyObject_CallMethod(asyncio, "_unregister_task", "(O)", task);
    }
    if (result == NULL) {
        PyErr_WriteUnraisable(NULL);
    }
    if (is_dying) {
        Py_SET_REFCNT(task, 0);
    }
    Py_XDECREF(result);
    Py_XDECREF(asyncio);
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
    Py_ssize_t count = 0;

    /* Count first, because making a list may collect garbage: tasks. */
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

PyObject *
al_registry_register_by(PyObject *module, PyObject *function)
{
    al_state *state = al_state_from_module(module);

    Py_XSETREF(state->register_task, Py_NewRef(function));
    Py_RETURN_NONE;
}

/* --- where the current task of a loop is kept --------------------------- */

#if AL_HAS_AWAITED_BY

#    define REGISTRY_REFUSES_TO_LEAVE                                         \
        "Invalid attempt to leave task %R while task %R is entered."

typedef al_thread_tasks registry_place;

/* The place, or NULL if asyncio's function must be called. That raises
 * RuntimeError if the loop does not run in this thread. */
static inline registry_place *
registry_find(al_state *state, PyObject *loop)
{
    registry_place *place = al_layout_thread_tasks(state);

    return AL_LIKELY(place != NULL && place->loop == loop) ? place : NULL;
}

AL_COLD static PyObject *
registry_swap_as_stock(al_state *state, PyObject *loop, PyObject *task)
{
    PyObject *stack[2] = {loop, al_or_none(task)};

    return PyObject_Vectorcall(state->swap_current_task, stack, 2, NULL);
}

AL_COLD static int
registry_set_as_stock(al_state *state, PyObject *loop, PyObject *task)
{
    return al_call_finish(registry_swap_as_stock(state, loop, task));
}

AL_COLD static int
registry_get_as_stock(al_state *state, PyObject *loop, PyObject **task)
{
    PyObject *current = registry_swap_as_stock(state, loop, NULL);

    *task = current == Py_None ? NULL : current;
    int rc =
        current == NULL ? -1 : registry_set_as_stock(state, loop, current);
    Py_XDECREF(current); /* the thread state owns it */
    return rc;
}

/* Set *task to the current task, borrowed, or to NULL. 0, or -1. */
static inline int
registry_get(registry_place *place, al_state *state, PyObject *loop,
             PyObject **task)
{
    if (AL_UNLIKELY(place == NULL)) {
        return registry_get_as_stock(state, loop, task);
    }
    *task = place->task;
    return 0;
}

/* Make `task`, or none if it is NULL, the current one. 0, or -1. */
static inline int
registry_set(registry_place *place, al_state *state, PyObject *loop,
             PyObject *task)
{
    if (AL_UNLIKELY(place == NULL)) {
        return registry_set_as_stock(state, loop, task);
    }
    Py_XSETREF(place->task, Py_XNewRef(task));
    return 0;
}

/* Whether `task` certainly is the current one. If not, registry_get() says. */
static inline bool
registry_is_current(registry_place *place, const al_loop_head *Py_UNUSED(loop),
                    PyObject *task)
{
    return place != NULL && place->task == task;
}

/* Call this after each registry_set() of our loops. */
static inline void
registry_note_version(registry_place *Py_UNUSED(place),
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
    if (PyDict_DelItem(place, loop) < 0) { /* no task was current */
        if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
            return -1;
        }
        PyErr_Clear();
    }
    return 0;
}

/* It changes with each change of the current task of any loop. */
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
registry_note_version(registry_place *place, al_loop_head *loop)
{
    loop->tasks_version = registry_version(place);
}

#endif

PyObject *
al_registry_current(al_state *state, PyObject *loop)
{
    registry_place *place = registry_find(state, loop);
    PyObject *task;

    if (AL_UNLIKELY(place == NULL)) { /* its place is unknown */
        return PyObject_CallOneArg(state->imports.current_task, loop);
    }
    return registry_get(place, state, loop, &task) < 0
               ? NULL
               : Py_NewRef(al_or_none(task));
}

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

/* Make `next` the current task of the loop instead of `task`; each may be
 * NULL: none. 1; or 0 if another task is current, *current (borrowed), which
 * stays so; or -1 with an exception set. */
static inline int
registry_replace(al_loop_head *loop, PyObject *task, PyObject *next,
                 PyObject **current)
{
    registry_place *place = registry_find(loop->state, (PyObject *)loop);

    if (task == NULL || AL_UNLIKELY(!registry_is_current(place, loop, task))) {
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
    registry_note_version(place, loop);
    return 1;
}

int
al_registry_enter(al_loop_head *loop, PyObject *task)
{
    PyObject *previous = loop->current_task;
    PyObject *current;
    int rc;

    AL_CHECK(registry_check, loop, task);
    if (previous != NULL) {
        rc = registry_replace(loop, previous, task, &current);
        if (AL_LIKELY(rc > 0)) {
            if (previous != task) {
                loop->current_task = Py_NewRef(task); /* (1) */
                Py_DECREF(previous);
            }
            return 0;
        }
        if (rc < 0 || al_registry_leave(loop) < 0) { /* reports the failure */
            return -1;
        }
    }
    rc = registry_replace(loop, NULL, task, &current);
    if (AL_LIKELY(rc > 0)) {
        Py_XSETREF(loop->current_task, Py_NewRef(task)); /* (1) */
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
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *message =
        PyUnicode_FromString("Exception in callback TaskStepMethWrapper()");

    PyErr_Clear();
    PyErr_SetRaisedException(exc);
    return al_report_exception((PyObject *)loop, loop->state, message, items);
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

/* --- while a callable steps a task -------------------------------------- */

/* Call _asyncio.<name>(loop, task), for a loop that is not ours. */
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
