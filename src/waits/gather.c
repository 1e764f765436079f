/* gather.c - asyncio.gather(): a future for the results of others.
 *
 *     gather(a(), b(), future)
 *            |    |      |
 *          task  task  future  --- done ---> Gathering counts ---> outer future
 *
 * Here is what is usual: coroutines and pending futures of ours, on a loop of
 * ours that runs, each once.  For all else asyncio's own function is called.
 * The outer future is asyncio's, too: its cancel() cancels the others. */
#include "waits/gather.h"

#include "base/args.h"
#include "base/call.h"
#include "task/future.h"
#include "task/registry.h"
#include "task/task.h"
#include "waits/callback.h"
#include "waits/clock.h"

/* The callback of the futures that are gathered. */
typedef struct {
    PyObject_VAR_HEAD /* ob_size: how many children */
    vectorcallfunc vectorcall;
    al_state *state;     /* owned */
    PyObject *outer;     /* owned future, NULL <=> it was not made yet */
    PyObject *task;      /* owned: the task that gathers, or NULL */
    Py_ssize_t finished; /* how many children are done */
    bool returns_exceptions;
    /* Owned futures of ours. NULL: not there yet, but then `outer` is not,
     * either. No list, which a program could find and change. */
    PyObject *children[];
} GatheringObject;

#define GatheringObject_CAST(op) ((GatheringObject *)(op))

/* --- the outcome of one ------------------------------------------------------ */

/* child.exception(), which marks it as retrieved. -> new reference to it or to
 * None; or NULL with an exception set. */
static PyObject *
gather_exception_of(const GatheringObject *self, PyObject *child)
{
    return PyObject_CallMethodNoArgs(child, self->state->names.exception);
}

static inline bool
gather_has_result(PyObject *child)
{
    const al_future *future = al_future_of(child);

    return future->state == AL_FUTURE_FINISHED && future->exception == NULL;
}

static inline bool
gather_is_cancelled(PyObject *child)
{
    return al_future_of(child)->state == AL_FUTURE_CANCELLED;
}

/* CancelledError(message) of a cancelled one, which nobody raises. -> new
 * reference, or NULL. */
static PyObject *
gather_cancelled_error(const GatheringObject *self, PyObject *child)
{
    PyObject *message = al_future_cancel_message(child);

    if (message == Py_None) {
        Py_SETREF(message, PyUnicode_FromString(""));
    }
    PyObject *exc = message == NULL
                        ? NULL
                        : PyObject_CallOneArg(
                              self->state->imports.CancelledError, message);
    Py_XDECREF(message);
    return exc;
}

/* What stands in the list of results. -> new reference, or NULL. */
static PyObject *
gather_result_of(const GatheringObject *self, PyObject *child)
{
    PyObject *result;

    if (AL_UNLIKELY(!gather_has_result(child))) {
        return gather_is_cancelled(child) ? gather_cancelled_error(self, child)
                                          : gather_exception_of(self, child);
    }
    return al_future_take(child, &result) < 0 ? NULL : result;
}

/* --- the outcome of all ---------------------------------------------------------- */

/* outer.set_exception(exc); `exc` is stolen, or NULL. 0, or -1. */
static int
gather_fail(const GatheringObject *self, PyObject *exc)
{
    if (exc == NULL) {
        return -1;
    }
    int rc = al_call_finish(PyObject_CallMethodOneArg(
        self->outer, self->state->names.set_exception, exc));
    Py_DECREF(exc);
    return rc;
}

/* Set the result of the outer future: all others are done. 0, or -1. */
static int
gather_finish(const GatheringObject *self)
{
    Py_ssize_t count = Py_SIZE(self);
    PyObject *results = PyList_New(count);
    int rc = -1;

    for (Py_ssize_t i = 0; results != NULL && i < count; i++) {
        PyObject *result = gather_result_of(self, self->children[i]);
        if (result == NULL) {
            Py_CLEAR(results);
        }
        else {
            PyList_SET_ITEM(results, i, result);
        }
    }
    if (results == NULL) {
        return -1;
    }
    int is_cancelled = al_call_is_true(
        PyObject_GetAttr(self->outer, self->state->names._cancel_requested));
    if (is_cancelled > 0) {
        PyObject *last = self->children[count - 1];
        rc = gather_fail(self,
                         PyObject_CallMethodNoArgs(
                             last, self->state->names._make_cancelled_error));
    }
    else if (is_cancelled == 0) {
        rc = al_call_finish(PyObject_CallMethodOneArg(
            self->outer, self->state->names.set_result, results));
    }
    Py_DECREF(results);
    return rc;
}

/* The task awaits none of them any longer: with a patch release. 0, or -1. */
static int
gather_end_awaits(const GatheringObject *self)
{
    if (self->task == NULL ||
        self->state->imports.gather_forgets_all != Py_True)
    {
        return 0;
    }
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) {
        if (al_registry_end_await(self->state, self->children[i], self->task) <
            0)
        {
            return -1;
        }
    }
    return 0;
}

/* One is done without a result, and that ends it. 0, or -1. */
static int
gather_pass_on(const GatheringObject *self, PyObject *child)
{
    PyObject *exc = gather_is_cancelled(child)
                        ? PyObject_CallMethodNoArgs(
                              child, self->state->names._make_cancelled_error)
                        : gather_exception_of(self, child);

    if (exc != NULL && gather_end_awaits(self) < 0) {
        Py_CLEAR(exc);
    }
    return gather_fail(self, exc);
}

/* One is done: 0, or -1 with an exception set. */
static int
gather_note(GatheringObject *self, PyObject *child)
{
    self->finished++;
    if (self->task != NULL &&
        al_registry_end_await(self->state, child, self->task) < 0)
    {
        return -1;
    }
    if (self->outer == NULL || al_future_is_done(self->outer)) {
        return gather_has_result(child) || gather_is_cancelled(child)
                   ? 0
                   : al_call_finish(gather_exception_of(self, child));
    }
    if (!self->returns_exceptions && !gather_has_result(child)) {
        return gather_pass_on(self, child);
    }
    return self->finished == Py_SIZE(self) ? gather_finish(self) : 0;
}

static PyObject *
Gathering_vectorcall(PyObject *op, PyObject *const *args, size_t nargsf,
                     PyObject *kwnames)
{
    GatheringObject *self = GatheringObject_CAST(op);

    if (!al_callback_check(self->state, args, nargsf, kwnames)) {
        return NULL;
    }
    Py_INCREF(op);
    int rc;
    AL_LOCK(op);
    rc = gather_note(self, args[0]);
    AL_UNLOCK();
    Py_DECREF(op);
    return al_call_none(rc);
}

/* --- gather() ------------------------------------------------------------------------ */

/* Whether the arguments are what is usual: true. */
static bool
gather_is_usual(const al_state *state, PyObject *loop, PyObject *const *args,
                Py_ssize_t nargs)
{
    for (Py_ssize_t i = 0; i < nargs; i++) {
        PyObject *arg = args[i];
        bool is_coroutine =
            PyCoro_CheckExact(arg) || Py_IS_TYPE(arg, state->AwaitableType);
        if (!is_coroutine &&
            (!al_future_check_exact(state, arg) ||
             al_future_of(arg)->loop != loop || al_future_is_done(arg)))
        {
            return false;
        }
    }
    return true;
}

/* Whether one stands twice: 1, 0, or -1 with an exception set. */
static int
gather_has_twins(PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs <= 16) {
        for (Py_ssize_t i = 1; i < nargs; i++) {
            for (Py_ssize_t j = 0; j < i; j++) {
                if (args[i] == args[j]) {
                    return 1;
                }
            }
        }
        return 0;
    }
    PyObject *set = PySet_New(NULL);
    int rc = set == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; rc == 0 && i < nargs; i++) {
        rc = PySet_Add(set, args[i]);
    }
    if (rc == 0) {
        rc = PySet_GET_SIZE(set) < nargs;
    }
    Py_XDECREF(set);
    return rc;
}

/* Set child number `i`, a task or future: 0, or -1 with an exception set. */
static int
gather_add(GatheringObject *self, Py_ssize_t i, al_loop_head *loop,
           PyObject *arg, PyObject *context)
{
    bool is_future = al_future_check_exact(self->state, arg);
    PyObject *child =
        is_future ? Py_NewRef(arg) : al_task_new(loop, arg, NULL, NULL, false);

    if (child == NULL) {
        return -1;
    }
    self->children[i] = child;
    if (!is_future) {
        AL_TASK_FLAGS(al_task_of(child))->log_destroy_pending = false;
    }
    if (self->task != NULL &&
        al_registry_begin_await(self->state, child, self->task) < 0)
    {
        return -1;
    }
    return al_future_add_callback(child, (PyObject *)self, context);
}

/* asyncio.tasks._GatheringFuture(children, loop=loop). 0, or -1. */
static int
gather_make_outer(GatheringObject *self, PyObject *loop)
{
    al_state *state = self->state;
    PyObject *children = PyList_New(Py_SIZE(self));
    PyObject *stack[2] = {children, loop};

    if (children == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) {
        PyList_SET_ITEM(children, i, Py_NewRef(self->children[i]));
    }
    self->outer = PyObject_Vectorcall(state->imports.GatheringFuture, stack, 1,
                                      state->loop_kwnames);
    Py_DECREF(children);
    if (self->outer != NULL &&
        !PyObject_TypeCheck(self->outer,
                            (PyTypeObject *)state->imports.asyncio_Future))
    {
        PyErr_SetString(PyExc_TypeError, "_GatheringFuture is no Future");
        Py_CLEAR(self->outer);
    }
    return self->outer == NULL ? -1 : 0;
}

static GatheringObject *
gather_new(al_state *state, Py_ssize_t count, bool returns_exceptions,
           PyObject *task)
{
    GatheringObject *self =
        PyObject_GC_NewVar(GatheringObject, state->GatheringType, count);
    if (self == NULL) {
        return NULL;
    }
    AL_COUNT(state->GatheringType, 1);
    self->vectorcall = Gathering_vectorcall;
    self->state = al_state_own(state);
    memset(self->children, 0, (size_t)count * sizeof(PyObject *));
    self->outer = NULL;
    self->task = task == Py_None ? NULL : Py_NewRef(task);
    self->finished = 0;
    self->returns_exceptions = returns_exceptions;
    PyObject_GC_Track((PyObject *)self);
    return self;
}

/* -> the outer future, or NULL with an exception set. */
static PyObject *
gather_all(al_state *state, al_loop_head *loop, PyObject *task,
           PyObject *const *args, Py_ssize_t nargs, bool returns_exceptions)
{
    GatheringObject *self = gather_new(state, nargs, returns_exceptions, task);
    PyObject *context = self == NULL ? NULL : PyContext_CopyCurrent();
    PyObject *outer = NULL;
    int rc = context == NULL ? -1 : 0;

    for (Py_ssize_t i = 0; rc == 0 && i < nargs; i++) {
        rc = gather_add(self, i, loop, args[i], context);
    }
    if (rc == 0 && gather_make_outer(self, (PyObject *)loop) == 0) {
        outer = Py_NewRef(self->outer);
    }
    Py_XDECREF(context);
    Py_XDECREF((PyObject *)self);
    return outer;
}

/* Only return_exceptions=True or False: 1 and *value; else 0. */
static int
gather_parse(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
             bool *value)
{
    *value = false;
    if (kwnames == NULL) {
        return 1;
    }
    if (PyTuple_GET_SIZE(kwnames) != 1 || !PyBool_Check(args[nargs]) ||
        !PyUnicode_EqualToUTF8(PyTuple_GET_ITEM(kwnames, 0),
                               "return_exceptions"))
    {
        return 0;
    }
    *value = args[nargs] == Py_True;
    return 1;
}

/* As gather(): NULL without an exception if asyncio's function has to do it. */
static PyObject *
gather_usual(al_state *state, PyObject *const *args, Py_ssize_t nargs,
             PyObject *kwnames)
{
    bool returns_exceptions;
    PyObject *result = NULL, *task = NULL;

    if (nargs == 0 || state->imports.GatheringFuture == Py_None ||
        !gather_parse(args, nargs, kwnames, &returns_exceptions))
    {
        return NULL;
    }
    if (al_call_finds(state->imports.tasks_globals, state->names.ensure_future,
                      state->imports.ensure_future) <= 0)
    {
        return NULL;
    }
    PyObject *loop = al_clock_loop_or_none(state);
    if (loop == NULL) {
        return NULL;
    }
    al_loop_head *head = al_task_direct_loop(loop);
    int rc = head != NULL && gather_is_usual(state, loop, args, nargs)
                 ? gather_has_twins(args, nargs)
                 : 1;
    if (rc == 0) {
        task = al_clock_current_task(state, loop);
    }
    if (task != NULL && (task == Py_None || Py_IS_TYPE(task, state->TaskType)))
    {
        result =
            gather_all(state, head, task, args, nargs, returns_exceptions);
    }
    Py_XDECREF(task);
    Py_DECREF(loop);
    return result;
}

PyDoc_STRVAR(
    gather_doc,
    "gather(*coros_or_futures, return_exceptions=False)\n--\n\n"
    "Return a future for the list of the results: asyncio.gather().\n\n"
    "The first exception is its exception, unless "
    "`return_exceptions` is true: then\nexceptions stand in the "
    "list.");

static PyObject *
gather_py_gather(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    al_state *state = al_state_from_module(module);
    PyObject *outer = gather_usual(state, args, nargs, kwnames);

    if (AL_LIKELY(outer != NULL) || PyErr_Occurred()) {
        return outer;
    }
    return PyObject_Vectorcall(state->imports.stock_gather, args,
                               (size_t)nargs, kwnames);
}

/* --- type ------------------------------------------------------------------------------ */

static PyObject *
Gathering_get_name(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return PyUnicode_FromString("gather.<locals>._done_callback");
}

static int
Gathering_traverse(PyObject *op, visitproc visit, void *arg)
{
    GatheringObject *self = GatheringObject_CAST(op);

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->outer);
    Py_VISIT(self->task);
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) {
        Py_VISIT(self->children[i]);
    }
    return 0;
}

/* The children stay: what is done later needs them. They break the cycle. */
static int
Gathering_clear(PyObject *op)
{
    Py_CLEAR(GatheringObject_CAST(op)->outer);
    Py_CLEAR(GatheringObject_CAST(op)->task);
    return 0;
}

static void
Gathering_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    al_state *state = GatheringObject_CAST(op)->state;

    PyObject_GC_UnTrack(op);
    (void)Gathering_clear(op);
    for (Py_ssize_t i = 0; i < Py_SIZE(op); i++) {
        Py_XDECREF(GatheringObject_CAST(op)->children[i]);
    }
    AL_COUNT(type, -1);
    PyObject_GC_Del(op);
    Py_DECREF(type);
    al_state_disown(state);
}

static PyMemberDef Gathering_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(GatheringObject, vectorcall),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};

static PyGetSetDef Gathering_getset[] = {
    {"__name__", Gathering_get_name, NULL, NULL, NULL},
    {"__qualname__", Gathering_get_name, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(Gathering_doc, "The callback of the futures of a gather().");

static PyType_Slot Gathering_slots[] = {
    {Py_tp_doc, (void *)Gathering_doc},   {Py_tp_dealloc, Gathering_dealloc},
    {Py_tp_traverse, Gathering_traverse}, {Py_tp_clear, Gathering_clear},
    {Py_tp_call, PyVectorcall_Call},      {Py_tp_members, Gathering_members},
    {Py_tp_getset, Gathering_getset},     {0, NULL}};

static PyType_Spec Gathering_spec = {
    .name = "asyncloop._core.Gathering",
    .basicsize = sizeof(GatheringObject),
    .itemsize = sizeof(PyObject *),
    .flags =
        (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
         Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION),
    .slots = Gathering_slots,
};

static PyMethodDef gather_functions[] = {
    {"gather", AL_KEYWORDS(gather_py_gather), gather_doc},
    {NULL, NULL, 0, NULL}};

int
al_gather_init(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->loop_kwnames = PyTuple_Pack(1, state->names.loop);
    if (state->loop_kwnames == NULL) {
        return -1;
    }
    state->GatheringType = al_state_add_type(module, &Gathering_spec, NULL);
    return state->GatheringType == NULL
               ? -1
               : PyModule_AddFunctions(module, gather_functions);
}
