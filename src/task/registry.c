/* registry.c - the interpreter's books: which task runs, which are pending.
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
 * _register_task(), or right here where asyncio was seen at import to keep them
 * where we expect it: the call costs more than the work.
 *
 * Leaving is lazy: when a step ends, its task stays the current one until
 * something else runs (sched/ready.c), the loop blocks or it stops.  So a task
 * that steps again, or another of ours that follows, costs one call, not two.
 *
 * A step may change the books (_leave_task(), _swap_current_task()), and has to
 * change them back: in asyncio the step of a task fails if it is not the current
 * one at its end. Here that shows when the next one enters, or nobody does.
 *
 * Invariants
 *   (1) loop->current_task == T  <=>  we have entered T for loop into the
 *       interpreter's books, and it is for us to take it out.
 *   (2) A node is in the list  =>  its task is pending; the list borrows. Of a
 *       Python class derived from ours it may be half deallocated: its slots
 *       go, or the trashcan has it, before Task_dealloc() takes it out. */
#include "task/registry.h"

#include "sched/report.h"

/* --- the interpreter's list of tasks, from 3.14 -------------------------- */

#if AL_HAS_AWAITED_BY

/* What the thread state has for asyncio. */
typedef struct {
    PyObject *loop; /* owned: the running one, or NULL */
    PyObject *task; /* owned: its current task, or NULL */
    al_list tasks;
} thread_books;

/* That of this thread, or NULL where it is not known: ask asyncio's functions,
 * then, which do the same. */
static inline thread_books *
registry_books(const al_state *state)
{
    if (AL_UNLIKELY(state->books_offset == 0)) {
        return NULL;
    }
    return (thread_books *)((char *)PyThreadState_Get() + state->books_offset);
}

/* Enter the task into the list of this thread. 0, or -1 with an exception. */
static inline int
registry_enlist(al_state *state, PyObject *task)
{
    thread_books *books = registry_books(state);

    if (AL_LIKELY(books != NULL)) {
        if (!al_list_is_linked(al_task_node(task))) {
            al_list_append(&books->tasks, al_task_node(task));
        }
        return 0;
    }
    PyObject *result = PyObject_CallOneArg(state->register_task, task);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

#else

static inline int
registry_enlist(al_state *state, PyObject *task)
{
    if (!al_list_is_linked(al_task_node(task))) {
        al_list_append(&state->pending_tasks, al_task_node(task));
    }
    return 0;
}

#endif

static int
registry_call_graph(PyObject *function, PyObject *future, PyObject *task)
{
    PyObject *stack[2] = {future, task};
    PyObject *result = PyObject_Vectorcall(function, stack, 2, NULL);

    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
al_registry_add_awaiter(al_state *state, PyObject *future, PyObject *task)
{
    return registry_call_graph(state->add_awaiter, future, task);
}

int
al_registry_discard_awaiter(al_state *state, PyObject *future, PyObject *task)
{
    return registry_call_graph(state->discard_awaiter, future, task);
}

/* _learn_thread_state(loop, task, last): while `loop` runs here and `task` is
 * its current one, find where the thread state says so, by the end of the list
 * that the task `last` was appended to, which is their third field. Whether
 * they were found. */
PyObject *
al_registry_learn_thread_state(PyObject *module, PyObject *args)
{
    al_state *state = al_state_from_module(module);
    PyObject *loop, *task, *last;

    if (!PyArg_ParseTuple(args, "OOO!:_learn_thread_state", &loop, &task,
                          state->imports.asyncio_Task, &last))
    {
        return NULL;
    }
    state->books_offset = 0;
#if AL_HAS_AWAITED_BY
    if (state->layout_is_known) {
        char *tstate = (char *)PyThreadState_Get();
        char *end = (char *)al_task_node(last)->next;
        thread_books *books =
            (thread_books *)(end - offsetof(thread_books, tasks));
        const ptrdiff_t least = sizeof(PyThreadState);
        ptrdiff_t offset = (char *)books - tstate;
        if (offset >= least && offset <= least + 512 && books->loop == loop &&
            books->task == task)
        {
            state->books_offset = offset;
        }
    }
#endif
    return PyBool_FromLong(state->books_offset != 0);
}

/* --- pending tasks ------------------------------------------------------ */

int
al_registry_add(al_state *state, PyObject *task)
{
    return registry_enlist(state, task);
}

void
al_registry_remove(PyObject *task)
{
    al_list_remove(al_task_node(task));
}

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

/* --- the current task ---------------------------------------------------- */

/* Make `next` the current task of the loop in the place of `task`, or none if
 * it is NULL. 1; 0 if `task` was not the current one, and nothing has changed;
 * -1 with an exception set. */
static inline int
registry_replace(al_loop_head *loop, PyObject *task, PyObject *next);

/* Set the RuntimeError of who leaves `task` while it is not the current one. */
static void
registry_refuse_to_leave(al_loop_head *loop, PyObject *task);

static void
registry_refuse(PyObject *task, PyObject *current)
{
    PyErr_Format(PyExc_RuntimeError,
                 "Cannot enter into task %R while another task %R is "
                 "being executed.",
                 task, current);
}

/* --- up to 3.13 ---------------------------------------------------------- */

#if PY_VERSION_HEX < 0x030E0000

/* Changes whenever somebody has changed the books. */
static inline uint64_t
registry_version(const al_state *state)
{
#    pragma GCC diagnostic push
#    pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    return ((PyDictObject *)state->current_tasks)->ma_version_tag;
#    pragma GCC diagnostic pop
}

static inline int
registry_replace(al_loop_head *loop, PyObject *task, PyObject *next)
{
    PyObject *books = loop->state->current_tasks;
    int rc = 0;

    if (AL_UNLIKELY(loop->books_version != registry_version(loop->state)) &&
        PyDict_GetItemWithError(books, (PyObject *)loop) != task)
    {
        return PyErr_Occurred() ? -1 : 0;
    }
    if (next == NULL) {
        rc = PyDict_DelItem(books, (PyObject *)loop);
    }
    else if (next != task) {
        rc = PyDict_SetItem(books, (PyObject *)loop, next);
    }
    loop->books_version = registry_version(loop->state);
    return rc < 0 ? -1 : 1;
}

/* Like _asyncio._enter_task(): there must not be another one. */
static int
registry_enter_first(al_state *state, PyObject *loop, PyObject *task)
{
    Py_ssize_t entered = PyDict_GET_SIZE(state->current_tasks);
    PyObject *current =
        PyDict_SetDefault(state->current_tasks, loop, task); /* borrowed */
    if (current == task && PyDict_GET_SIZE(state->current_tasks) > entered) {
        return 0;
    }
    if (current != NULL) {
        registry_refuse(task, current);
    }
    return -1;
}

/* Forget the current task; that there is none is no error. */
static int
registry_clear_current(al_state *state, PyObject *loop)
{
    if (PyDict_DelItem(state->current_tasks, loop) == 0) {
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

static void
registry_refuse_to_leave(al_loop_head *loop, PyObject *task)
{
    PyObject *current =
        PyDict_GetItemWithError(loop->state->current_tasks, (PyObject *)loop);
    if (current != NULL || !PyErr_Occurred()) {
        PyErr_Format(PyExc_RuntimeError,
                     "Leaving task %R does not match the current task %R.",
                     task, current != NULL ? current : Py_None);
    }
}

PyObject *
al_registry_swap(al_state *state, PyObject *loop, PyObject *task)
{
    PyObject *previous;

    if (PyDict_GetItemRef(state->current_tasks, loop, &previous) < 0) {
        return NULL;
    }
    int rc = task == NULL || task == Py_None
                 ? registry_clear_current(state, loop)
                 : PyDict_SetItem(state->current_tasks, loop, task);
    if (rc < 0) {
        Py_XDECREF(previous);
        return NULL;
    }
    return previous != NULL ? previous : Py_NewRef(Py_None);
}

static int
registry_import(al_state *state, PyObject *asyncio)
{
    state->current_tasks = PyObject_GetAttrString(asyncio, "_current_tasks");
    return state->current_tasks == NULL ? -1 : 0;
}

/* --- from 3.14 ----------------------------------------------------------- */

#else

PyObject *
al_registry_swap(al_state *state, PyObject *loop, PyObject *task)
{
    PyObject *stack[2] = {loop, task != NULL ? task : Py_None};

    thread_books *books = registry_books(state);
    if (AL_LIKELY(books != NULL && books->loop == loop)) {
        PyObject *previous = books->task; /* moved to the caller */
        books->task = stack[1] == Py_None ? NULL : Py_NewRef(task);
        return previous != NULL ? previous : Py_NewRef(Py_None);
    }
    return PyObject_Vectorcall(state->swap_current_task, stack, 2, NULL);
}

static inline uint64_t
registry_version(const al_state *Py_UNUSED(state))
{
    return 0; /* the books themselves are looked at */
}

static int
registry_set_current(al_state *state, PyObject *loop, PyObject *task)
{
    PyObject *previous = al_registry_swap(state, loop, task);
    Py_XDECREF(previous);
    return previous == NULL ? -1 : 0;
}

static inline int
registry_replace(al_loop_head *loop, PyObject *task, PyObject *next)
{
    thread_books *books = registry_books(loop->state);

    if (AL_LIKELY(books != NULL && books->loop == (PyObject *)loop &&
                  books->task == task))
    {
        if (next != task) {
            books->task = Py_XNewRef(next);
            Py_DECREF(task); /* the loop has another reference */
        }
        return 1;
    }
    PyObject *current = al_registry_swap(loop->state, (PyObject *)loop, next);
    if (current == NULL) {
        return -1; /* the loop is not the running one */
    }
    int rc = current == task ? 1
                             : registry_set_current(loop->state,
                                                    (PyObject *)loop, current);
    Py_DECREF(current);
    return rc;
}

static void
registry_refuse_to_leave(al_loop_head *loop, PyObject *task)
{
    PyObject *current = al_registry_swap(loop->state, (PyObject *)loop, NULL);
    if (current != NULL &&
        registry_set_current(loop->state, (PyObject *)loop, current) == 0)
    {
        PyErr_Format(
            PyExc_RuntimeError,
            "Invalid attempt to leave task %R while task %R is entered.", task,
            current);
    }
    Py_XDECREF(current);
}

static int
registry_enter_first(al_state *state, PyObject *loop, PyObject *task)
{
    PyObject *previous = al_registry_swap(state, loop, task);
    if (previous == NULL) {
        return -1;
    }
    if (AL_LIKELY(previous == Py_None)) {
        Py_DECREF(previous);
        return 0;
    }
    int rc = registry_set_current(state, loop, previous);
    if (rc == 0) {
        registry_refuse(task, previous);
    }
    Py_DECREF(previous);
    return -1;
}

static int
registry_import(al_state *state, PyObject *asyncio)
{
    state->swap_current_task =
        PyObject_GetAttrString(asyncio, "_swap_current_task");
    state->add_awaiter =
        PyObject_GetAttrString(asyncio, "future_add_to_awaited_by");
    state->discard_awaiter =
        PyObject_GetAttrString(asyncio, "future_discard_from_awaited_by");
    state->register_task = PyObject_GetAttrString(asyncio, "_register_task");
    return state->swap_current_task == NULL || state->add_awaiter == NULL ||
                   state->discard_awaiter == NULL ||
                   state->register_task == NULL
               ? -1
               : 0;
}

#endif

/* --- entering and leaving ----------------------------------------------- */

int
al_registry_enter(al_loop_head *loop, PyObject *task)
{
    PyObject *previous = loop->current_task;

    if (previous != NULL) {
        int rc = registry_replace(loop, previous, task);
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
    if (registry_enter_first(loop->state, (PyObject *)loop, task) < 0) {
        return -1;
    }
    loop->books_version = registry_version(loop->state);
    Py_XSETREF(loop->current_task, Py_NewRef(task)); /* (1) */
    return 0;
}

int
al_registry_enter_alone(al_loop_head *loop, PyObject *task, PyObject **outer)
{
    *outer = loop->current_task;
    loop->current_task = NULL; /* moved */
    if (al_registry_enter(loop, task) == 0) {
        return 0;
    }
    Py_XSETREF(loop->current_task, *outer);
    return -1;
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

/* Take the current task off the books. `*task` is the one that was left, a new
 * reference, or NULL. 0, or -1 with an exception set. */
static int
registry_leave(al_loop_head *loop, PyObject **task)
{
    *task = loop->current_task;
    loop->current_task = NULL; /* moved, before anything runs */
    if (*task == NULL) {
        return 0;
    }
    int rc = registry_replace(loop, *task, NULL);
    if (AL_UNLIKELY(rc == 0)) {
        registry_refuse_to_leave(loop, *task);
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

int
al_registry_leave_alone(al_loop_head *loop, PyObject *outer)
{
    PyObject *task;
    int rc = registry_leave(loop, &task);

    loop->current_task = outer;
    Py_XDECREF(task);
    return rc;
}

/* Call one of asyncio's own functions that keep the books. */
static int
registry_call(const char *function, PyObject *loop, PyObject *task)
{
    PyObject *asyncio = PyImport_ImportModule("_asyncio");
    if (asyncio == NULL) {
        return -1;
    }
    PyObject *result =
        PyObject_CallMethod(asyncio, function, "OO", loop, task);
    Py_DECREF(asyncio);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
al_registry_enter_foreign(al_state *Py_UNUSED(state), PyObject *loop,
                          PyObject *task)
{
    return registry_call("_enter_task", loop, task);
}

int
al_registry_leave_foreign(al_state *Py_UNUSED(state), PyObject *loop,
                          PyObject *task)
{
    return registry_call("_leave_task", loop, task);
}

int
al_registry_init(PyObject *module)
{
    PyObject *asyncio = PyImport_ImportModule("_asyncio");
    if (asyncio == NULL) {
        return -1;
    }
    int rc = registry_import(al_state_from_module(module), asyncio);
    Py_DECREF(asyncio);
    return rc;
}
