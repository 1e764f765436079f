/* future.c - the state of a Future: its outcome and its callbacks.
 *
 *     set_result() -----> FINISHED --+
 *     set_exception() --> FINISHED --+-> future_schedule(): call_soon() of
 *     cancel() ---------> CANCELLED -+   callbacks, push of waiting Tasks
 *
 * Invariants
 *   (1) Only a pending future has callbacks. They are taken out when the state
 *       changes, and scheduled after that: scheduling may run anything.
 *   (2) The callback of a waiting Task is the iterator that the Task awaits
 *       with (future_iter.c). asyncio's code calls it like any callable. We
 *       push the Task itself to the ready queue instead.
 *   (3) The state and the other fields change together, in future_end(), in
 *       al_future_init() and in asyncio's own code. Old references are dropped
 *       after that. So a finaliser may use the future, and even call __init__
 *       on it, and nothing that it does is undone.
 *   (4) Any call into Python may call __init__ on the future again. So a
 *       function that makes such a call owns what it uses, and reads the
 *       fields again afterwards. */
#include "task/future.h"

#include "base/call.h"
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

/* --- scheduling callbacks ------------------------------------------------ */

/* Call loop.call_soon(function, argument, context=context). -> new reference,
 * or NULL with an exception set. */
static PyObject *
future_call_call_soon(PyObject *op, PyObject *function, PyObject *argument,
                      PyObject *context)
{
    al_state *state = al_future_state_of(op);

    if (state == NULL || al_future_check_init(op) < 0) {
        return NULL;
    }
    PyObject *loop = Py_NewRef(al_future_of(op)->loop); /* by (4) */
    PyObject *stack[4] = {loop, function, argument, NULL};
    size_t nargs = argument == NULL ? 2 : 3;
    stack[nargs] = Py_NewRef(context);
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

    if (AL_UNLIKELY(loop == NULL)) {
        return al_call_finish(
            future_call_call_soon(op, function, argument, context));
    }
    Py_INCREF(loop); /* by (4): before 3.12 this may collect garbage */
    /* As in call_soon(), None means a copy of the current context. */
    PyObject *handle =
        al_handle_call_soon(loop, function, &argument, argument != NULL,
                            context != Py_None ? context : NULL);
    Py_DECREF(loop);
    return al_call_finish(handle);
}

/* Schedule one callback, or by (2) a Task. 0, or -1 with an exception set. */
static inline int
future_schedule_one(PyObject *op, PyObject *callback, PyObject *context)
{
    al_loop_head *loop = al_future_direct_loop(al_future_of(op));

    if (AL_LIKELY(loop != NULL)) {
        PyObject *task = al_future_iter_task(callback, loop->state);
        /* By (4) the future may have another loop than the task now. */
        if (AL_LIKELY(task != NULL &&
                      al_future_of(task)->loop == (PyObject *)loop))
        {
            return al_ready_push(loop, loop->step, task);
        }
    }
    return al_future_call_soon(op, callback, op, context);
}

/* The callbacks that a future had, with all references of the three fields. */
typedef struct {
    PyObject *callback0;
    PyObject *context0;
    PyObject *callbacks;
} future_callbacks;

static inline future_callbacks
future_callbacks_of(const al_future *self)
{
    return (future_callbacks){self->callback0, self->context0,
                              self->callbacks};
}

static void
future_drop_callbacks(const future_callbacks *old)
{
    Py_XDECREF(old->callback0);
    Py_XDECREF(old->context0);
    Py_XDECREF(old->callbacks);
}

/* Stop, as asyncio does, when a call_soon() raises. Stop also when one has
 * called __init__ on the future: the rest was added before that. */
static int
future_schedule_all(PyObject *op, const future_callbacks *old)
{
    al_future *self = al_future_of(op);

    if (AL_UNLIKELY(self->state == AL_FUTURE_PENDING)) {
        return 0; /* by (4) */
    }
    if (old->callback0 != NULL &&
        future_schedule_one(op, old->callback0, old->context0) < 0)
    {
        return -1;
    }
    if (AL_LIKELY(old->callbacks == NULL)) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(old->callbacks); i++) {
        if (AL_UNLIKELY(self->state == AL_FUTURE_PENDING)) {
            return 0;
        }
        PyObject *pair = PyList_GET_ITEM(old->callbacks, i);
        if (future_schedule_one(op, PyTuple_GET_ITEM(pair, 0),
                                PyTuple_GET_ITEM(pair, 1)) < 0)
        {
            return -1;
        }
    }
    return 0;
}

/* Schedule the callbacks (stolen) in the order in which they were added. */
static inline int
future_schedule(PyObject *op, future_callbacks old)
{
    if (old.callback0 == NULL && old.callbacks == NULL) {
        return 0;
    }
    int rc = future_schedule_all(op, &old);
    future_drop_callbacks(&old);
    return rc;
}

/* --- setting the outcome ------------------------------------------------- */

/* PENDING -> `state`; the caller has set the outcome, or sets it at once.
 * -> the callbacks, for future_schedule(). */
static inline future_callbacks
future_end(al_future *self, al_future_state state)
{
    future_callbacks old = future_callbacks_of(self);

    assert(self->state == AL_FUTURE_PENDING);
    AL_STORE(self->state, (int)state);
    self->callback0 = self->context0 = self->callbacks = NULL;
    return old; /* (1) */
}

/* Call asyncio.Future.<name>(op[, argument]), in rare cases and to raise the
 * errors that asyncio raises. 0, or -1 with an exception set. */
static int
future_call_stock(PyObject *op, const char *name, PyObject *argument)
{
    al_state *state = al_future_state_of(op);

    return state == NULL ? -1
                         : al_call_finish(PyObject_CallMethod(
                               state->imports.asyncio_Future, name,
                               argument != NULL ? "OO" : "O", op, argument));
}

/* Whether the outcome may be set: it is not yet, and __init__ has run. */
static inline bool
future_is_pending(const al_future *self)
{
    return AL_LIKELY(self->state == AL_FUTURE_PENDING && self->loop != NULL);
}

int
al_future_set_result(PyObject *op, PyObject *result)
{
    al_future *self = al_future_of(op);
    future_callbacks callbacks;
    PyObject *old = NULL;
    bool is_pending;

    AL_LOCK(op);
    is_pending = future_is_pending(self);
    if (AL_LIKELY(is_pending)) {
        old = self->result; /* asyncio's code may have left one here */
        self->result = Py_NewRef(result);
        callbacks = future_end(self, AL_FUTURE_FINISHED);
    }
    AL_UNLOCK();
    if (!is_pending) {
        return future_call_stock(op, "set_result", result);
    }
    Py_XDECREF(old);
    return future_schedule(op, callbacks);
}

int
al_future_set_exception(PyObject *op, PyObject *exception)
{
    al_future *self = al_future_of(op);
    future_callbacks callbacks;
    bool is_set = false;

    /* asyncio replaces or refuses StopIteration: it would end the coroutine
     * that awaits. */
    if (PyExceptionInstance_Check(exception) &&
        AL_LIKELY(
            !PyErr_GivenExceptionMatches(exception, PyExc_StopIteration)))
    {
        AL_LOCK(op);
        is_set = future_is_pending(self);
        if (is_set) {
            self->exception = Py_NewRef(exception);
            self->exception_tb = PyException_GetTraceback(exception);
            callbacks = future_end(self, AL_FUTURE_FINISHED);
        }
        AL_UNLOCK();
    }
    if (!is_set) {
        return future_call_stock(op, "set_exception", exception);
    }
    if (future_schedule(op, callbacks) < 0) {
        return -1;
    }
    AL_LOCK(op);
    /* By (4) the future may be pending again, or have a result. */
    self->log_tb =
        self->state == AL_FUTURE_FINISHED && self->exception != NULL;
    AL_UNLOCK();
    return 0;
}

int
al_future_cancel(PyObject *op, PyObject *message, PyObject *exc)
{
    al_future *self = al_future_of(op);
    PyObject *old_message = NULL, *old_exc = exc;
    future_callbacks callbacks;
    bool is_pending;

    AL_LOCK(op);
    self->log_tb = false;
    is_pending = self->state == AL_FUTURE_PENDING;
    if (is_pending) {
        old_message = self->cancel_msg;
        self->cancel_msg = Py_XNewRef(message);
        if (exc != NULL) {
            old_exc = self->cancelled_exc;
            self->cancelled_exc = exc;
        }
        callbacks = future_end(self, AL_FUTURE_CANCELLED);
    }
    AL_UNLOCK();
    Py_XDECREF(old_message);
    Py_XDECREF(old_exc);
    if (!is_pending) {
        return 0;
    }
    return future_schedule(op, callbacks) < 0 ? -1 : 1;
}

/* --- the same for futures of any type ------------------------------------ */

/* Call future.<method>(value) unless future.done(): 0, or -1. */
static int
future_set_foreign_outcome(PyObject *future, const char *method,
                           PyObject *value)
{
    int is_done = al_call_is_true(PyObject_CallMethod(future, "done", NULL));

    if (is_done != 0) {
        return is_done < 0 ? -1 : 0;
    }
    return al_call_finish(PyObject_CallMethod(future, method, "(O)", value));
}

/* Whether `op`, an object of any type, is exactly our Future or Task. */
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
        return future_set_foreign_outcome(op, "set_result", result);
    }
    return al_future_is_done(op) ? 0 : al_future_set_result(op, result);
}

int
al_future_fail(PyObject *op, PyObject *exception)
{
    if (AL_UNLIKELY(!future_is_ours(op))) {
        return future_set_foreign_outcome(op, "set_exception", exception);
    }
    return al_future_is_done(op) ? 0 : al_future_set_exception(op, exception);
}

/* --- getting the outcome ------------------------------------------------- */

PyObject *
al_future_make_cancelled_error(PyObject *op)
{
    al_future *self = al_future_of(op);
    al_state *state = al_future_state_of(op);
    PyObject *exc;

    AL_LOCK(op);
    exc = self->cancelled_exc; /* moved to the caller */
    self->cancelled_exc = NULL;
    AL_UNLOCK();
    if (exc != NULL) {
        return exc;
    }
    if (state == NULL) {
        return NULL;
    }
    PyObject *type = state->imports.CancelledError;
    PyObject *message = al_future_cancel_message(op); /* by (4) */
    exc = message == Py_None ? PyObject_CallNoArgs(type)
                             : PyObject_CallOneArg(type, message);
    Py_DECREF(message);
    return exc;
}

/* Give the exception its traceback when the outcome is got for the first time.
 * Later there is none, or each raise would make the same traceback longer. */
static int
future_restore_traceback(PyObject *op, PyObject *exception)
{
    al_future *self = al_future_of(op);
    PyObject *traceback;

    AL_LOCK(op);
    self->log_tb = false;
    traceback = self->exception_tb;
    self->exception_tb = NULL;
    AL_UNLOCK();
    int rc =
        PyException_SetTraceback(exception, traceback ? traceback : Py_None);
    Py_XDECREF(traceback);
    return rc;
}

int
al_future_take(PyObject *op, PyObject **outcome)
{
    al_future *self = al_future_of(op);
    al_future_state state;
    PyObject *exception = NULL;

    AL_CHECK(future_check, self);
    AL_LOCK(op);
    state = (al_future_state)self->state;
    if (AL_LIKELY(state == AL_FUTURE_FINISHED)) {
        exception = self->exception;
        *outcome =
            Py_NewRef(AL_LIKELY(exception == NULL) ? self->result : exception);
    }
    AL_UNLOCK();
    switch (state) {
    case AL_FUTURE_FINISHED:
        if (AL_LIKELY(exception == NULL)) {
            return 0;
        }
        if (future_restore_traceback(op, exception) < 0) {
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

/* --- adding a callback --------------------------------------------------- */

/* Add a callback by asyncio's own method: its second, or to a done future. */
static int
future_add_callback_as_stock(PyObject *op, PyObject *callback,
                             PyObject *context)
{
    al_state *state = al_future_state_of(op);

    if (state == NULL) {
        return -1;
    }
    PyObject *stack[] = {state->imports.asyncio_Future, op, callback, context};
    return al_call_finish(PyObject_VectorcallMethod(
        state->names.add_done_callback, stack, 3, state->context_kwnames));
}

int
al_future_add_callback(PyObject *op, PyObject *callback, PyObject *context)
{
    al_future *self = al_future_of(op);
    bool is_first;

    AL_LOCK(op);
    is_first = self->state == AL_FUTURE_PENDING && self->callback0 == NULL &&
               self->callbacks == NULL;
    if (AL_LIKELY(is_first)) {
        self->callback0 = Py_NewRef(callback);
        self->context0 = Py_NewRef(context);
    }
    AL_UNLOCK();
    return AL_LIKELY(is_first)
               ? 0
               : future_add_callback_as_stock(op, callback, context);
}

/* --- making and initialising --------------------------------------------- */

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

/* Drop all references that a future had. */
static void
future_drop(const al_future *old)
{
    const future_callbacks callbacks = future_callbacks_of(old);

    future_drop_callbacks(&callbacks);
    Py_XDECREF(old->exception);
    Py_XDECREF(old->exception_tb);
    Py_XDECREF(old->result);
    Py_XDECREF(old->source_tb);
    Py_XDECREF(old->cancel_msg);
    Py_XDECREF(old->cancelled_exc);
    Py_XDECREF(old->loop);
}

/* Copy the fields that __init__ sets. */
static void
future_copy_fields(al_future *self, const al_future *from)
{
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

/* asyncio's __init__ drops the fields one by one, and crashes if a finaliser
 * calls __init__ meanwhile. So the fields are emptied first. */
int
al_future_init(PyObject *op, PyObject *args, PyObject *kwargs, al_state *state)
{
    PyTypeObject *base = (PyTypeObject *)state->imports.asyncio_Future;
    al_future *self = al_future_of(op);
    const al_future old = *self;
    static const al_future empty = {.state = AL_FUTURE_PENDING};

    if (AL_INITIALISES_ONCE || AL_LIKELY(old.loop == NULL)) {
        return base->tp_init(op, args, kwargs);
    }
    future_copy_fields(self, &empty);
    int rc = base->tp_init(op, args, kwargs);
    if (rc < 0 && self->loop == NULL) {
        future_copy_fields(self, &old); /* __init__ has set nothing */
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
