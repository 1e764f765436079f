/* task.c - Task: making, cancelling, naming; its type.
 *
 *     Task(coro) ---> al_task_step_soon() ... task_step.c ... done
 *        cancel() ---> down the chain of tasks that wait for tasks,
 *                      to the future at its end
 *
 * Invariants
 *   (1) While a task is pending it is in exactly one of three states: it waits
 *       for fut_waiter; or it is queued; or its step runs.
 *   (2) fut_waiter != NULL  =>  fut_waiter will wake us. */
#include "task/task.h"

#include "base/args.h"
#include "task/counter.h"
#include "task/future_methods.h"
#include "task/registry.h"

Py_ssize_t al_task_offset;

/* --- making ------------------------------------------------------------- */

/* Whether `coro` is a coroutine to asyncio: 1, 0, or -1. */
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
    PyObject *answer = PyObject_CallOneArg(state->imports.iscoroutine, coro);
    if (answer == NULL) {
        return -1;
    }
    int is_coroutine = PyObject_IsTrue(answer);
    Py_DECREF(answer);
    /* Remember the types, but not of a program that makes ever new ones. */
    if (is_coroutine > 0 && PySet_GET_SIZE(state->coroutine_types) < 100 &&
        PySet_Add(state->coroutine_types, type) < 0)
    {
        return -1;
    }
    return is_coroutine;
}

/* Replace the name by a label as al_task_name() tells. Its reference moves. */
static void
task_set_label(al_task *self, uintptr_t label)
{
    PyObject *old = al_task_name(self);

    self->label = label;
    Py_XDECREF(old);
}

/* str(name). -> new reference, or NULL with an exception set. */
static PyObject *
task_name_text(PyObject *name)
{
    return PyUnicode_CheckExact(name) ? Py_NewRef(name) : PyObject_Str(name);
}

static int
task_check_coroutine(al_state *state, al_task *self, PyObject *coro)
{
    int is_coroutine = task_is_coroutine(state, coro);
    if (AL_LIKELY(is_coroutine > 0)) {
        return 0;
    }
    self->future.log_destroy_pending = false;
    if (is_coroutine == 0) {
        PyErr_Format(PyExc_TypeError, "a coroutine was expected, got %R",
                     coro);
    }
    return -1;
}

/* The context as given, or a copy of the current one. -> new reference, or
 * NULL with an exception set. */
static PyObject *
task_choose_context(al_task *self, PyObject *context)
{
    if (context == NULL || context == Py_None) {
        return PyContext_CopyCurrent();
    }
    if (AL_TASK_CHECKS_CONTEXT && !PyContext_CheckExact(context)) {
        self->future.log_destroy_pending = false;
        PyErr_Format(PyExc_TypeError,
                     "a contextvars.Context was expected, got %T", context);
        return NULL;
    }
    return Py_NewRef(context);
}

/* The label for a name as given. 0, or -1 with an exception set (by str()). */
static int
task_make_label(al_state *state, PyObject *name, uintptr_t *label)
{
    if (name == NULL || name == Py_None) {
        *label = al_counter_next(state) * 2 + 1;
        return 0;
    }
    PyObject *text = task_name_text(name);
    *label = (uintptr_t)text;
    return text == NULL ? -1 : 0;
}

/* Let go of what a task had before __init__ came again. */
static void
task_drop(const al_task *old)
{
    Py_XDECREF(old->fut_waiter);
    Py_XDECREF(old->coro);
    Py_XDECREF(old->context);
    Py_XDECREF(al_task_name(old));
}

/* Fill a task whose future part is made, but do not start it. 0, or -1. As in
 * future.c, all fields change before anything is dropped: the old coroutine may
 * have finalisers that know the task. */
static int
task_fill(PyObject *op, al_state *state, PyObject *coro, PyObject *name,
          PyObject *context)
{
    al_task *self = al_task_of(op);
    uintptr_t label;

    if (task_check_coroutine(state, self, coro) < 0) {
        return -1;
    }
    context = task_choose_context(self, context);
    if (context == NULL) {
        return -1;
    }
    if (task_make_label(state, name, &label) < 0) {
        Py_DECREF(context);
        return -1;
    }
    al_task old = *self;
    self->context = context;
    self->coro = Py_NewRef(coro);
    self->fut_waiter = NULL;
    self->label = label;
    self->future.cancels = 0;
    self->future.must_cancel = false;
    self->future.log_destroy_pending = true;
    al_registry_fill_base(state, op);
    int rc = al_registry_fill_name(state, op);
    if (AL_UNLIKELY(old.label != 0)) {
        task_drop(&old);
    }
    return rc;
}

/* Whether `loop`, anybody's, runs in whatever thread: 1, 0, or -1. */
static int
task_loop_is_running(al_state *state, PyObject *loop)
{
    PyObject *result =
        PyObject_CallMethodNoArgs(loop, state->names.is_running);
    if (result == NULL) {
        return -1;
    }
    int is_running = PyObject_IsTrue(result);
    Py_DECREF(result);
    return is_running;
}

/* 0, or -1 with an exception set. */
static int
task_start(PyObject *op, al_state *state, bool eager_start)
{
    if (eager_start) {
        PyObject *loop = Py_NewRef(al_task_of(op)->future.loop);
        int is_running = task_loop_is_running(state, loop);
        Py_DECREF(loop);
        if (is_running != 0) { /* if not in this thread, that fails (3.14) */
            return is_running < 0 ? -1 : al_task_start_eagerly(op);
        }
    }
    if (al_task_step_soon(op) < 0) {
        return -1;
    }
    al_registry_add(state, op);
    return 0;
}

PyObject *
al_task_new(al_loop_head *loop, PyObject *coro, PyObject *name,
            PyObject *context, bool eager_start)
{
    al_state *state = loop->state;
    PyObject *op = al_future_alloc(state->TaskType, state);

    if (op == NULL) {
        return NULL;
    }
    if (al_future_init(op, (PyObject *)loop) < 0 ||
        task_fill(op, state, coro, name, context) < 0 ||
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
    al_state *state = al_future_state_of(op);

    if (al_args_parse_tuple(&signature, args, kwargs, given) < 0) {
        return -1;
    }
    int eager_start = given[4] == NULL ? 0 : PyObject_IsTrue(given[4]);
    if (eager_start < 0 || al_future_init(op, given[1]) < 0 ||
        task_fill(op, state, given[0], given[2], given[3]) < 0)
    {
        return -1;
    }
    return task_start(op, state, eager_start);
}

/* --- cancelling --------------------------------------------------------- */

/* Whether C code may cancel `op` as a Task of ours. */
static inline bool
task_is_plain(al_state *state, PyObject *op)
{
    return Py_IS_TYPE(op, state->TaskType) &&
           !al_future_of(op)->overrides_cancel;
}

int
al_task_cancel_waiter(al_state *state, PyObject *waiter, PyObject *message)
{
    if (task_is_plain(state, waiter)) {
        return al_task_cancel(waiter, message);
    }
    if (Py_IS_TYPE(waiter, state->FutureType) &&
        !al_future_of(waiter)->overrides_cancel)
    {
        return al_future_cancel(waiter, message);
    }
    /* By position, as asyncio's C Task: not every cancel() calls it "msg". */
    PyObject *result =
        PyObject_CallMethodOneArg(waiter, state->names.cancel, message);
    if (result == NULL) {
        return -1;
    }
    int is_cancelled = PyObject_IsTrue(result);
    Py_DECREF(result);
    return is_cancelled;
}

int
al_task_cancel(PyObject *op, PyObject *message)
{
    al_state *state = al_future_state_of(op);
    PyObject *task = op;     /* borrowed: each is held by the one before */
    PyObject *outer = NULL;  /* borrowed: the one that waits for `task` */
    PyObject *landmark = op; /* of Brent's search for a cycle */
    size_t steps = 0, limit = 2;

    /* asyncio recurses; a chain of tasks may be longer than the stack. */
    for (;;) {
        al_task *self = al_task_of(task);
        self->future.log_traceback = false;
        if (self->future.state != AL_FUTURE_PENDING) {
            break; /* cannot be cancelled: the outer task has to be told */
        }
        self->future.cancels++;
        outer = task;
        if (self->fut_waiter == NULL ||
            !task_is_plain(state, self->fut_waiter))
        {
            break;
        }
        task = self->fut_waiter;
        if (task == landmark) {
            PyErr_SetString(PyExc_RecursionError,
                            "maximum recursion depth exceeded: tasks wait "
                            "for each other in a circle");
            return -1;
        }
        if (++steps == limit) {
            steps = 0;
            limit *= 2;
            landmark = task;
        }
    }
    if (outer == NULL) {
        return 0;
    }
    al_task *self = al_task_of(outer);
    if (outer == task && self->fut_waiter != NULL) {
        /* Whose cancel() may be user code and drop everything. */
        Py_INCREF(outer);
        PyObject *waiter = Py_NewRef(self->fut_waiter);
        int rc = al_task_cancel_waiter(state, waiter, message);
        Py_DECREF(waiter);
        if (rc == 0) {
            self->future.must_cancel = true;
            al_future_set_cancel_message(outer, message);
        }
        Py_DECREF(outer);
        return rc < 0 ? -1 : 1;
    }
    self->future.must_cancel = true;
    al_future_set_cancel_message(outer, message);
    return 1;
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
    int rc = al_task_cancel(op, message != NULL ? message : Py_None);
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

PyDoc_STRVAR(Task_cancelling_doc,
             "cancelling($self, /)\n--\n\n"
             "Return the count of the task's cancellation requests.\n\n"
             "cancel() increments it, uncancel() decrements it.");

static PyObject *
Task_cancelling(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(al_task_of(op)->future.cancels);
}

PyDoc_STRVAR(Task_uncancel_doc,
             "uncancel($self, /)\n--\n\n"
             "Decrement the task's count of cancellation requests.\n\n"
             "To be called by who called cancel(). Returns the remaining "
             "number.");

static PyObject *
Task_uncancel(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_future *self = &al_task_of(op)->future;

    if (self->cancels > 0) {
        self->cancels--;
        if (AL_UNCANCEL_CLEARS && self->cancels == 0) {
            self->must_cancel = false;
        }
    }
    return PyLong_FromLong(self->cancels);
}

/* --- Python: methods ---------------------------------------------------- */

PyDoc_STRVAR(Task_get_name_doc, "get_name($self, /)\n--\n\n"
                                "Return the name of the task.");

static PyObject *
Task_get_name(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_task *self = al_task_of(op);

    if (self->label == 0) {
        Py_RETURN_NONE; /* __init__ has not come so far */
    }
    if (al_task_name(self) == NULL) {
        PyObject *name =
            PyUnicode_FromFormat("Task-%zu", (size_t)al_task_number(self));
        if (name == NULL) {
            return NULL;
        }
        task_set_label(self, (uintptr_t)name);
    }
    return Py_NewRef(al_task_name(self));
}

PyDoc_STRVAR(Task_set_name_doc, "set_name($self, value, /)\n--\n\n"
                                "Set the name of the task to str(value).");

static PyObject *
Task_set_name(PyObject *op, PyObject *value)
{
    PyObject *text = task_name_text(value);
    if (text == NULL) {
        return NULL;
    }
    task_set_label(al_task_of(op), (uintptr_t)text);
    if (al_registry_fill_name(al_future_state_of(op), op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Task_get_coro_doc,
             "get_coro($self, /)\n--\n\n"
             "Return the coroutine, or None where it finished in an eager "
             "start.");

static PyObject *
Task_get_coro(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *coro = al_task_of(op)->coro;

    return Py_NewRef(coro != NULL ? coro : Py_None);
}

PyDoc_STRVAR(Task_get_context_doc,
             "get_context($self, /)\n--\n\n"
             "Return the contextvars.Context the task runs in.");

static PyObject *
Task_get_context(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *context = al_task_of(op)->context;

    return Py_NewRef(context != NULL ? context : Py_None);
}

PyDoc_STRVAR(Task_get_stack_doc,
             "get_stack($self, /, *, limit=None)\n--\n\n"
             "Return the list of stack frames of the task's coroutine.\n\n"
             "Where it is suspended; [] if it has ended well or was "
             "cancelled; the frames\nof the traceback if an exception ended "
             "it. `limit` is the maximum number.");

static PyObject *
Task_get_stack(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    static const al_signature signature = {"get_stack", AL_ARGS("limit"), 0, 0,
                                           0};
    PyObject *limit;

    if (al_args_parse(&signature, args, nargs, kwnames, &limit) < 0) {
        return NULL;
    }
    return PyObject_CallFunctionObjArgs(
        al_future_state_of(op)->imports.task_get_stack, op,
        limit != NULL ? limit : Py_None, NULL);
}

PyDoc_STRVAR(Task_print_stack_doc,
             "print_stack($self, /, *, limit=None, file=None)\n--\n\n"
             "Print the stack or traceback of the task's coroutine.\n\n"
             "`limit` is passed to get_stack(), `file` is the stream written "
             "to\n(default: sys.stderr).");

static PyObject *
Task_print_stack(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const al_signature signature = {"print_stack",
                                           AL_ARGS("limit", "file"), 0, 0, 0};
    PyObject *given[2];

    if (al_args_parse(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    return PyObject_CallFunctionObjArgs(
        al_future_state_of(op)->imports.task_print_stack, op,
        given[0] != NULL ? given[0] : Py_None,
        given[1] != NULL ? given[1] : Py_None, NULL);
}

PyDoc_STRVAR(Task_set_result_doc,
             "set_result($self, result, /)\n--\n\n"
             "Raise RuntimeError: the coroutine sets a task's result.");

static PyObject *
Task_set_result(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(result))
{
    PyErr_SetString(PyExc_RuntimeError,
                    "Task does not support set_result operation");
    return NULL;
}

PyDoc_STRVAR(Task_set_exception_doc,
             "set_exception($self, exception, /)\n--\n\n"
             "Raise RuntimeError: the coroutine sets a task's exception.");

static PyObject *
Task_set_exception(PyObject *Py_UNUSED(op), PyObject *Py_UNUSED(exception))
{
    PyErr_SetString(PyExc_RuntimeError,
                    "Task does not support set_exception operation");
    return NULL;
}

static PyObject *
Task_repr(PyObject *op)
{
    if (al_future_check_init(op) < 0) {
        return NULL;
    }
    return PyObject_CallOneArg(al_future_state_of(op)->imports.task_repr, op);
}

/* --- Python: attributes ------------------------------------------------- */

static PyObject *
Task_get__coro(PyObject *op, void *Py_UNUSED(closure))
{
    return Task_get_coro(op, NULL);
}

static PyObject *
Task_get__fut_waiter(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *waiter = al_task_of(op)->fut_waiter;

    return Py_NewRef(waiter != NULL ? waiter : Py_None);
}

static PyObject *
Task_get__must_cancel(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(al_task_of(op)->future.must_cancel);
}

static PyObject *
Task_get__log_destroy_pending(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(al_task_of(op)->future.log_destroy_pending);
}

static int
Task_set__log_destroy_pending(PyObject *op, PyObject *value,
                              void *Py_UNUSED(closure))
{
    int is_true = al_future_bool_attribute(value);
    if (is_true < 0) {
        return -1;
    }
    al_task_of(op)->future.log_destroy_pending = is_true;
    return 0;
}

/* --- Python: lifetime --------------------------------------------------- */

static void
Task_finalize(PyObject *op)
{
    al_future *self = &al_task_of(op)->future;

    if (self->state == AL_FUTURE_PENDING && self->log_destroy_pending &&
        self->loop != NULL)
    {
        al_future_report(
            op, al_future_state_of(op)->names.task,
            PyUnicode_FromString("Task was destroyed but it is pending!"),
            NULL);
    }
    al_future_finalize(op);
}

static void
Task_dealloc(PyObject *op);

static int
Task_traverse(PyObject *op, visitproc visit, void *arg)
{
    al_task *self = al_task_of(op);

#if !AL_FUTURE_BASE_IS_HEAP
    Py_VISIT(Py_TYPE(op));
#endif
    Py_VISIT(self->coro);
    Py_VISIT(self->context);
    Py_VISIT(al_task_name(self));
    Py_VISIT(self->fut_waiter);
    int rc = al_future_traverse(op, visit, arg);
    return rc != 0
               ? rc
               : al_future_base(op, Task_dealloc)->tp_traverse(op, visit, arg);
}

static int
Task_clear(PyObject *op)
{
    al_task *self = al_task_of(op);

    al_registry_remove(op); /* a finaliser may have called __init__ again */
    al_future_clear(op);
    Py_CLEAR(self->coro);
    Py_CLEAR(self->context);
    task_set_label(self, 0);
    Py_CLEAR(self->fut_waiter);
    return al_future_base(op, Task_dealloc)->tp_clear(op);
}

static void
Task_dealloc(PyObject *op)
{
    if (AL_HAS_AWAITED_BY) {
        al_registry_remove(op); /* asyncio does so before the finaliser, too */
    }
    al_future_dealloc(op, Task_dealloc, Task_clear);
}

/* --- type --------------------------------------------------------------- */

static PyMethodDef Task_methods[] = {
    AL_FUTURE_COMMON_METHODS,
    {"cancel", (PyCFunction)(void (*)(void))Task_cancel,
     METH_FASTCALL | METH_KEYWORDS, Task_cancel_doc},
    {"cancelling", Task_cancelling, METH_NOARGS, Task_cancelling_doc},
    {"uncancel", Task_uncancel, METH_NOARGS, Task_uncancel_doc},
    {"get_name", Task_get_name, METH_NOARGS, Task_get_name_doc},
    {"set_name", Task_set_name, METH_O, Task_set_name_doc},
    {"get_coro", Task_get_coro, METH_NOARGS, Task_get_coro_doc},
    {"get_context", Task_get_context, METH_NOARGS, Task_get_context_doc},
    {"get_stack", (PyCFunction)(void (*)(void))Task_get_stack,
     METH_FASTCALL | METH_KEYWORDS, Task_get_stack_doc},
    {"print_stack", (PyCFunction)(void (*)(void))Task_print_stack,
     METH_FASTCALL | METH_KEYWORDS, Task_print_stack_doc},
    {"set_result", Task_set_result, METH_O, Task_set_result_doc},
    {"set_exception", Task_set_exception, METH_O, Task_set_exception_doc},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef Task_getset[] = {
    AL_FUTURE_COMMON_GETSET,
    {"_coro", Task_get__coro, NULL, NULL, NULL},
    {"_fut_waiter", Task_get__fut_waiter, NULL, NULL, NULL},
    {"_must_cancel", Task_get__must_cancel, NULL, NULL, NULL},
    {"_log_destroy_pending", Task_get__log_destroy_pending,
     Task_set__log_destroy_pending, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot Task_slots[] = {{Py_tp_doc, (void *)Task_doc},
                                   {Py_tp_new, al_future_tp_new},
                                   {Py_tp_init, Task_init},
                                   {Py_tp_repr, Task_repr},
                                   {Py_tp_setattro, al_future_setattro},
                                   {Py_tp_iter, al_future_iter_new},
                                   {Py_am_await, al_future_iter_new},
                                   {Py_tp_methods, Task_methods},
                                   {Py_tp_getset, Task_getset},
                                   {Py_tp_traverse, Task_traverse},
                                   {Py_tp_clear, Task_clear},
                                   {Py_tp_finalize, Task_finalize},
                                   {Py_tp_dealloc, Task_dealloc},
                                   {0, NULL}};

static const PyType_Spec Task_spec = {
    .name = "asyncloop._core.Task",
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
              Py_TPFLAGS_IMMUTABLETYPE),
    .slots = Task_slots,
};

/* Make Task a subclass of our Future as well, which it is in asyncio. Two bases
 * would not do: each is larger than the base that they share. But what takes a
 * Future of ours finds the state in a Task, too (al_future_of()), so to stand
 * in the order of look-up is enough. 0, or -1 with an exception set. */
static int
task_inherit_future(al_state *state)
{
    PyTypeObject *type = state->TaskType;
    PyObject *order = PyTuple_New(PyTuple_GET_SIZE(type->tp_mro) + 1);
    Py_ssize_t n = 0;

    if (order == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(type->tp_mro); i++) {
        PyObject *cls = PyTuple_GET_ITEM(type->tp_mro, i);
        if (cls == state->imports.asyncio_Future) {
            PyTuple_SET_ITEM(order, n++, Py_NewRef(state->FutureType));
        }
        PyTuple_SET_ITEM(order, n++, Py_NewRef(cls));
    }
    assert(n == PyTuple_GET_SIZE(order));
    Py_SETREF(type->tp_mro, order);
    PyType_Modified(type);
    return 0;
}

int
al_task_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->TaskType = al_future_add_type(
        module, &Task_spec, state->imports.asyncio_Task, sizeof(al_task));
    if (state->TaskType == NULL) {
        return -1;
    }
    al_task_offset = state->TaskType->AL_FUTURE_OFFSET;
    return task_inherit_future(state);
}
