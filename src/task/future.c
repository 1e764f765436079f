/* future.c - the state of a Future: its outcome and who waits for it.
 *
 *     set_result() ---> FINISHED --+
 *     set_exception() -> FAILED ---+--> future_schedule(): each callback by
 *     cancel() -------> CANCELLED -+    call_soon, each waiting Task as itself
 *
 * Invariants
 *   (1) Who waits and what came of it share two slots, by the state (future.h):
 *       those who wait are taken out in the moment the state changes, and only
 *       then scheduled, as that may run anything.
 *   (2) A waiter without a context is a Task of ours on the same loop; its
 *       wake-up is the Task itself in the ready queue.
 *   (3) A list of waiters is known to the future alone, and not empty.
 *   (4) State and slots change together, and only by future_settle() and
 *       future_reset(). Neither drops a reference before all fields are right:
 *       a finaliser that runs then may use the future, even call __init__ on
 *       it, and nothing that it does is undone afterwards.
 *   (5) Any call into Python may call __init__ on the future again. Whoever
 *       makes such a call holds what it uses, and reads the future's fields
 *       anew afterwards. */
#include "task/future.h"

#include "sched/handle.h"
#include "sched/ready.h"
#include "sched/report.h"
#include "task/task.h"

/* --- scheduling those who wait ------------------------------------------ */

/* loop.call_soon(function, argument, context=context). -> new reference to
 * what it returns, or NULL with an exception set. */
static PyObject *
future_call_method_soon(PyObject *op, al_state *state, PyObject *function,
                        PyObject *argument, PyObject *context)
{
    if (al_future_check_init(op) < 0) {
        return NULL;
    }
    PyObject *loop = Py_NewRef(al_future_of(op)->loop); /* by (5) */
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
    al_future *self = al_future_of(op);
    al_state *state = al_future_state_of(op);
    PyObject *handle;

    if (AL_LIKELY(al_future_is_direct(self))) {
        /* Before 3.12 making a handle may collect garbage: by (5). */
        PyObject *loop = Py_NewRef(self->loop);
        /* As in call_soon(), None is a copy of the context of this moment. */
        handle = al_handle_call_soon(al_loop_head_CAST(loop), function,
                                     &argument, argument != NULL,
                                     context != Py_None ? context : NULL);
        Py_DECREF(loop);
    }
    else {
        handle =
            future_call_method_soon(op, state, function, argument, context);
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
    al_future *self = al_future_of(op);

    /* Not by (2) alone: by (5) it may be another loop than the task's now. */
    if (AL_LIKELY(al_future_is_direct(self))) {
        al_loop_head *loop = al_loop_head_CAST(self->loop);
        return al_ready_push(loop, loop->step, task);
    }
    PyObject *wakeup = al_task_wakeup_method(task);
    if (wakeup == NULL) {
        return -1;
    }
    PyObject *context = Py_NewRef(al_task_of(task)->context); /* by (5) */
    int rc = al_future_call_soon(op, wakeup, op, context);
    Py_DECREF(context);
    Py_DECREF(wakeup);
    return rc;
}

/* As in asyncio, a call_soon() that raises drops the rest, and so does one that
 * initialises the future again: nobody waits for the new one. */
static int
future_schedule_list(PyObject *op, PyObject *list)
{
    al_future *self = al_future_of(op);

    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        if (AL_UNLIKELY(self->state == AL_FUTURE_PENDING)) {
            return 0; /* by (5) */
        }
        PyObject *entry = PyList_GET_ITEM(list, i);
        int rc = PyTuple_CheckExact(entry)
                     ? al_future_call_soon(op, PyTuple_GET_ITEM(entry, 0), op,
                                           PyTuple_GET_ITEM(entry, 1))
                     : future_wake_task(op, entry); /* by (2) */
        if (rc < 0) {
            return -1;
        }
    }
    return 0;
}

/* Those who waited for a future that is done: its slots, owned. */
typedef struct {
    PyObject *waiter;
    PyObject *context;
} future_waiters;

/* Schedule everybody, in the order they came. Takes their references. As in
 * asyncio nobody is scheduled once __init__ has come again. */
static inline int
future_schedule(PyObject *op, future_waiters waiters)
{
    int rc = 0;

    if (waiters.waiter == NULL) {
        return 0;
    }
    if (AL_UNLIKELY(al_future_of(op)->state == AL_FUTURE_PENDING)) {
        Py_XDECREF(waiters.context);
    }
    else if (waiters.context != NULL) {
        rc = al_future_call_soon(op, waiters.waiter, op, waiters.context);
        Py_DECREF(waiters.context);
    }
    else if (AL_UNLIKELY(PyList_CheckExact(waiters.waiter))) {
        rc = future_schedule_list(op, waiters.waiter);
    }
    else {
        rc = future_wake_task(op, waiters.waiter); /* by (2) */
    }
    Py_DECREF(waiters.waiter);
    return rc;
}

/* --- becoming done ------------------------------------------------------ */

/* PENDING -> `state`. Takes the references to outcome and traceback, which may
 * be NULL; -> those who waited, to be handed to future_schedule(). */
static inline future_waiters
future_settle(al_future *self, al_future_state state, PyObject *outcome,
              PyObject *traceback)
{
    future_waiters waiters = {self->waiter, self->context};

    assert(self->state == AL_FUTURE_PENDING);
    self->state = state;
    self->outcome = outcome;
    self->traceback = traceback;
    return waiters; /* (1) */
}

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
    return future_schedule(
        op, future_settle(self, AL_FUTURE_FINISHED, Py_NewRef(result), NULL));
}

/* StopIteration would end the coroutine that awaits. Where it is refused, the
 * classes derived from it are not. */
static bool
future_is_stop_iteration(PyObject *exc)
{
    return AL_STOPITERATION_IS_WRAPPED
               ? PyErr_GivenExceptionMatches(exc, PyExc_StopIteration)
               : Py_IS_TYPE(exc, (PyTypeObject *)PyExc_StopIteration);
}

/* -> new reference to what to raise in its place, or NULL with TypeError set
 * (before 3.12). */
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
    if (future_is_stop_iteration(exc)) {
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
    if (future_schedule(op, future_settle(self, AL_FUTURE_FAILED, exc,
                                          PyException_GetTraceback(exc))) < 0)
    {
        return -1;
    }
    /* __init__ may have come again. */
    self->log_traceback = self->state == AL_FUTURE_FAILED;
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

/* PENDING -> CANCELLED: 1, or -1. `exc` is stolen, `message` borrowed; each may
 * be NULL. */
static int
future_cancel(PyObject *op, PyObject *message, PyObject *exc)
{
    future_waiters waiters =
        future_settle(al_future_of(op), AL_FUTURE_CANCELLED, exc, NULL);

    al_future_set_cancel_message(op, message != NULL ? message : Py_None);
    return future_schedule(op, waiters) < 0 ? -1 : 1;
}

int
al_future_cancel(PyObject *op, PyObject *message)
{
    al_future *self = al_future_of(op);

    self->log_traceback = false;
    if (self->state != AL_FUTURE_PENDING) {
        return 0;
    }
    return future_cancel(op, message, NULL);
}

int
al_future_cancel_with(PyObject *op, PyObject *exc)
{
    al_future *self = al_future_of(op);

    self->log_traceback = false;
    if (self->state != AL_FUTURE_PENDING) {
        Py_DECREF(exc);
        return 0;
    }
    return future_cancel(op, NULL, exc);
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
        *outcome = Py_NewRef(self->outcome);
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
    PyErr_SetString(al_future_state_of(op)->imports.InvalidStateError,
                    "Result is not set.");
    return -1;
}

/* --- who waits ---------------------------------------------------------- */

/* What stands in a list for a waiter. -> new reference, or NULL. */
static PyObject *
future_pack_waiter(PyObject *waiter, PyObject *context)
{
    return context == NULL ? Py_NewRef(waiter)
                           : PyTuple_Pack(2, waiter, context);
}

/* The waiters as a list, with one more unless `waiter` is NULL. 0, or -1. */
static int
future_append_waiter(al_future *self, PyObject *waiter, PyObject *context)
{
    if (!al_future_has_list(self)) {
        PyObject *first = future_pack_waiter(self->waiter, self->context);
        PyObject *list = first != NULL ? PyList_New(1) : NULL;
        if (list == NULL) {
            Py_XDECREF(first);
            return -1;
        }
        PyList_SET_ITEM(list, 0, first); /* holds what was in the slots */
        Py_SETREF(self->waiter, list);
        Py_CLEAR(self->context);
    }
    if (waiter == NULL) {
        return 0;
    }
    PyObject *entry = future_pack_waiter(waiter, context);
    if (entry == NULL) {
        return -1;
    }
    int rc = PyList_Append(self->waiter, entry);
    Py_DECREF(entry);
    return rc;
}

/* The same, and nothing runs meanwhile that could look at the slots: before
 * 3.12 allocating may collect garbage. */
static int
future_append_undisturbed(al_future *self, PyObject *waiter, PyObject *context)
{
    int collects = PyGC_Disable();
    int rc = future_append_waiter(self, waiter, context);

    if (collects) {
        (void)PyGC_Enable();
    }
    return rc;
}

int
al_future_list_waiters(al_future *self)
{
    return future_append_undisturbed(self, NULL, NULL);
}

int
al_future_add_callback(PyObject *op, PyObject *callback, PyObject *context)
{
    al_future *self = al_future_of(op);

    if (self->state != AL_FUTURE_PENDING) {
        return al_future_call_soon(op, callback, op, context);
    }
    if (self->waiter == NULL) {
        self->waiter = Py_NewRef(callback);
        self->context = Py_NewRef(context);
        return 0;
    }
    return future_append_undisturbed(self, callback, context);
}

int
al_future_add_waiter(PyObject *op, PyObject *task)
{
    al_future *self = al_future_of(op);

    if (self->state != AL_FUTURE_PENDING) {
        return future_wake_task(op, task);
    }
    if (AL_LIKELY(self->waiter == NULL)) {
        self->waiter = Py_NewRef(task); /* (2) */
        return 0;
    }
    return future_append_undisturbed(self, task, NULL);
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
    PyObject *op = al_future_alloc(loop->state->FutureType, loop->state);
    if (op != NULL && al_future_init(op, (PyObject *)loop) < 0) {
        Py_CLEAR(op);
    }
    return op;
}

PyObject *
al_future_alloc(PyTypeObject *type, al_state *state)
{
    PyObject *op = type->tp_alloc(type, 0);
    if (op != NULL) {
        al_future_of(op)->module_state = al_state_own(state);
    }
    return op;
}

PyObject *
al_future_tp_new(PyTypeObject *type, PyObject *Py_UNUSED(args),
                 PyObject *Py_UNUSED(kwargs))
{
    al_state *state = al_state_from_type(type);

    return state == NULL ? NULL : al_future_alloc(type, state);
}

/* Whether `loop` is in debug mode: 1, 0, or -1. */
static inline int
future_loop_is_debug(PyObject *loop, bool is_ours, al_state *state)
{
    if (AL_LIKELY(is_ours && !(al_loop_head_CAST(loop)->overrides &
                               AL_OVERRIDES_GET_DEBUG)))
    {
        return al_loop_head_CAST(loop)->is_debug;
    }
    PyObject *result = PyObject_CallMethodNoArgs(loop, state->names.get_debug);
    if (result == NULL) {
        return -1;
    }
    int is_debug = PyObject_IsTrue(result);
    Py_DECREF(result);
    return is_debug;
}

/* The stack of this moment, if the loop is in debug mode: 0 with a new
 * reference or NULL in *stack, or -1 with an exception set. */
static inline int
future_extract_stack(PyObject *loop, bool is_ours, al_state *state,
                     PyObject **stack)
{
    int is_debug = future_loop_is_debug(loop, is_ours, state);

    *stack = NULL;
    if (AL_LIKELY(is_debug == 0)) {
        return 0;
    }
    if (is_debug > 0 && !Py_IsFinalizing()) {
        *stack = PyObject_CallNoArgs(state->imports.extract_whole_stack);
        return *stack == NULL ? -1 : 0;
    }
    return is_debug < 0 ? -1 : 0;
}

/* Let go of all that a future had. */
static void
future_drop(const al_future *old)
{
    Py_XDECREF(old->waiter);  /* or outcome */
    Py_XDECREF(old->context); /* or traceback */
    Py_XDECREF(old->source_traceback);
    Py_XDECREF(old->loop);
}

/* Whatever it was -> PENDING, and nobody waits. Takes the references to `loop`
 * and `source_traceback`, which may be NULL. By (4). */
static inline void
future_reset(al_future *self, PyObject *loop, bool is_ours,
             PyObject *source_traceback)
{
    al_future old = *self;

    self->state = AL_FUTURE_PENDING;
    self->loop = loop;
    self->is_ours = is_ours;
    self->waiter = self->context = NULL;
    self->source_traceback = source_traceback;
    self->is_blocking = self->log_traceback = false;
    if (AL_UNLIKELY(old.loop != NULL)) { /* else all was NULL */
        future_drop(&old);
    }
}

int
al_future_init(PyObject *op, PyObject *loop)
{
    al_future *self = al_future_of(op);
    al_state *state = self->module_state;
    PyObject *stack;

    if (AL_INITIALISES_ONCE && AL_UNLIKELY(self->loop != NULL)) {
        PyErr_Format(PyExc_RuntimeError, "%T object is already initialized",
                     op);
        return -1;
    }
    loop = loop == NULL || loop == Py_None
               ? PyObject_CallNoArgs(state->imports.get_event_loop)
               : Py_NewRef(loop);
    if (loop == NULL) {
        return -1;
    }
    bool is_ours = PyObject_TypeCheck(loop, state->LoopType);
    if (future_extract_stack(loop, is_ours, state, &stack) < 0) {
        Py_DECREF(loop);
        return -1;
    }
    bool is_again = self->loop != NULL;
    future_reset(self, loop, is_ours, stack);
    if (AL_UNLIKELY(is_again)) {
        al_future_set_cancel_message(op, Py_None);
    }
    return 0;
}

int
al_future_setattro(PyObject *op, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr(op, name, value) < 0) {
        return -1;
    }
    if (name == al_future_state_of(op)->names.cancel) { /* interned */
        al_future_of(op)->overrides_cancel = value != NULL;
    }
    return 0;
}

int
al_future_traverse(PyObject *op, visitproc visit, void *arg)
{
    al_future *self = al_future_of(op);

    Py_VISIT(self->loop);
    Py_VISIT(self->waiter);  /* or outcome */
    Py_VISIT(self->context); /* or traceback */
    Py_VISIT(self->source_traceback);
    return 0;
}

void
al_future_clear(PyObject *op)
{
    future_reset(al_future_of(op), NULL, false, NULL);
}

void
al_future_report(PyObject *op, PyObject *key, PyObject *message,
                 PyObject *exception)
{
    al_future *self = al_future_of(op);
    PyObject *source_traceback = Py_XNewRef(self->source_traceback);
    al_state *state = al_future_state_of(op);
    const al_report_item items[] = {
        {key, op},
        {state->names.source_traceback, source_traceback},
        {NULL, NULL}};

    al_report_unraisable(self->loop, state, message, exception, items);
    Py_XDECREF(source_traceback);
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
    PyObject *exc = Py_NewRef(self->outcome); /* by (5) */
    const char *dot = strrchr(Py_TYPE(op)->tp_name, '.');
    PyObject *message =
        PyUnicode_FromFormat("%s exception was never retrieved",
                             dot != NULL ? dot + 1 : Py_TYPE(op)->tp_name);
    al_future_report(op, state->names.future, message, exc);
    Py_DECREF(exc);
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
    al_state *state = al_future_state_of(op);
    (void)clear(op);
#if AL_FUTURE_BASE_IS_HEAP
    PyObject_GC_Track(op); /* as the base's dealloc expects it */
    base->tp_dealloc(op);  /* releases the type, too */
    (void)type;
#else
    base->tp_dealloc(op);
    Py_DECREF(type);
#endif
    al_state_disown(state);
    AL_TRASHCAN_END
}
