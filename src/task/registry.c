/* registry.c - the interpreter's books: which task runs, which are pending.
 *
 *                      current_task()                    all_tasks()
 *     3.11 - 3.13      dict _asyncio._current_tasks      our list (*)
 *     3.14 -           thread state (**)                        its list (**)
 *
 * (*) asyncio's set of tasks costs more per task than all the rest of making
 * one.  Ours are in a list of the module state instead, and the set object of
 * asyncio.tasks is given an __iter__ that walks the list, too
 * (asyncloop/_registry.py).
 *
 * (**) `python -m asyncio ps` reads both in the memory of the process: so the
 * fields of asyncio's own part of our tasks that such tools follow are filled,
 * too.  Both are kept by asyncio's functions, _swap_current_task() and
 * _register_task(), or right here where asyncio was seen at import to keep them
 * where we expect it: the call costs more than the work.  Where that part of a
 * task is not laid out as expected, the list is not used and all is as before
 * 3.14.
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

/* asyncio's part of a Task where we know it: 64 bits, with the GIL, release
 * or debug build. What is in it, al_registry_learn_list() has seen. */
#define BASE_FUTURE_SIZE 112
#define BASE_TASK_SIZE 168
#define BASE_IS_TASK 108        /* char */
#define BASE_AWAITED_BY_SET 109 /* char: awaited_by is a set */
#define BASE_CORO 128
#define BASE_NAME 136 /* str; int: the number of "Task-<number>" */
#define BASE_CONTEXT 144
#define BASE_NODE 152 /* two pointers, next and previous; NULL: in no list */

typedef struct base_node {
    struct base_node *next; /* borrowed */
    struct base_node *prev; /* borrowed */
} base_node;

static inline base_node *
registry_node(PyObject *task)
{
    return (base_node *)((char *)task + BASE_NODE);
}

#if AL_HAS_AWAITED_BY

/* What the thread state has for asyncio. */
typedef struct {
    PyObject *loop; /* owned: the running one, or NULL */
    PyObject *task; /* owned: its current task, or NULL */
    base_node tasks;
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

/* Find the books by the end of the list that `last` was appended to, which is
 * their third field. They are known if the first two are what they should be. */
static void
registry_learn_books(al_state *state, PyObject *loop, PyObject *current,
                     PyObject *last)
{
    char *tstate = (char *)PyThreadState_Get();
    char *end = (char *)registry_node(last)->next;
    const ptrdiff_t least = sizeof(PyThreadState);
    const ptrdiff_t most = least + 512;

    state->books_offset = 0;
    if (end < tstate + least + offsetof(thread_books, tasks) ||
        end > tstate + most)
    {
        return; /* in no thread state */
    }
    thread_books *books =
        (thread_books *)(end - offsetof(thread_books, tasks));
    if (books->loop == loop && books->task == current) {
        state->books_offset = (char *)books - tstate;
    }
}

/* Enter the task into the list of this thread, if that is to be used. Whether
 * it has worked. */
static inline bool
registry_enlist(al_state *state, PyObject *task)
{
    if (AL_UNLIKELY(state->register_task == NULL)) {
        return false;
    }
    thread_books *books = registry_books(state);
    if (AL_LIKELY(books != NULL)) {
        base_node *node = registry_node(task);
        if (node->next == NULL) { /* _register_task() may have been called */
            node->next = &books->tasks;
            node->prev = books->tasks.prev;
            node->prev->next = node;
            books->tasks.prev = node;
        }
        al_task_of(task)->future.is_enlisted = true;
        return true;
    }
    PyObject *result = PyObject_CallOneArg(state->register_task, task);
    if (AL_UNLIKELY(result == NULL)) {
        PyErr_Clear(); /* our own list will do */
        return false;
    }
    Py_DECREF(result);
    al_task_of(task)->future.is_enlisted = true;
    return true;
}

/* Leave whichever list the task is in: another thread may do so, too. */
static inline void
registry_delist(PyObject *task)
{
    if (!al_task_of(task)->future.is_enlisted) {
        return; /* perhaps there is no node: another layout */
    }
    base_node *node = registry_node(task);
    al_task_of(task)->future.is_enlisted = false;
    if (node->next != NULL) { /* _unregister_task() may have been called */
        node->prev->next = node->next;
        node->next->prev = node->prev;
        node->next = node->prev = NULL;
    }
}

#else

static inline void
registry_learn_books(al_state *Py_UNUSED(state), PyObject *Py_UNUSED(loop),
                     PyObject *Py_UNUSED(current), PyObject *Py_UNUSED(last))
{
}

static inline bool
registry_enlist(al_state *Py_UNUSED(state), PyObject *Py_UNUSED(task))
{
    return false;
}

static inline void
registry_delist(PyObject *Py_UNUSED(task))
{
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

int
al_registry_fill_name(al_state *state, PyObject *task)
{
    al_task *self = al_task_of(task);

    if (!AL_HAS_AWAITED_BY || !state->base_is_known) {
        return 0;
    }
    PyObject *name = al_task_name(self);
    name = name != NULL ? Py_NewRef(name)
                        : PyLong_FromSize_t(al_task_number(self));
    if (name == NULL) {
        return -1;
    }
    PyObject **field = (PyObject **)((char *)task + BASE_NAME);
    Py_XSETREF(*field, name);
    return 0;
}

static inline bool
registry_holds(PyObject *specimen, Py_ssize_t offset, const void *value)
{
    return *(void **)((char *)specimen + offset) == value;
}

static inline bool
registry_byte(PyObject *specimen, Py_ssize_t offset, char value)
{
    return *((char *)specimen + offset) == value;
}

PyObject *
al_registry_learn_list(PyObject *module, PyObject *args)
{
    al_state *state = al_state_from_module(module);
    PyObject *loop, *first, *second, *loose, *coro, *name, *context, *awaited,
        *shared;
    PyTypeObject *task_type = (PyTypeObject *)state->imports.asyncio_Task;
    PyTypeObject *future_type = (PyTypeObject *)state->imports.asyncio_Future;

    if (!PyArg_ParseTuple(args, "OO!O!O!OOOO!O!:_learn_task_list", &loop,
                          task_type, &first, task_type, &second, task_type,
                          &loose, &coro, &name, &context, future_type,
                          &awaited, future_type, &shared))
    {
        return NULL;
    }
    bool is_known =
        AL_HAS_AWAITED_BY && task_type->tp_basicsize == BASE_TASK_SIZE &&
        future_type->tp_basicsize == BASE_FUTURE_SIZE &&
        registry_holds(first, BASE_CORO, coro) &&
        registry_holds(first, BASE_NAME, name) &&
        registry_holds(first, BASE_CONTEXT, context) &&
        registry_byte(first, BASE_IS_TASK, 1) &&
        registry_byte(awaited, BASE_IS_TASK, 0) &&
        registry_holds(awaited, AL_BASE_AWAITED_BY, first) &&
        registry_byte(awaited, BASE_AWAITED_BY_SET, 0) &&
        registry_byte(shared, BASE_AWAITED_BY_SET, 1) &&
        registry_holds(first, BASE_NODE, registry_node(second)) &&
        registry_holds(second, BASE_NODE + (Py_ssize_t)sizeof(void *),
                       registry_node(first)) &&
        registry_holds(loose, BASE_NODE, NULL) &&
        registry_holds(loose, BASE_NODE + (Py_ssize_t)sizeof(void *), NULL);
    state->base_is_known = is_known;
    if (is_known) {
        PyObject *asyncio = PyImport_ImportModule("_asyncio");
        if (asyncio == NULL) {
            return NULL;
        }
        Py_XSETREF(state->register_task,
                   PyObject_GetAttrString(asyncio, "_register_task"));
        Py_DECREF(asyncio);
        if (state->register_task == NULL) {
            return NULL;
        }
        registry_learn_books(state, loop, first, second);
    }
    return PyBool_FromLong(is_known);
}

/* --- pending tasks ------------------------------------------------------ */

void
al_registry_add(al_state *state, PyObject *task)
{
    al_task *self = al_task_of(task);

    al_list_remove(&self->pending); /* __init__ called again */
    if (registry_enlist(state, task)) {
        return;
    }
    al_list_append(&state->pending_tasks, &self->pending);
}

void
al_registry_remove(PyObject *task)
{
    al_list_remove(&al_task_of(task)->pending);
    registry_delist(task);
}

PyObject *
al_registry_pending_tasks(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    al_list *head = &al_state_from_module(module)->pending_tasks;
    Py_ssize_t count = 0;

    /* Two passes, as allocating the list may collect garbage: tasks. */
    for (al_list *node = head->next; node != head; node = node->next) {
        count += Py_REFCNT(al_task_from_pending(node)) > 0; /* by (2) */
    }
    PyObject *tasks = PyList_New(count);
    if (tasks == NULL) {
        return NULL;
    }
    Py_ssize_t i = 0;
    for (al_list *node = head->next; node != head && i < count;
         node = node->next)
    {
        PyObject *task = al_task_from_pending(node);
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
    return state->swap_current_task == NULL || state->add_awaiter == NULL ||
                   state->discard_awaiter == NULL
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

/* --- asyncio's own part of our tasks ------------------------------------ */

static void
registry_fill_field(PyObject *task, Py_ssize_t offset, PyObject *value)
{
    if (offset != 0) {
        PyObject **field = (PyObject **)((char *)task + offset);
        Py_XSETREF(*field, Py_XNewRef(value));
    }
}

void
al_registry_fill_base(al_state *state, PyObject *task)
{
    al_task *self = al_task_of(task);

    registry_fill_field(task, state->base_coro_offset, self->coro);
    registry_fill_field(task, state->base_context_offset, self->context);
    if (state->base_is_known) {
        *((char *)task + BASE_IS_TASK) = 1;
    }
}

/* Where in a stock task the pointer `value` is: its offset, 0 if it is not
 * there or there more than once. */
static Py_ssize_t
registry_find_field(PyObject *specimen, PyObject *value)
{
    Py_ssize_t end = Py_TYPE(specimen)->tp_basicsize;
    Py_ssize_t found = 0;

    for (Py_ssize_t offset = (Py_ssize_t)sizeof(PyObject);
         offset + (Py_ssize_t)sizeof(PyObject *) <= end;
         offset += (Py_ssize_t)sizeof(PyObject *))
    {
        if (*(PyObject **)((char *)specimen + offset) == value) {
            if (found != 0) {
                return 0;
            }
            found = offset;
        }
    }
    return found;
}

PyObject *
al_registry_learn_layout(PyObject *module, PyObject *args)
{
    al_state *state = al_state_from_module(module);
    PyObject *specimen, *coro, *context;

    if (!PyArg_ParseTuple(args, "O!OO:_learn_task_layout",
                          state->imports.asyncio_Task, &specimen, &coro,
                          &context))
    {
        return NULL;
    }
    state->base_coro_offset = registry_find_field(specimen, coro);
    state->base_context_offset = registry_find_field(specimen, context);
    Py_RETURN_NONE;
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
