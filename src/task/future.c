/* future.c - the state of a Future: its outcome and who waits for it.
 *
 *     set_result() ---> FINISHED --+
 *     set_exception() -> FAILED ---+--> future_schedule(): each callback by
 *     cancel() -------> CANCELLED -+    call_soon, each waiting Task as itself
 *
 * Invariants
 *   (1) Only a PENDING future has callback0 or callbacks.
 *   (2) callback0 without context0 is a Task of ours on the same loop; its
 *       wake-up is the Task itself in the ready queue.
 *   (3) `outcome` is what the state says (future.h). */
#include "task/future.h"

#include "sched/handle.h"
#include "sched/ready.h"
#include "sched/report.h"
#include "task/task.h"

/* --- scheduling those who wait ------------------------------------------ */

int
al_future_call_soon(PyObject *op, PyObject *function, PyObject *argument,
                    PyObject *context)
{
    al_future *self = al_future_of(op);
    al_state *state = al_future_state_of(op);
    PyObject *handle;

    if (AL_LIKELY(self->is_ours && al_loop_head_CAST(self->loop)->is_direct)) {
        /* As in call_soon(), None is a copy of the context of this moment. */
        handle = al_handle_call_soon(al_loop_head_CAST(self->loop), function,
                                     &argument, argument != NULL,
                                     context != Py_None ? context : NULL);
    }
    else {
        PyObject *stack[4] = {self->loop, function, argument, context};
        size_t nargs = 3;
        if (argument == NULL) {
            stack[2] = context;
            nargs = 2;
        }
        handle = PyObject_VectorcallMethod(state->names.call_soon, stack,
                                           nargs, state->context_kwnames);
    }
    if (handle == NULL) {
        return -1;
    }
    Py_DECREF(handle);
    return 0;
}

/* Let a task that waits as itself step: 0, or -1 with an exception set. */
static int
future_wake_task(PyObject *op, PyObject *task)
{
    al_loop_head *loop = al_loop_head_CAST(al_future_of(op)->loop);

    if (AL_LIKELY(loop->is_direct)) {
        return al_ready_push(loop, loop->step, task);
    }
    PyObject *wakeup = al_task_wakeup_method(task);
    if (wakeup == NULL) {
        return -1;
    }
    int rc = al_future_call_soon(op, wakeup, op, al_task_of(task)->context);
    Py_DECREF(wakeup);
    return rc;
}

static int
future_schedule_list(PyObject *op, PyObject *callbacks)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(callbacks); i++) {
        PyObject *pair = PyList_GET_ITEM(callbacks, i);
        if (al_future_call_soon(op, PyTuple_GET_ITEM(pair, 0), op,
                                PyTuple_GET_ITEM(pair, 1)) < 0)
        {
            return -1;
        }
    }
    return 0;
}

/* The future is done: schedule everybody, in the order they came. As in
 * asyncio, a call_soon() that raises drops the rest. */
static inline int
future_schedule(PyObject *op)
{
    al_future *self = al_future_of(op);
    PyObject *callback0 = self->callback0;
    PyObject *context0 = self->context0;
    PyObject *callbacks = self->callbacks;
    int rc = 0;

    if (callback0 == NULL && callbacks == NULL) {
        return 0;
    }
    /* call_soon() may be user code that looks at us: detach them first. */
    self->callback0 = self->context0 = self->callbacks = NULL;
    if (callback0 != NULL) {
        rc = context0 == NULL
                 ? future_wake_task(op, callback0) /* by (2) */
                 : al_future_call_soon(op, callback0, op, context0);
        Py_DECREF(callback0);
        Py_XDECREF(context0);
    }
    if (callbacks != NULL) {
        if (rc == 0) {
            rc = future_schedule_list(op, callbacks);
        }
        Py_DECREF(callbacks);
    }
    return rc;
}

/* --- becoming done ------------------------------------------------------ */

static int
future_check_pending(PyObject *op)
{
    if (AL_LIKELY(al_future_of(op)->state == AL_FUTURE_PENDING)) {
        return 0;
    }
    PyErr_SetString(al_future_state_of(op)->imports.InvalidStateError,
                    "invalid state");
    return -1;
}

int
al_future_set_result(PyObject *op, PyObject *result)
{
    al_future *self = al_future_of(op);

    if (al_future_check_init(op) < 0 || future_check_pending(op) < 0) {
        return -1;
    }
    Py_XSETREF(self->outcome, Py_NewRef(result));
    self->state = AL_FUTURE_FINISHED;
    return future_schedule(op);
}

/* StopIteration would end the coroutine that awaits. -> new reference to what
 * to raise in its place, or NULL with TypeError set (before 3.12). */
static PyObject *
future_wrap_stop_iteration(PyObject *exc)
{
    static const char message[] = "StopIteration interacts badly with "
                                  "generators and cannot be raised into a "
                                  "Future";

    if (!AL_STOPITERATION_IS_WRAPPED) {
        PyErr_SetString(PyExc_TypeError, message);
        return NULL;
    }
    PyObject *wrapper =
        PyObject_CallFunction(PyExc_RuntimeError, "s", message);
    if (wrapper != NULL) {
        PyException_SetCause(wrapper, Py_NewRef(exc));
        PyException_SetContext(wrapper, Py_NewRef(exc));
    }
    return wrapper;
}

/* What set_exception() was given, as an exception object. -> new reference,
 * or NULL with an exception set. */
static PyObject *
future_make_exception(PyObject *exception)
{
    PyObject *exc = PyExceptionClass_Check(exception)
                        ? PyObject_CallNoArgs(exception)
                        : Py_NewRef(exception);
    if (exc == NULL) {
        return NULL;
    }
    if (!PyExceptionInstance_Check(exc)) {
        Py_DECREF(exc);
        PyErr_SetString(PyExc_TypeError, "invalid exception object");
        return NULL;
    }
    if (PyErr_GivenExceptionMatches(exc, PyExc_StopIteration)) {
        Py_SETREF(exc, future_wrap_stop_iteration(exc));
    }
    return exc;
}

int
al_future_set_exception(PyObject *op, PyObject *exception)
{
    al_future *self = al_future_of(op);

    if (al_future_check_init(op) < 0 || future_check_pending(op) < 0) {
        return -1;
    }
    PyObject *exc = future_make_exception(exception);
    if (exc == NULL) {
        return -1;
    }
    if (future_check_pending(op) < 0) { /* making it may have run anything */
        Py_DECREF(exc);
        return -1;
    }
    Py_XSETREF(self->outcome, exc);
    Py_XSETREF(self->traceback, PyException_GetTraceback(exc));
    self->state = AL_FUTURE_FAILED;
    if (future_schedule(op) < 0) {
        return -1;
    }
    self->log_traceback = true;
    return 0;
}

PyObject *
al_future_cancel_message(PyObject *op)
{
    const PyGetSetDef *field = al_future_state_of(op)->cancel_message;

    return field->get(op, field->closure);
}

void
al_future_set_cancel_message(PyObject *op, PyObject *message)
{
    const PyGetSetDef *field = al_future_state_of(op)->cancel_message;

    (void)field->set(op, message, field->closure); /* fails to delete alone */
}

int
al_future_cancel(PyObject *op, PyObject *message)
{
    al_future *self = al_future_of(op);

    self->log_traceback = false;
    if (self->state != AL_FUTURE_PENDING) {
        return 0;
    }
    self->state = AL_FUTURE_CANCELLED;
    al_future_set_cancel_message(op, message != NULL ? message : Py_None);
    return future_schedule(op) < 0 ? -1 : 1;
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
    PyObject *result = PyObject_CallMethod(future, method, "O", value);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Whether `op` is one of ours without the module state at hand: our types,
 * and no others, have one of our deallocators in their bases. */
static bool
future_is_ours(PyObject *op)
{
    PyObject *module = PyType_GetModuleByDef(Py_TYPE(op), &al_module_def);
    if (module == NULL) {
        PyErr_Clear();
        return false;
    }
    return al_future_check_exact(al_state_from_module(module), op);
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

    if (self->state == AL_FUTURE_CANCELLED && self->outcome != NULL) {
        PyObject *exc = self->outcome; /* moved to the caller */
        self->outcome = NULL;
        return exc;
    }
    PyObject *type = al_future_state_of(op)->imports.CancelledError;
    PyObject *message = al_future_cancel_message(op);
    if (message == NULL) {
        return NULL;
    }
    PyObject *exc = message == Py_None ? PyObject_CallNoArgs(type)
                                       : PyObject_CallOneArg(type, message);
    Py_DECREF(message);
    return exc;
}

/* The traceback is given to the first who takes the exception: from then on
 * each raise begins a new one, instead of adding to one that grows. */
static int
future_restore_traceback(al_future *self)
{
    PyObject *traceback = self->traceback;

    self->traceback = NULL;
    int rc = PyException_SetTraceback(self->outcome,
                                      traceback ? traceback : Py_None);
    Py_XDECREF(traceback);
    return rc;
}

int
al_future_take(PyObject *op, PyObject **outcome)
{
    al_future *self = al_future_of(op);

    switch ((al_future_state)self->state) {
    case AL_FUTURE_FINISHED:
        *outcome = Py_NewRef(self->outcome);
        return 0;
    case AL_FUTURE_FAILED:
        self->log_traceback = false;
        if (future_restore_traceback(self) < 0) {
            return -1;
        }
        *outcome = Py_NewRef(self->outcome);
        return 1;
    case AL_FUTURE_CANCELLED:
        *outcome = al_future_make_cancelled_error(op);
        return *outcome == NULL ? -1 : 1;
    case AL_FUTURE_PENDING:
        break;
    }
    PyErr_SetString(al_future_state_of(op)->imports.InvalidStateError,
                    "Result is not set.");
    return -1;
}

/* --- who waits ---------------------------------------------------------- */

static int
future_append_callback(al_future *self, PyObject *callback, PyObject *context)
{
    if (self->callbacks == NULL) {
        self->callbacks = PyList_New(0);
        if (self->callbacks == NULL) {
            return -1;
        }
    }
    PyObject *pair = PyTuple_Pack(2, callback, context);
    if (pair == NULL) {
        return -1;
    }
    int rc = PyList_Append(self->callbacks, pair);
    Py_DECREF(pair);
    return rc;
}

int
al_future_add_callback(PyObject *op, PyObject *callback, PyObject *context)
{
    al_future *self = al_future_of(op);

    if (self->state != AL_FUTURE_PENDING) {
        return al_future_call_soon(op, callback, op, context);
    }
    if (self->callback0 == NULL && self->callbacks == NULL) {
        self->callback0 = Py_NewRef(callback);
        self->context0 = Py_NewRef(context);
        return 0;
    }
    return future_append_callback(self, callback, context);
}

int
al_future_add_waiter(PyObject *op, PyObject *task)
{
    al_future *self = al_future_of(op);

    if (self->state != AL_FUTURE_PENDING) {
        return future_wake_task(op, task);
    }
    if (AL_LIKELY(self->callback0 == NULL && self->callbacks == NULL)) {
        self->callback0 = Py_NewRef(task); /* (2) */
        return 0;
    }
    PyObject *wakeup = al_task_wakeup_method(task);
    if (wakeup == NULL) {
        return -1;
    }
    int rc = future_append_callback(self, wakeup, al_task_of(task)->context);
    Py_DECREF(wakeup);
    return rc;
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
    al_state *state = loop->state;
    PyObject *op = state->FutureType->tp_alloc(state->FutureType, 0);
    if (op != NULL && al_future_init(op, state, (PyObject *)loop) < 0) {
        Py_CLEAR(op);
    }
    return op;
}

/* Whether the future's loop is in debug mode: 1, 0, or -1. */
static inline int
future_loop_is_debug(al_future *self, al_state *state)
{
    if (AL_LIKELY(self->is_ours && !(al_loop_head_CAST(self->loop)->overrides &
                                     AL_OVERRIDES_GET_DEBUG)))
    {
        return al_loop_head_CAST(self->loop)->is_debug;
    }
    PyObject *result =
        PyObject_CallMethodNoArgs(self->loop, state->names.get_debug);
    if (result == NULL) {
        return -1;
    }
    int is_debug = PyObject_IsTrue(result);
    Py_DECREF(result);
    return is_debug;
}

int
al_future_init(PyObject *op, al_state *state, PyObject *loop)
{
    al_future *self = al_future_of(op);

    if (AL_UNLIKELY(self->loop != NULL)) { /* __init__ called again */
        if (AL_INITIALISES_ONCE) {
            PyErr_Format(PyExc_RuntimeError,
                         "%T object is already initialized", op);
            return -1;
        }
        al_future_clear(op);
        al_future_set_cancel_message(op, Py_None);
    }
    if (loop == NULL || loop == Py_None) {
        loop = PyObject_CallNoArgs(state->imports.get_event_loop);
        if (loop == NULL) {
            return -1;
        }
    }
    else {
        Py_INCREF(loop);
    }
    Py_XSETREF(self->loop, loop); /* moved */
    self->is_ours = PyObject_TypeCheck(loop, state->LoopType);
    self->state = AL_FUTURE_PENDING;
    self->is_blocking = false;
    self->log_traceback = false;

    int is_debug = future_loop_is_debug(self, state);
    if (AL_LIKELY(is_debug == 0)) {
        return 0;
    }
    if (is_debug > 0 && !Py_IsFinalizing()) {
        self->source_traceback =
            PyObject_CallNoArgs(state->imports.extract_stack);
        return self->source_traceback == NULL ? -1 : 0;
    }
    return is_debug < 0 ? -1 : 0;
}

int
al_future_setattro(PyObject *op, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr(op, name, value) < 0) {
        return -1;
    }
    if (name == al_state_from_type(Py_TYPE(op))->names.cancel) { /* interned */
        al_future_of(op)->overrides_cancel = value != NULL;
    }
    return 0;
}

int
al_future_traverse(PyObject *op, visitproc visit, void *arg)
{
    al_future *self = al_future_of(op);

    Py_VISIT(self->loop);
    Py_VISIT(self->callback0);
    Py_VISIT(self->context0);
    Py_VISIT(self->callbacks);
    Py_VISIT(self->outcome);
    Py_VISIT(self->traceback);
    Py_VISIT(self->source_traceback);
    return 0;
}

void
al_future_clear(PyObject *op)
{
    al_future *self = al_future_of(op);
    al_future old = *self; /* its references are moved to here */

    /* Pending, without anything and without a loop: consistent, and only then
     * let go. That may run finalisers which still have us in their hands. */
    self->state = AL_FUTURE_PENDING;
    self->loop = self->callback0 = self->context0 = self->callbacks = NULL;
    self->outcome = self->traceback = NULL;
    self->source_traceback = NULL;
    self->is_ours = self->is_blocking = self->log_traceback = false;
    Py_XDECREF(old.callback0);
    Py_XDECREF(old.context0);
    Py_XDECREF(old.callbacks);
    Py_XDECREF(old.outcome);
    Py_XDECREF(old.traceback);
    Py_XDECREF(old.source_traceback);
    Py_XDECREF(old.loop);
}

void
al_future_finalize(PyObject *op)
{
    al_future *self = al_future_of(op);

    if (!self->log_traceback) {
        return;
    }
    self->log_traceback = false;
    al_state *state = al_future_state_of(op);
    PyObject *saved = PyErr_GetRaisedException();
    PyObject *name =
        PyObject_GetAttr((PyObject *)Py_TYPE(op), state->names.__name__);
    PyObject *message =
        name == NULL
            ? NULL
            : PyUnicode_FromFormat("%S exception was never retrieved", name);
    Py_XDECREF(name);
    const al_report_item items[] = {
        {state->names.future, op},
        {state->names.source_traceback, self->source_traceback},
        {NULL, NULL}};
    al_report_unraisable(self->loop, state, message, self->outcome, items);
    PyErr_SetRaisedException(saved);
}

PyTypeObject *
al_future_add_type(PyObject *module, const PyType_Spec *spec, PyObject *base,
                   size_t size)
{
    const Py_ssize_t align = (Py_ssize_t)sizeof(void *);
    Py_ssize_t offset =
        (((PyTypeObject *)base)->tp_basicsize + align - 1) / align * align;
    PyType_Spec sized = *spec;

    sized.basicsize = (int)(offset + (Py_ssize_t)size);
    PyTypeObject *type = al_state_add_type(module, &sized, base);
    if (type != NULL) {
        type->AL_FUTURE_OFFSET = offset;
    }
    return type;
}

PyTypeObject *
al_future_base(PyObject *op, destructor dealloc)
{
    PyTypeObject *type = Py_TYPE(op);

    while (type->tp_dealloc != dealloc) { /* Python classes derived from it */
        type = type->tp_base;
    }
    return type->tp_base;
}

void
al_future_dealloc(PyObject *op, destructor dealloc, inquiry clear)
{
    PyTypeObject *type = Py_TYPE(op);
    PyTypeObject *base = al_future_base(op, dealloc);

    /* The base's dealloc runs finalisers of its exact type alone; a second
     * call for the same object does nothing. */
    if (PyObject_CallFinalizerFromDealloc(op) < 0) {
        return; /* resurrected */
    }
    PyObject_GC_UnTrack(op);
    AL_TRASHCAN_BEGIN(op, dealloc) /* chains of futures may be long */
    (void)clear(op);
#if AL_FUTURE_BASE_IS_HEAP
    PyObject_GC_Track(op); /* as the base's dealloc expects it */
    base->tp_dealloc(op);  /* releases the type, too */
    (void)type;
#else
    base->tp_dealloc(op);
    Py_DECREF(type);
#endif
    AL_TRASHCAN_END
}
