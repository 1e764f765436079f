/* future.c - the state of a Future: its outcome and who waits for it.
 *
 *     set_result() -----> FINISHED --+
 *     set_exception() --> FINISHED --+-> future_schedule(): each callback by
 *     cancel() ---------> CANCELLED -+   call_soon, each waiting Task as itself
 *
 * Invariants
 *   (1) Those who wait are taken out in the moment the state changes, and only
 *       then scheduled, as that may run anything.
 *   (2) A waiting Task is a callback: the iterator that it awaits with
 *       (future_iter.c). To asyncio that is a callable as others are; here the
 *       Task itself goes to the ready queue.
 *   (3) The state and the other fields change together, and only by
 *       future_end() and al_future_init(), or by asyncio's own code. Neither
 *       drops a reference before all fields are right: a finaliser that runs
 *       then may use the future, even call __init__ on it, and nothing that it
 *       does is undone afterwards.
 *   (4) Any call into Python may call __init__ on the future again. Whoever
 *       makes such a call holds what it uses, and reads the future's fields
 *       anew afterwards. */
#include "task/future.h"

#include "sched/handle.h"
#include "sched/ready.h"

#ifdef AL_DEBUG

static void
future_check(const al_future *self)
{
    AL_HOLDS(1, self->state == AL_FUTURE_PENDING ||
                    (self->callback0 == NULL && self->callbacks == NULL));
}

#endif

/* --- scheduling those who wait ------------------------------------------ */

/* loop.call_soon(function, argument, context=context). -> new reference to
 * what it returns, or NULL with an exception set. */
static PyObject *
future_call_method_soon(PyObject *op, PyObject *function, PyObject *argument,
                        PyObject *context)
{
    al_state *state = al_future_state_of(op);

    if (state == NULL || al_future_check_init(op) < 0) {
        return NULL;
    }
    PyObject *loop = Py_NewRef(al_future_of(op)->loop); /* by (4) */
    PyObject *stack[4] = {loop, function, argument, Py_NewRef(context)};
    size_t nargs = 3;
    if (argument == NULL) {
        stack[2] = context;
        nargs = 2;
    }
    PyObject *handle = PyObject_VectorcallMethod(
        state->names.call_soon, stack, nargs, state->context_kwnames);
    Py_DECREF(context);
    Py_DECREF(loop);
    return handle;
}

int
al_future_call_soon(PyObject *op, PyObject *function, PyObject *argument,
                    PyObject *context)
{
    al_loop_head *loop = al_future_direct_loop(al_future_of(op));
    PyObject *handle;

    if (AL_LIKELY(loop != NULL)) {
        /* Before 3.12 making a handle may collect garbage: by (4). */
        Py_INCREF(loop);
        /* As in call_soon(), None is a copy of the context of this moment. */
        handle =
            al_handle_call_soon(loop, function, &argument, argument != NULL,
                                context != Py_None ? context : NULL);
        Py_DECREF(loop);
    }
    else {
        handle = future_call_method_soon(op, function, argument, context);
    }
    if (handle == NULL) {
        return -1;
    }
    Py_DECREF(handle);
    return 0;
}

/* Schedule one callback, a Task by (2) as itself: 0, or -1 with an exception
 * set. */
static inline int
future_schedule_one(PyObject *op, PyObject *callback, PyObject *context)
{
    al_loop_head *loop = al_future_direct_loop(al_future_of(op));

    if (AL_LIKELY(loop != NULL)) {
        PyObject *task = al_future_iter_task(callback, loop->state);
        /* By (4) it may be another loop than the task's now. */
        if (AL_LIKELY(task != NULL &&
                      al_future_of(task)->loop == (PyObject *)loop))
        {
            return al_ready_push(loop, loop->step, task);
        }
    }
    return al_future_call_soon(op, callback, op, context);
}

/* Those who waited for a future that is done: its fields, owned. */
typedef struct {
    PyObject *callback0;
    PyObject *context0;
    PyObject *callbacks;
} future_waiters;

static inline future_waiters
future_waiters_of(const al_future *self)
{
    return (future_waiters){self->callback0, self->context0, self->callbacks};
}

static void
future_drop_waiters(const future_waiters *waiters)
{
    Py_XDECREF(waiters->callback0);
    Py_XDECREF(waiters->context0);
    Py_XDECREF(waiters->callbacks);
}

/* As in asyncio, a call_soon() that raises drops the rest, and so does one that
 * initialises the future again: nobody waits for the new one. */
static int
future_schedule_all(PyObject *op, const future_waiters *waiters)
{
    al_future *self = al_future_of(op);

    if (AL_UNLIKELY(self->state == AL_FUTURE_PENDING)) {
        return 0; /* by (4) */
    }
    if (waiters->callback0 != NULL &&
        future_schedule_one(op, waiters->callback0, waiters->context0) < 0)
    {
        return -1;
    }
    if (AL_LIKELY(waiters->callbacks == NULL)) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(waiters->callbacks); i++) {
        if (AL_UNLIKELY(self->state == AL_FUTURE_PENDING)) {
            return 0;
        }
        PyObject *pair = PyList_GET_ITEM(waiters->callbacks, i);
        if (future_schedule_one(op, PyTuple_GET_ITEM(pair, 0),
                                PyTuple_GET_ITEM(pair, 1)) < 0)
        {
            return -1;
        }
    }
    return 0;
}

/* Schedule everybody, in the order they came. Takes their references. */
static inline int
future_schedule(PyObject *op, future_waiters waiters)
{
    if (waiters.callback0 == NULL && waiters.callbacks == NULL) {
        return 0;
    }
    int rc = future_schedule_all(op, &waiters);
    future_drop_waiters(&waiters);
    return rc;
}

/* --- becoming done ------------------------------------------------------ */

/* PENDING -> `state`; the caller has set, or sets at once, the outcome.
 * -> those who waited, to be handed to future_schedule(). */
static inline future_waiters
future_end(al_future *self, al_future_state state)
{
    future_waiters waiters = future_waiters_of(self);

    assert(self->state == AL_FUTURE_PENDING);
    self->state = state;
    self->callback0 = self->context0 = self->callbacks = NULL;
    return waiters; /* (1) */
}

/* asyncio.Future.<name>(op[, argument]), which does what is rare and raises what
 * is wrong. 0, or -1 with an exception set. */
static int
future_call_stock(PyObject *op, const char *name, PyObject *argument)
{
    al_state *state = al_future_state_of(op);

    if (state == NULL) {
        return -1;
    }
    PyObject *result =
        PyObject_CallMethod(state->imports.asyncio_Future, name,
                            argument != NULL ? "OO" : "O", op, argument);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Whether it waits for its outcome, and __init__ has run. */
static inline bool
future_is_pending(const al_future *self)
{
    return AL_LIKELY(self->state == AL_FUTURE_PENDING && self->loop != NULL);
}

int
al_future_set_result(PyObject *op, PyObject *result)
{
    al_future *self = al_future_of(op);

    if (!future_is_pending(self)) {
        return future_call_stock(op, "set_result", result);
    }
    PyObject *old = self->result; /* NULL, but for what asyncio's code left */
    self->result = Py_NewRef(result);
    future_waiters waiters = future_end(self, AL_FUTURE_FINISHED);
    Py_XDECREF(old);
    return future_schedule(op, waiters);
}

int
al_future_set_exception(PyObject *op, PyObject *exception)
{
    al_future *self = al_future_of(op);

    /* StopIteration would end the coroutine that awaits. */
    if (!future_is_pending(self) || !PyExceptionInstance_Check(exception) ||
        AL_UNLIKELY(
            PyErr_GivenExceptionMatches(exception, PyExc_StopIteration)))
    {
        return future_call_stock(op, "set_exception", exception);
    }
    self->exception = Py_NewRef(exception);
    self->exception_tb = PyException_GetTraceback(exception);
    if (future_schedule(op, future_end(self, AL_FUTURE_FINISHED)) < 0) {
        return -1;
    }
    /* __init__ may have come again. */
    self->log_tb = al_future_has_failed(self);
    return 0;
}

int
al_future_cancel(PyObject *op, PyObject *message, PyObject *exc)
{
    al_future *self = al_future_of(op);
    PyObject *old_message = self->cancel_msg;
    PyObject *old_exc = NULL;

    self->log_tb = false;
    if (self->state != AL_FUTURE_PENDING) {
        Py_XDECREF(exc);
        return 0;
    }
    self->cancel_msg = Py_XNewRef(message);
    if (exc != NULL) {
        old_exc = self->cancelled_exc;
        self->cancelled_exc = exc;
    }
    future_waiters waiters = future_end(self, AL_FUTURE_CANCELLED);
    Py_XDECREF(old_message);
    Py_XDECREF(old_exc);
    return future_schedule(op, waiters) < 0 ? -1 : 1;
}

/* --- the same for futures of any make ----------------------------------- */

/* Call future.<method>(value) unless future.done(): 0, or -1. */
static int
future_settle_foreign(PyObject *future, const char *method, PyObject *value)
{
    PyObject *done = PyObject_CallMethod(future, "done", NULL);
    if (done == NULL) {
        return -1;
    }
    int is_done = PyObject_IsTrue(done);
    Py_DECREF(done);
    if (is_done != 0) {
        return is_done < 0 ? -1 : 0;
    }
    PyObject *result = PyObject_CallMethod(future, method, "(O)", value);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Whether `op`, an object of any type, is exactly a Future or Task of ours. */
static bool
future_is_ours(PyObject *op)
{
    const al_state *state = al_state_find(Py_TYPE(op));

    return state != NULL && al_future_check_exact(state, op);
}

int
al_future_resolve(PyObject *op, PyObject *result)
{
    if (AL_UNLIKELY(!future_is_ours(op))) {
        return future_settle_foreign(op, "set_result", result);
    }
    return al_future_is_done(op) ? 0 : al_future_set_result(op, result);
}

int
al_future_fail(PyObject *op, PyObject *exception)
{
    if (AL_UNLIKELY(!future_is_ours(op))) {
        return future_settle_foreign(op, "set_exception", exception);
    }
    return al_future_is_done(op) ? 0 : al_future_set_exception(op, exception);
}

/* --- taking the outcome ------------------------------------------------- */

PyObject *
al_future_make_cancelled_error(PyObject *op)
{
    al_future *self = al_future_of(op);
    al_state *state = al_future_state_of(op);

    if (self->cancelled_exc != NULL) {
        PyObject *exc = self->cancelled_exc; /* moved to the caller */
        self->cancelled_exc = NULL;
        return exc;
    }
    if (state == NULL) {
        return NULL;
    }
    PyObject *type = state->imports.CancelledError;
    if (self->cancel_msg == NULL || self->cancel_msg == Py_None) {
        return PyObject_CallNoArgs(type);
    }
    PyObject *message = Py_NewRef(self->cancel_msg); /* by (4) */
    PyObject *exc = PyObject_CallOneArg(type, message);
    Py_DECREF(message);
    return exc;
}

/* The traceback is given to the first who takes the exception: from then on
 * each raise begins a new one, instead of adding to one that grows. */
static int
future_restore_traceback(al_future *self)
{
    PyObject *traceback = self->exception_tb;

    self->exception_tb = NULL;
    int rc = PyException_SetTraceback(self->exception,
                                      traceback ? traceback : Py_None);
    Py_XDECREF(traceback);
    return rc;
}

int
al_future_take(PyObject *op, PyObject **outcome)
{
    al_future *self = al_future_of(op);

    AL_CHECK(future_check, self);
    switch ((al_future_state)self->state) {
    case AL_FUTURE_FINISHED:
        if (AL_LIKELY(self->exception == NULL)) {
            *outcome = Py_NewRef(self->result);
            return 0;
        }
        self->log_tb = false;
        *outcome = Py_NewRef(self->exception);
        if (future_restore_traceback(self) < 0) {
            Py_CLEAR(*outcome);
            return -1;
        }
        return 1;
    case AL_FUTURE_CANCELLED:
        *outcome = al_future_make_cancelled_error(op);
        return *outcome == NULL ? -1 : 1;
    case AL_FUTURE_PENDING:
        break;
    }
    return future_call_stock(op, "result", NULL);
}

/* --- who waits ---------------------------------------------------------- */

/* The second, and whoever comes to a future that is done. */
static int
future_add_callback_as_stock(PyObject *op, PyObject *callback,
                             PyObject *context)
{
    al_state *state = al_future_state_of(op);

    if (state == NULL) {
        return -1;
    }
    PyObject *stack[] = {state->imports.asyncio_Future, op, callback, context};
    PyObject *result = PyObject_VectorcallMethod(
        state->names.add_done_callback, stack, 3, state->context_kwnames);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
al_future_add_callback(PyObject *op, PyObject *callback, PyObject *context)
{
    al_future *self = al_future_of(op);

    if (AL_UNLIKELY(self->state != AL_FUTURE_PENDING ||
                    self->callback0 != NULL || self->callbacks != NULL))
    {
        return future_add_callback_as_stock(op, callback, context);
    }
    self->callback0 = Py_NewRef(callback);
    self->context0 = Py_NewRef(context);
    return 0;
}

/* --- beginning and end -------------------------------------------------- */

PyObject *
al_future_new(al_loop_head *loop)
{
    if (AL_UNLIKELY(loop->overrides & AL_OVERRIDES_CREATE_FUTURE)) {
        return PyObject_CallMethodNoArgs((PyObject *)loop,
                                         loop->state->names.create_future);
    }
    return al_future_make(loop);
}

PyObject *
al_future_make(al_loop_head *loop)
{
    PyTypeObject *type = loop->state->FutureType;

    if (AL_UNLIKELY(type == NULL)) {
        return PyObject_CallMethodOneArg(loop->state->imports.BaseEventLoop,
                                         loop->state->names.create_future,
                                         (PyObject *)loop);
    }
    PyObject *op = type->tp_alloc(type, 0);
    if (op != NULL && al_future_begin(op, loop) < 0) {
        Py_CLEAR(op);
    }
    return op;
}

/* Let go of all that a future had. */
static void
future_drop(const al_future *old)
{
    const future_waiters waiters = future_waiters_of(old);

    future_drop_waiters(&waiters);
    Py_XDECREF(old->exception);
    Py_XDECREF(old->exception_tb);
    Py_XDECREF(old->result);
    Py_XDECREF(old->source_tb);
    Py_XDECREF(old->cancel_msg);
    Py_XDECREF(old->cancelled_exc);
    Py_XDECREF(old->loop);
}

/* Put `fields` in the place of what a future has; NULL: as before __init__. */
static void
future_replace(al_future *self, const al_future *fields)
{
    static const al_future nothing = {.state = AL_FUTURE_PENDING};
    const al_future *from = fields != NULL ? fields : &nothing;

    self->loop = from->loop;
    self->callback0 = from->callback0;
    self->context0 = from->context0;
    self->callbacks = from->callbacks;
    self->exception = from->exception;
    self->exception_tb = from->exception_tb;
    self->result = from->result;
    self->source_tb = from->source_tb;
    self->cancel_msg = from->cancel_msg;
    self->cancelled_exc = from->cancelled_exc;
    self->state = from->state;
    self->log_tb = from->log_tb;
    self->blocking = from->blocking;
}

/* asyncio's own __init__ drops what the future had one by one, and crashes if
 * finalisers initialise it again meanwhile. So it gets an empty one. */
int
al_future_init(PyObject *op, PyObject *args, PyObject *kwargs, al_state *state)
{
    PyTypeObject *base = (PyTypeObject *)state->imports.asyncio_Future;
    al_future *self = al_future_of(op);
    const al_future old = *self;

    if (AL_INITIALISES_ONCE || AL_LIKELY(old.loop == NULL)) {
        return base->tp_init(op, args, kwargs);
    }
    future_replace(self, NULL);
    int rc = base->tp_init(op, args, kwargs);
    if (rc < 0 && self->loop == NULL) {
        future_replace(self, &old); /* nothing has come of it */
    }
    else {
        future_drop(&old);
    }
    return rc;
}

int
al_future_init_on(PyObject *op, PyObject *loop, al_state *state)
{
    PyObject *args = PyTuple_New(0);
    PyObject *kwargs = PyDict_New();
    int rc = -1;

    if (args != NULL && kwargs != NULL &&
        (loop == NULL || PyDict_SetItem(kwargs, state->names.loop, loop) == 0))
    {
        rc = al_future_init(op, args, kwargs, state);
    }
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return rc;
}
