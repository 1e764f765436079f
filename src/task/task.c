/* task.c - makes and cancels tasks; the type Task.
 *
 *     Task(coro) ---> al_task_step_soon() ... task_step.c ... done
 *        cancel() ---> along the chain of tasks that wait for tasks,
 *                      to the future at its end
 *
 * Invariants
 *   (1) A pending task waits for fut_waiter, or is queued, or its step runs:
 *       exactly one of them.
 *   (2) fut_waiter != NULL  =>  the task is pending; fut_waiter wakes it. */
#include "task/task.h"

#include "base/args.h"
#include "base/call.h"
#include "sched/handle_object.h"
#include "sched/ready.h"
#include "task/registry.h"
#include "task/type.h"

#ifdef AL_DEBUG

/* Whether one of our futures, which is pending, will wake the task. */
static bool
task_is_awaiting(PyObject *op, const al_state *state, const al_future *future)
{
    PyObject *callback = future->callback0;
    PyObject *others = future->callbacks;

    if (callback != NULL && al_future_iter_task(callback, state) == op) {
        return true;
    }
    for (Py_ssize_t i = 0; others != NULL && i < PyList_GET_SIZE(others); i++)
    {
        callback = PyTuple_GET_ITEM(PyList_GET_ITEM(others, i), 0);
        if (al_future_iter_task(callback, state) == op) {
            return true;
        }
    }
    return false;
}

/* Whether a step of the task is queued, by itself or as a callable. */
static bool
task_is_queued(PyObject *op, const al_loop_head *loop)
{
    for (size_t i = 0; i < loop->ready.count; i++) {
        PyObject *entry = al_queue_object(&loop->ready, i);
        if (entry == op) {
            return true;
        }
        if (al_handle_check(loop->state, entry)) {
            PyObject *callback = HandleObject_CAST(entry)->callback;
            if (callback != NULL && PyCFunction_Check(callback) &&
                PyCFunction_GET_SELF(callback) == op)
            {
                return true;
            }
        }
    }
    return false;
}

void
al_task_check(PyObject *op, al_loop_head *loop)
{
    static size_t skipped;
    al_state *state = loop->state;
    const al_task *self = al_task_of(op);
    PyObject *waiter = self->fut_waiter;

    if (self->future.state == AL_FUTURE_PENDING && waiter == NULL &&
        al_future_direct_loop(&self->future) == loop &&
        al_check_is_time(&skipped, loop->ready.count))
    {
        AL_HOLDS(1, task_is_queued(op, loop));
    }
    AL_HOLDS(2, waiter == NULL || self->future.state == AL_FUTURE_PENDING);
    if (waiter != NULL && al_future_check_exact(state, waiter) &&
        al_future_of(waiter)->state == AL_FUTURE_PENDING)
    {
        AL_HOLDS(2, task_is_awaiting(op, state, al_future_of(waiter)));
    }
}

#endif

/* --- making ------------------------------------------------------------- */

/* asyncio.iscoroutine(coro): 1, 0, or -1. */
static int
task_is_coroutine(al_state *state, PyObject *coro)
{
    if (AL_LIKELY(PyCoro_CheckExact(coro))) {
        return 1;
    }
    PyObject *type = (PyObject *)Py_TYPE(coro);
    int known = PySet_Contains(state->coroutine_types, type);
    if (known != 0) {
        return known;
    }
    int is_coroutine =
        al_call_is_true(PyObject_CallOneArg(state->imports.iscoroutine, coro));
    /* The limit is for programs that make new types all the time. */
    if (is_coroutine > 0 && PySet_GET_SIZE(state->coroutine_types) < 100 &&
        PySet_Add(state->coroutine_types, type) < 0)
    {
        return -1;
    }
    return is_coroutine;
}

static int
task_check_coroutine(al_state *state, al_task *self, PyObject *coro)
{
    int is_coroutine = task_is_coroutine(state, coro);
    if (AL_LIKELY(is_coroutine > 0)) {
        return 0;
    }
    AL_TASK_FLAGS(self)->log_destroy_pending = false;
    if (is_coroutine == 0) {
        PyErr_Format(PyExc_TypeError, "a coroutine was expected, got %R",
                     coro);
    }
    return -1;
}

/* The given context, or a copy of the current one. -> new reference, or NULL
 * with an exception set. */
static PyObject *
task_choose_context(al_task *self, PyObject *context)
{
    if (context == NULL || context == Py_None) {
        return PyContext_CopyCurrent();
    }
    if (AL_TASK_CHECKS_CONTEXT && !PyContext_CheckExact(context)) {
        AL_TASK_FLAGS(self)->log_destroy_pending = false;
        PyErr_Format(PyExc_TypeError,
                     "a contextvars.Context was expected, got %T", context);
        return NULL;
    }
    return Py_NewRef(context);
}

#if AL_TASK_NAMES_ARE_LAZY

/* The default name: the number of the task. -> new reference, or NULL. */
static inline PyObject *
task_next_name(al_state *state)
{
    return PyLong_FromUnsignedLongLong(al_layout_next_task_number(state));
}

#else

/* The default name: "Task-<number>". -> new reference, or NULL. */
static PyObject *
task_next_name(al_state *state)
{
    char text[sizeof("Task-18446744073709551615")];
    char *begin = text + sizeof(text);
    uint64_t number = al_layout_next_task_number(state);

    do {
        *--begin = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    begin -= strlen("Task-");
    memcpy(begin, "Task-", strlen("Task-"));

    Py_ssize_t length = text + sizeof(text) - begin;
    PyObject *name = PyUnicode_New(length, 127);
    if (name != NULL) {
        memcpy(PyUnicode_1BYTE_DATA(name), begin, (size_t)length);
    }
    return name;
}

#endif

/* The given name, or the default one. -> new reference, or NULL with an
 * exception set. */
static PyObject *
task_make_name(al_state *state, PyObject *name)
{
    if (AL_LIKELY(name == NULL || name == Py_None)) {
        return task_next_name(state);
    }
    return PyUnicode_CheckExact(name) ? Py_NewRef(name) : PyObject_Str(name);
}

/* Set the fields of a task whose future is initialised. 0, or -1. As in
 * future.c (3), the old references are dropped after that. */
static int
task_set_fields(PyObject *op, al_state *state, PyObject *coro, PyObject *name,
                PyObject *context)
{
    al_task *self = al_task_of(op);

    if (task_check_coroutine(state, self, coro) < 0) {
        return -1;
    }
    context = task_choose_context(self, context);
    if (context == NULL) {
        return -1;
    }
    name = task_make_name(state, name);
    if (name == NULL) {
        Py_DECREF(context);
        return -1;
    }
    al_task old = *self;
    self->context = context;
    self->coro = Py_NewRef(coro);
    self->fut_waiter = NULL;
    self->name = name;
    self->cancel_requests = 0;
    AL_TASK_FLAGS(self)->must_cancel = false;
    AL_TASK_FLAGS(self)->log_destroy_pending = true;
#if AL_HAS_AWAITED_BY
    self->future.is_task = 1;
#endif
    if (AL_UNLIKELY(old.name != NULL)) { /* __init__ is called again */
        Py_XDECREF(old.fut_waiter);
        Py_XDECREF(old.coro);
        Py_XDECREF(old.context);
        Py_XDECREF(old.name);
    }
    return 0;
}

/* Queue or run the first step. 0, or -1 with an exception set. */
static int
task_start(PyObject *op, al_state *state, bool eager_start)
{
    if (eager_start) {
        PyObject *loop = Py_NewRef(al_task_of(op)->future.loop);
        int is_running = al_call_is_true(
            PyObject_CallMethodNoArgs(loop, state->names.is_running));
        Py_DECREF(loop);
        if (is_running != 0) { /* from 3.14 it must run in this thread */
            return is_running < 0 ? -1 : al_task_start_eagerly(op);
        }
    }
    return al_task_step_soon(op) < 0 ? -1 : al_registry_add(state, op);
}

PyObject *
al_task_new(al_loop_head *loop, PyObject *coro, PyObject *name,
            PyObject *context, bool eager_start)
{
    al_state *state = loop->state;

    PyObject *op = state->TaskType->tp_alloc(state->TaskType, 0);
    if (op == NULL) {
        return NULL;
    }
    if (al_future_begin(op, loop) < 0 ||
        task_set_fields(op, state, coro, name, context) < 0 ||
        task_start(op, state, eager_start) < 0)
    {
        Py_DECREF(op);
        return NULL;
    }
    return op;
}

#if AL_HAS_EAGER_START
#    define TASK_DOC_EAGER_START ", eager_start=False"
#else
#    define TASK_DOC_EAGER_START
#endif

PyDoc_STRVAR(Task_doc,
             "Task(coro, *, loop=None, name=None, "
             "context=None" TASK_DOC_EAGER_START ")\n--\n\n"
             "A coroutine that the event loop runs: asyncio.Task.\n\n"
             "`loop` is the loop (default: the current one), `name` shows in "
             "its repr,\n`context` is the contextvars.Context it runs in "
             "(default: a copy of the\ncurrent one); eager_start=True "
             "(3.12+) runs it at once to its first await.\n"
             "Raises TypeError if `coro` is not a coroutine.");

static int
Task_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {
        "Task",
#if AL_HAS_EAGER_START
        AL_ARGS("coro", "loop", "name", "context", "eager_start"),
#else
        AL_ARGS("coro", "loop", "name", "context"),
#endif
        1, 1, 0};
    PyObject *given[5] = {NULL};
    al_state *state = al_state_from_type(Py_TYPE(op));

    if (state == NULL ||
        al_args_parse_tuple(&signature, args, kwargs, given) < 0)
    {
        return -1;
    }
    int eager_start = given[4] == NULL ? 0 : PyObject_IsTrue(given[4]);
    if (eager_start < 0 || al_future_init_on(op, given[1], state) < 0 ||
        task_set_fields(op, state, given[0], given[2], given[3]) < 0)
    {
        return -1;
    }
    return task_start(op, state, eager_start);
}

/* --- cancelling --------------------------------------------------------- */

/* Whether `op` is exactly our Task, and nobody has overridden a cancel(). */
static inline bool
task_has_our_cancel(al_state *state, PyObject *op)
{
    return Py_IS_TYPE(op, state->TaskType) && !state->cancel_is_overridden;
}

int
al_task_cancel_waiter(al_state *state, PyObject *waiter, PyObject *message)
{
    if (task_has_our_cancel(state, waiter)) {
        return al_task_cancel(waiter, message);
    }
    if (Py_IS_TYPE(waiter, state->FutureType) && !state->cancel_is_overridden)
    {
        return al_future_cancel(waiter, message, NULL);
    }
    /* By position, as asyncio does it: some cancel() have no name "msg". */
    return al_call_is_true(
        PyObject_CallMethodOneArg(waiter, state->names.cancel, message));
}

/* Count a request to cancel the task if it is pending. -> a new reference to
 * the future that it waits for, or NULL if there is none. */
static PyObject *
task_count_request(PyObject *op, bool *is_pending)
{
    al_task *self = al_task_of(op);
    PyObject *waiter = NULL;

    AL_LOCK(op);
    self->future.log_tb = false;
    *is_pending = self->future.state == AL_FUTURE_PENDING;
    if (*is_pending) {
        self->cancel_requests++;
        waiter = Py_XNewRef(self->fut_waiter);
    }
    AL_UNLOCK();
    return waiter;
}

/* Throw CancelledError at the next step. `message` is borrowed. */
static void
task_cancel_later(PyObject *op, PyObject *message)
{
    al_task *self = al_task_of(op);
    PyObject *old;

    AL_LOCK(op);
    AL_TASK_FLAGS(self)->must_cancel = true;
    old = self->future.cancel_msg;
    self->future.cancel_msg = Py_NewRef(message);
    AL_UNLOCK();
    Py_XDECREF(old);
}

/* Cancel the last task of a chain. `waiter` is a future that it waits for and
 * that is not our Task, or NULL. 1, or -1 with an exception set. */
static int
task_cancel_last(al_state *state, PyObject *task, PyObject *waiter,
                 PyObject *message)
{
    int rc =
        waiter == NULL ? 0 : al_task_cancel_waiter(state, waiter, message);

    if (rc == 0) {
        task_cancel_later(task, message);
    }
    return rc < 0 ? -1 : 1;
}

int
al_task_cancel(PyObject *op, PyObject *message)
{
    al_state *state = al_future_state_of(op);
    const PyObject *landmark = op; /* of Brent's search for a cycle */
    size_t steps = 0, limit = 2;
    bool is_pending;

    if (state == NULL) {
        return -1;
    }
    PyObject *outer = NULL; /* owned: the task that waits for `task` */
    PyObject *task = Py_NewRef(op);
    int rc = -1;
    /* asyncio recurses, but a chain of tasks may be longer than the stack. */
    for (;;) {
        PyObject *waiter = task_count_request(task, &is_pending);
        if (!is_pending) { /* it cannot be cancelled, but `outer` can */
            rc = outer != NULL;
            if (outer != NULL) {
                task_cancel_later(outer, message);
            }
            break;
        }
        if (waiter == NULL || !task_has_our_cancel(state, waiter)) {
            rc = task_cancel_last(state, task, waiter, message);
            Py_XDECREF(waiter);
            break;
        }
        Py_XSETREF(outer, task);
        task = waiter;
        if (task == landmark) {
            PyErr_SetString(PyExc_RecursionError,
                            "maximum recursion depth exceeded: tasks wait "
                            "for each other in a circle");
            break;
        }
        if (++steps == limit) {
            steps = 0;
            limit *= 2;
            landmark = task;
        }
    }
    Py_XDECREF(outer);
    Py_DECREF(task);
    return rc;
}

PyDoc_STRVAR(
    Task_cancel_doc,
    "cancel($self, /, msg=None)\n--\n\n"
    "Request that this task cancel itself.\n\n"
    "A CancelledError (with `msg`) is thrown into the coroutine in one of "
    "the\nnext turns of the loop; the coroutine may clean up, or even "
    "refuse. Returns\nFalse if the task is done already, else True.");

static PyObject *
Task_cancel(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
            PyObject *kwnames)
{
    static const al_signature signature = {"cancel", AL_ARGS("msg"), 0, 1, 0};
    PyObject *message;

    if (al_args_parse(&signature, args, nargs, kwnames, &message) < 0 ||
        al_future_check_init(op) < 0)
    {
        return NULL;
    }
    int rc = al_task_cancel(op, al_or_none(message));
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

#if !AL_TASK_GETTERS_CHECK

/* asyncio's methods crash if __init__ has not run. */

PyDoc_STRVAR(Task_get_coro_doc, "get_coro($self, /)\n--\n\n"
                                "Return the coroutine.");

static PyObject *
Task_get_coro(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *coro = al_task_of(op)->coro;

    return Py_NewRef(al_or_none(coro));
}

#    if AL_TASK_HAS_GET_CONTEXT

PyDoc_STRVAR(Task_get_context_doc, "get_context($self, /)\n--\n\n"
                                   "Return the context that it runs in.");

static PyObject *
Task_get_context(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *context = al_task_of(op)->context;

    return Py_NewRef(al_or_none(context));
}

#    endif
#endif

/* --- type --------------------------------------------------------------- */

static PyMethodDef Task_methods[] = {
    {"cancel", AL_KEYWORDS(Task_cancel), Task_cancel_doc},
#if !AL_TASK_GETTERS_CHECK
    {"get_coro", Task_get_coro, METH_NOARGS, Task_get_coro_doc},
#    if AL_TASK_HAS_GET_CONTEXT
    {"get_context", Task_get_context, METH_NOARGS, Task_get_context_doc},
#    endif
#endif
    {NULL, NULL, 0, NULL}};

static const PyType_Slot Task_slots[] = {{Py_tp_doc, (void *)Task_doc},
                                         {Py_tp_init, Task_init},
                                         {Py_tp_methods, Task_methods},
                                         {0, NULL}};

int
al_task_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    return al_type_add(module, "asyncloop.Task", state->imports.asyncio_Task,
                       state->FutureType, AL_TASK_SIZE, Task_slots,
                       &state->TaskType);
}
