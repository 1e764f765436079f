/* wait.c - asyncio.wait(): until futures are done.
 *
 *     {future, future, future} -- each is done --> Waiting counts
 *                                                     | enough
 *              wait() awaits ------> waiter <---------+
 *                                      ^
 *                 timeout, a timer ----+
 *
 * Here is what is usual: a list, tuple or set of futures of ours, on a loop of
 * ours that runs.  For all else asyncio's own function is called.
 *
 * The futures are taken from a set, as in asyncio.  If all are done at the end,
 * it is the set that is returned. */
#include "waits/wait.h"

#include "base/args.h"
#include "base/call.h"
#include "base/errors.h"
#include "primitives/awaitable.h"
#include "task/future.h"
#include "task/registry.h"
#include "waits/callback.h"
#include "waits/clock.h"
#include "waits/function.h"

#include <math.h>

/* The places of the operation. */
enum { WAIT_INSIDE, WAIT_AS_STOCK };

/* await->argument is what to wait for; NULL: it waits. await->saved is a tuple (timeout,
 * return_when) at first, or NULL if neither was given; then the Waiting. */

/* What is enough. */
typedef enum {
    WAIT_UNKNOWN,
    WAIT_FOR_ALL,
    WAIT_FOR_ONE,
    WAIT_FOR_EXCEPTION,
} wait_return_when;

/* The callback of the futures that are waited for. */
typedef struct {
    PyObject_VAR_HEAD /* ob_size: how many futures */
    vectorcallfunc vectorcall;
    al_state *state;      /* owned */
    PyObject *all;        /* owned set of the futures */
    PyObject *waiter;     /* owned future of ours, or NULL: not there yet */
    PyObject *timer;      /* owned handle, or NULL: there is no timeout */
    PyObject *task;       /* owned: the task that waits, or NULL */
    Py_ssize_t remaining; /* how many futures are pending */
    wait_return_when return_when;
    PyObject *futures[]; /* owned, of ours */
} WaitingObject;

#define WaitingObject_CAST(op) ((WaitingObject *)(op))

/* --- one is done ----------------------------------------------------------- */

/* Whether that is enough: 1, 0, or -1 with an exception set. */
static int
wait_is_enough(const WaitingObject *self, PyObject *future)
{
    if (self->remaining <= 0 || self->return_when == WAIT_FOR_ONE) {
        return 1;
    }
    if (self->return_when == WAIT_FOR_ALL ||
        AL_LOAD(al_future_of(future)->state) == AL_FUTURE_CANCELLED)
    {
        return 0;
    }
    /* It counts as retrieved. */
    PyObject *exc =
        PyObject_CallMethodNoArgs(future, self->state->names.exception);
    int rc = exc == NULL ? -1 : exc != Py_None;
    Py_XDECREF(exc);
    return rc;
}

/* Cancel the timer, if there is one. 0, or -1. */
static int
wait_disarm(const WaitingObject *self)
{
    PyObject *timer = Py_XNewRef(self->timer);
    int rc = timer == NULL ? 0 : al_clock_disarm(self->state, timer);

    Py_XDECREF(timer);
    return rc;
}

/* End the wait. 0, or -1. */
static int
wait_wake(const WaitingObject *self)
{
    PyObject *waiter = Py_XNewRef(self->waiter);
    int rc = wait_disarm(self);

    if (rc == 0 && waiter != NULL && !al_future_is_done(waiter)) {
        rc = al_future_set_result(waiter, Py_None);
    }
    Py_XDECREF(waiter);
    return rc;
}

/* The task awaits the future no longer. 0, or -1. */
static int
wait_end_await(const WaitingObject *self, PyObject *future)
{
    PyObject *task = Py_XNewRef(self->task);
    int rc =
        task == NULL ? 0 : al_registry_end_await(self->state, future, task);

    Py_XDECREF(task);
    return rc;
}

static int
wait_note(WaitingObject *self, PyObject *future)
{
    self->remaining--;
    int is_enough = wait_is_enough(self, future);
    if (is_enough < 0 || (is_enough > 0 && wait_wake(self) < 0)) {
        return -1;
    }
    return wait_end_await(self, future);
}

static PyObject *
Waiting_vectorcall(PyObject *op, PyObject *const *args, size_t nargsf,
                   PyObject *kwnames)
{
    WaitingObject *self = WaitingObject_CAST(op);

    if (!al_callback_check(self->state, args, nargsf, kwnames)) {
        return NULL;
    }
    Py_INCREF(op);
    int rc;
    AL_LOCK(op);
    rc = wait_note(self, args[0]);
    AL_UNLOCK();
    Py_DECREF(op);
    return al_call_none(rc);
}

/* --- the wait is over ------------------------------------------------------- */

/* Cancel the timer and forget the futures, as asyncio does in `finally`. 0, or
 * -1. */
static int
wait_leave(const WaitingObject *self)
{
    int rc = wait_disarm(self);

    for (Py_ssize_t i = 0; rc == 0 && i < Py_SIZE(self); i++) {
        PyObject *future = self->futures[i];
        if (!al_future_is_done(future)) {
            rc = al_call_finish(PyObject_CallMethodOneArg(
                future, self->state->names.remove_done_callback,
                (PyObject *)self));
        }
        if (rc == 0) {
            rc = wait_end_await(self, future);
        }
    }
    return rc;
}

/* -> the set of all futures if they are all done and nobody has changed it,
 * else NULL. Borrowed. */
static PyObject *
wait_done_set(const WaitingObject *self)
{
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) {
        if (!al_future_is_done(self->futures[i])) {
            return NULL;
        }
    }
    return self->all != NULL && PySet_GET_SIZE(self->all) == Py_SIZE(self)
               ? self->all
               : NULL;
}

/* Add each future to one of the sets: 0, or -1 with an exception set. */
static int
wait_sort(const WaitingObject *self, PyObject *done, PyObject *pending)
{
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) {
        PyObject *future = self->futures[i];
        if (PySet_Add(al_future_is_done(future) ? done : pending, future) < 0)
        {
            return -1;
        }
    }
    return 0;
}

/* -> (done, pending), or NULL with an exception set. */
static PyObject *
wait_result(const WaitingObject *self)
{
    PyObject *all = wait_done_set(self), *result = NULL;
    PyObject *done = all != NULL ? Py_NewRef(all) : PySet_New(NULL);
    PyObject *pending = done == NULL ? NULL : PySet_New(NULL);

    if (pending != NULL &&
        (all != NULL || wait_sort(self, done, pending) == 0))
    {
        result = PyTuple_Pack(2, done, pending);
    }
    Py_XDECREF(done);
    Py_XDECREF(pending);
    return result;
}

static al_outcome
wait_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    if (AL_UNLIKELY(await->place == WAIT_AS_STOCK)) {
        return al_awaitable_hand_on(await, value, result);
    }
    PyObject *raised = value == NULL ? PyErr_GetRaisedException() : NULL;
    PyObject *waiting = Py_NewRef(await->saved);
    al_outcome outcome = AL_RAISES;

    if (AL_UNLIKELY(wait_leave(WaitingObject_CAST(waiting)) < 0)) {
        if (raised != NULL) {
            al_error_chain(raised);
        }
    }
    else if (raised != NULL) {
        PyErr_SetRaisedException(raised);
    }
    else {
        *result = wait_result(WaitingObject_CAST(waiting));
        outcome = *result == NULL ? AL_RAISES : AL_RETURNS;
    }
    Py_DECREF(waiting);
    return outcome;
}

/* --- the wait begins --------------------------------------------------------- */

/* -> new reference to the callback of `futures`, a set (stolen) of futures of
 * ours; NULL without an exception if there is something else among them. */
static WaitingObject *
wait_new(al_state *state, PyObject *futures, wait_return_when return_when)
{
    Py_ssize_t i = 0, count = PySet_GET_SIZE(futures);
    PyObject *future, *iterator = PyObject_GetIter(futures);
    WaitingObject *self =
        iterator == NULL
            ? NULL
            : PyObject_GC_NewVar(WaitingObject, state->WaitingType, count);

    if (self == NULL) {
        Py_XDECREF(iterator);
        Py_DECREF(futures);
        return NULL;
    }
    AL_COUNT(state->WaitingType, 1);
    self->vectorcall = Waiting_vectorcall;
    self->state = al_state_own(state);
    memset(self->futures, 0, (size_t)count * sizeof(PyObject *));
    self->all = futures; /* moved to here */
    self->waiter = self->timer = self->task = NULL;
    self->remaining = count;
    self->return_when = return_when;
    while (i < count && (future = PyIter_Next(iterator)) != NULL) {
        self->futures[i] = future; /* moved to here */
        if (!al_future_check_exact(state, future)) {
            break;
        }
        i++;
    }
    Py_DECREF(iterator);
    PyObject_GC_Track((PyObject *)self);
    if (i < count) { /* an exception may be set */
        Py_CLEAR(self);
    }
    return self;
}

/* Whether all items of a tuple are futures of ours: then set() of it calls no
 * method of the program. */
static bool
wait_are_futures(const al_state *state, PyObject *tuple)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++) {
        if (!al_future_check_exact(state, PyTuple_GET_ITEM(tuple, i))) {
            return false;
        }
    }
    return true;
}

/* set(futures). -> new reference; NULL without an exception if asyncio has to do
 * it. */
static PyObject *
wait_set_of(const al_state *state, PyObject *futures)
{
    PyObject *set = NULL;

    if (PySet_CheckExact(futures) || PyFrozenSet_CheckExact(futures)) {
        return PySet_New(futures); /* copies what it has of their hashes */
    }
    if (!PyList_CheckExact(futures) && !PyTuple_CheckExact(futures)) {
        return NULL;
    }
    PyObject *tuple = PyTuple_CheckExact(futures) ? Py_NewRef(futures)
                                                  : PyList_AsTuple(futures);
    if (tuple != NULL && wait_are_futures(state, tuple)) {
        set = PySet_New(tuple);
    }
    Py_XDECREF(tuple);
    return set;
}

/* Which constant of asyncio's `return_when` is. */
static wait_return_when
wait_parse(PyObject *return_when)
{
    if (return_when == NULL) {
        return WAIT_FOR_ALL;
    }
    if (!PyUnicode_CheckExact(return_when)) {
        return WAIT_UNKNOWN;
    }
    return PyUnicode_EqualToUTF8(return_when, "ALL_COMPLETED") ? WAIT_FOR_ALL
           : PyUnicode_EqualToUTF8(return_when, "FIRST_COMPLETED")
               ? WAIT_FOR_ONE
           : PyUnicode_EqualToUTF8(return_when, "FIRST_EXCEPTION")
               ? WAIT_FOR_EXCEPTION
               : WAIT_UNKNOWN;
}

/* Whether the running loop is ours, the loop of all the futures, and would do
 * nothing else than we. */
static bool
wait_is_direct(const WaitingObject *self, PyObject *loop)
{
    if (al_clock_direct_loop(loop) == NULL) {
        return false;
    }
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) {
        if (al_future_of(self->futures[i])->loop != loop) {
            return false;
        }
    }
    return true;
}

/* Make the waiter, and the timer if `timeout` is not None. 0, or -1 with an
 * exception set. */
static int
wait_arm(WaitingObject *self, PyObject *loop, PyObject *timeout,
         double seconds)
{
    self->waiter = al_future_make(al_loop_head_CAST(loop));
    if (self->waiter == NULL) {
        return -1;
    }
    if (timeout != Py_None) {
        self->timer = al_clock_call_later(self->state, loop, timeout, seconds,
                                          self->state->imports.release_waiter,
                                          self->waiter, NULL);
    }
    return timeout != Py_None && self->timer == NULL ? -1 : 0;
}

/* Have the futures tell us. 0, or -1 with an exception set. */
static int
wait_watch(WaitingObject *self)
{
    PyObject *context = PyContext_CopyCurrent();
    int rc = context == NULL ? -1 : 0;

    for (Py_ssize_t i = 0; rc == 0 && i < Py_SIZE(self); i++) {
        PyObject *future = self->futures[i];
        rc = al_future_add_callback(future, (PyObject *)self, context);
        if (rc == 0 && self->task != NULL) {
            rc = al_registry_begin_await(self->state, future, self->task);
        }
    }
    Py_XDECREF(context);
    return rc;
}

/* `loop` is the running loop. 1; 0 if asyncio has to do it; -1 with an exception
 * set. */
static int
wait_begin_on(WaitingObject *self, PyObject *loop, PyObject *timeout)
{
    double seconds = 0;

    if (!wait_is_direct(self, loop) ||
        (timeout != Py_None &&
         (!al_clock_seconds(timeout, &seconds) || isnan(seconds))))
    {
        return 0;
    }
    int rc = al_clock_awaiting_task(self->state, NULL, &self->task);
    if (rc <= 0) {
        return rc;
    }
    return wait_arm(self, loop, timeout, seconds) < 0 || wait_watch(self) < 0
               ? -1
               : 1;
}

/* -> new reference to what waits now; NULL without an exception if asyncio has
 * to do it. */
static WaitingObject *
wait_begin(al_state *state, PyObject *futures, PyObject *timeout,
           PyObject *return_when)
{
    wait_return_when parsed = wait_parse(return_when);

    if (parsed == WAIT_UNKNOWN || state->imports.wait_is_known != Py_True) {
        return NULL;
    }
    PyObject *set = wait_set_of(state, futures);
    if (set == NULL || PySet_GET_SIZE(set) == 0) {
        Py_XDECREF(set);
        return NULL;
    }
    WaitingObject *self = wait_new(state, set, parsed);
    PyObject *loop = self == NULL ? NULL : al_clock_running_loop(state);
    if (loop == NULL) {
        Py_XDECREF((PyObject *)self);
        return NULL;
    }
    if (wait_begin_on(self, loop, timeout) <= 0) {
        Py_CLEAR(self);
    }
    Py_DECREF(loop);
    return self;
}

/* Await asyncio's wait(). */
static al_outcome
wait_as_stock(al_awaitable *await, PyObject *timeout, PyObject *return_when)
{
    al_state *state = await->state;
    PyObject *stack[3] = {await->argument, timeout,
                          return_when != NULL ? return_when
                                              : state->imports.ALL_COMPLETED};

    await->place = WAIT_AS_STOCK;
    return al_awaitable_wait_stolen(
        await, PyObject_Vectorcall(state->imports.stock_wait, stack, 1,
                                   state->wait_kwnames));
}

static al_outcome
wait_start(al_awaitable *await, PyObject **Py_UNUSED(result))
{
    PyObject *timeout = Py_None, *return_when = NULL;
    PyObject *given = Py_XNewRef(await->saved);
    al_outcome outcome = AL_RAISES;

    if (given != NULL) {
        timeout = PyTuple_GET_ITEM(given, 0);
        return_when = PyTuple_GET_ITEM(given, 1);
    }
    WaitingObject *waiting =
        wait_begin(await->state, await->argument, timeout, return_when);
    if (AL_LIKELY(waiting != NULL)) {
        await->place = WAIT_INSIDE;
        Py_XSETREF(await->saved, (PyObject *)waiting);
        Py_CLEAR(await->argument);
        outcome = al_awaitable_wait(await, waiting->waiter);
    }
    else if (!PyErr_Occurred()) {
        outcome = wait_as_stock(await, timeout, return_when);
    }
    Py_XDECREF(given);
    return outcome;
}

static const al_operation wait_operation = {"wait", wait_start, wait_resume};

/* --- Python ------------------------------------------------------------------ */

static PyObject *
wait_call(al_state *state, PyObject *const *args, Py_ssize_t nargs,
          PyObject *kwnames)
{
    static const al_signature signature = {
        "wait", AL_ARGS("fs", "timeout", "return_when"), 1, 1, 0};
    PyObject *given[3] = {NULL}, *saved = NULL;

    if (al_args_parse(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    if (given[1] != NULL || given[2] != NULL) {
        saved = PyTuple_Pack(2, al_or_none(given[1]),
                             given[2] != NULL ? given[2]
                                              : state->imports.ALL_COMPLETED);
        if (saved == NULL) {
            return NULL;
        }
    }
    PyObject *await = al_awaitable_new(state, &wait_operation, NULL, given[0]);
    if (await == NULL) {
        Py_XDECREF(saved);
        return NULL;
    }
    al_awaitable_CAST(await)->saved = saved;
    return await;
}

static const al_function wait_function = {
    "wait",
    "Return two sets, of the futures of `fs` that are done and of those that "
    "are\npending; to be awaited: asyncio.wait().\n\n"
    "It waits until one is done (`return_when` is FIRST_COMPLETED), until one "
    "has an\nexception (FIRST_EXCEPTION) or until all are done, but no longer "
    "than `timeout`\nseconds. `timeout` may be None: there is no limit.",
    wait_call};

/* --- type -------------------------------------------------------------------- */

static PyObject *
Waiting_get_name(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return PyUnicode_FromString("_on_completion");
}

static PyObject *
Waiting_get_qualname(PyObject *Py_UNUSED(op), void *Py_UNUSED(closure))
{
    return PyUnicode_FromString("_wait.<locals>._on_completion");
}

static int
Waiting_traverse(PyObject *op, visitproc visit, void *arg)
{
    WaitingObject *self = WaitingObject_CAST(op);

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->all);
    Py_VISIT(self->waiter);
    Py_VISIT(self->timer);
    Py_VISIT(self->task);
    for (Py_ssize_t i = 0; i < Py_SIZE(self); i++) {
        Py_VISIT(self->futures[i]);
    }
    return 0;
}

/* The futures stay: what is done later needs them. They break the cycle. */
static int
Waiting_clear(PyObject *op)
{
    WaitingObject *self = WaitingObject_CAST(op);

    Py_CLEAR(self->all);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->timer);
    Py_CLEAR(self->task);
    return 0;
}

static void
Waiting_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    al_state *state = WaitingObject_CAST(op)->state;

    PyObject_GC_UnTrack(op);
    (void)Waiting_clear(op);
    for (Py_ssize_t i = 0; i < Py_SIZE(op); i++) {
        Py_XDECREF(WaitingObject_CAST(op)->futures[i]);
    }
    AL_COUNT(type, -1);
    PyObject_GC_Del(op);
    Py_DECREF(type);
    al_state_disown(state);
}

static PyMemberDef Waiting_members[] = {{"__vectorcalloffset__", T_PYSSIZET,
                                         offsetof(WaitingObject, vectorcall),
                                         READONLY, NULL},
                                        {NULL, 0, 0, 0, NULL}};

static PyGetSetDef Waiting_getset[] = {
    {"__name__", Waiting_get_name, NULL, NULL, NULL},
    {"__qualname__", Waiting_get_qualname, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(Waiting_doc, "The callback of the futures of a wait().");

static PyType_Slot Waiting_slots[] = {
    {Py_tp_doc, (void *)Waiting_doc},   {Py_tp_dealloc, Waiting_dealloc},
    {Py_tp_traverse, Waiting_traverse}, {Py_tp_clear, Waiting_clear},
    {Py_tp_call, PyVectorcall_Call},    {Py_tp_members, Waiting_members},
    {Py_tp_getset, Waiting_getset},     {0, NULL}};

static PyType_Spec Waiting_spec = {
    .name = "asyncloop._core.Waiting",
    .basicsize = sizeof(WaitingObject),
    .itemsize = sizeof(PyObject *),
    .flags =
        (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
         Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION),
    .slots = Waiting_slots,
};

int
al_wait_init(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->wait_kwnames =
        PyTuple_Pack(2, state->names.timeout, state->names.return_when);
    if (state->wait_kwnames == NULL) {
        return -1;
    }
    state->WaitingType = al_state_add_type(module, &Waiting_spec, NULL);
    return state->WaitingType == NULL
               ? -1
               : al_function_add(module, &wait_function);
}
