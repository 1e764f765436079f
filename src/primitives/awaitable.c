/* awaitable.c - a coroutine without a frame, whose body is an operation in C.
 *
 *     await lock.acquire()             create_task(queue.get())
 *               |                                |
 *               +------ send(), throw() ---------+
 *                              |
 *          CREATED --start--> RUNNING --> DONE: result or exception
 *                              |  ^
 *                              v  | resume
 *                            WAITING: yields what it waits for
 *
 * It waits for a future of ours without an iterator: it yields the future, and
 * the task adds a callback of its own.  For all else it is as `await`: it makes
 * the iterator, and passes on what is sent and thrown.
 *
 * Invariants
 *   (1) awaited != NULL  ==>  the phase is WAITING or RUNNING.
 *   (2) An operation runs only in phase RUNNING. So it does not run twice at a
 *       time, although it may run any code.
 *   (3) On a free-threaded Python its owner, or if it has none it itself, is
 *       locked while it runs. */
#include "primitives/awaitable.h"

#include "base/call.h"
#include "base/coroutine.h"
#include "task/future.h"

enum { CREATED, RUNNING, WAITING, DONE };

/* Of a bare yield. */
enum { NO_YIELD, TO_YIELD, YIELDED };

/* What is locked while it runs, by (3). */
static inline PyObject *
awaitable_guard(PyObject *op)
{
    PyObject *owner = al_awaitable_CAST(op)->owner;

    return owner != NULL ? owner : op;
}

PyObject *
al_awaitable_new(al_state *state, const al_operation *operation,
                 PyObject *owner, PyObject *argument)
{
    al_awaitable *self = al_awaitable_CAST(
        al_freelist_new(&state->awaitables, state->AwaitableType));

    if (self == NULL) {
        return NULL;
    }
    self->owner = Py_XNewRef(owner);
    self->argument = Py_XNewRef(argument);
    self->waiter = self->awaited = self->saved = self->weakrefs = NULL;
    self->thrown = NULL;
    self->operation = operation;
    self->state = al_state_own(state);
    self->phase = CREATED;
    self->yields = NO_YIELD;
    self->is_future = false;
    self->place = 0;
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

/* --- waiting --------------------------------------------------------------- */

/* Whether somebody awaits the coroutine already. Then, and if that cannot be
 * found out, true and an exception set. */
static bool
awaitable_is_awaited(const al_awaitable *self, PyObject *coro)
{
    PyObject *inner = PyObject_GetAttr(coro, self->state->names.cr_await);

    if (AL_LIKELY(inner == Py_None)) {
        Py_DECREF(inner);
        return false;
    }
    if (inner != NULL) {
        Py_DECREF(inner);
        PyErr_SetString(PyExc_RuntimeError,
                        "coroutine is being awaited already");
    }
    return true;
}

/* Whether it is a generator that may be awaited, of types.coroutine(): 1, 0, or
 * -1 with an exception set. */
static int
awaitable_is_generator(PyObject *op)
{
    if (AL_LIKELY(!PyGen_CheckExact(op))) {
        return 0;
    }
    PyObject *code = PyObject_GetAttrString(op, "gi_code");
    if (code == NULL) {
        return -1;
    }
    int rc = PyCode_Check(code) &&
             (((PyCodeObject *)code)->co_flags & CO_ITERABLE_COROUTINE) != 0;
    Py_DECREF(code);
    return rc;
}

/* What `await op` iterates over. -> new reference, or NULL. */
static PyObject *
awaitable_iterator(const al_awaitable *self, PyObject *op)
{
    if (PyCoro_CheckExact(op)) {
        return awaitable_is_awaited(self, op) ? NULL : Py_NewRef(op);
    }
    int is_generator = awaitable_is_generator(op);
    if (is_generator != 0) {
        return is_generator < 0 ? NULL : Py_NewRef(op);
    }
    PyAsyncMethods *methods = Py_TYPE(op)->tp_as_async;
    if (methods == NULL || methods->am_await == NULL) {
        PyErr_Format(PyExc_TypeError, AL_AWAIT_REFUSAL, Py_TYPE(op)->tp_name);
        return NULL;
    }
    PyObject *iterator = methods->am_await(op);
    if (iterator == NULL) {
        return NULL;
    }
    int is_coroutine = PyCoro_CheckExact(iterator) ||
                       (is_generator = awaitable_is_generator(iterator)) > 0;
    if (is_generator < 0) {
        Py_CLEAR(iterator);
    }
    else if (is_coroutine || !PyIter_Check(iterator)) {
        al_await_refuse_iterator(op, iterator, is_coroutine);
        Py_CLEAR(iterator);
    }
    return iterator;
}

al_outcome
al_awaitable_resume_within(al_awaitable *self, PyObject *coro, PyObject *exc)
{
    assert(self->awaited == NULL && self->thrown == NULL);
    self->awaited = Py_NewRef(coro);
    self->thrown = Py_XNewRef(exc);
    self->is_future = false;
    return AL_AWAITS;
}

al_outcome
al_awaitable_yield(al_awaitable *self)
{
    assert(self->awaited == NULL);
    self->awaited = Py_NewRef(Py_None);
    self->yields = TO_YIELD;
    self->is_future = false;
    return AL_AWAITS;
}

al_outcome
al_awaitable_wait(al_awaitable *self, PyObject *awaited)
{
    assert(self->awaited == NULL);
    self->is_future = al_future_check_exact(self->state, awaited) &&
                      al_future_of(awaited)->loop != NULL;
    self->awaited = self->is_future ? Py_NewRef(awaited)
                                    : awaitable_iterator(self, awaited);
    return self->awaited != NULL ? AL_AWAITS : AL_RAISES;
}

al_outcome
al_awaitable_wait_stolen(al_awaitable *self, PyObject *awaited)
{
    if (awaited == NULL) {
        return AL_RAISES;
    }
    al_outcome outcome = al_awaitable_wait(self, awaited);
    Py_DECREF(awaited);
    return outcome;
}

al_outcome
al_awaitable_hand_on(al_awaitable *Py_UNUSED(self), PyObject *value,
                     PyObject **result)
{
    return value == NULL ? AL_RAISES : al_awaitable_return(value, result);
}

al_outcome
al_awaitable_end_with_none(al_awaitable *Py_UNUSED(self), PyObject *value,
                           PyObject **result)
{
    return value == NULL ? AL_RAISES : al_awaitable_return(Py_None, result);
}

/* Pass on what was sent. */
static inline PySendResult
awaitable_send_on(al_awaitable *self, PyObject *value, PyObject **result)
{
    PyObject *awaited = self->awaited;

    if (AL_LIKELY(self->is_future)) {
        return al_future_is_done(awaited)
                   ? al_future_step_done(awaited, result)
                   : al_future_step_wait(awaited, result);
    }
    if (self->yields != NO_YIELD) {
        bool is_over = self->yields == YIELDED;
        self->yields = is_over ? NO_YIELD : YIELDED;
        *result = Py_NewRef(Py_None);
        return is_over ? PYGEN_RETURN : PYGEN_NEXT;
    }
    return PyIter_Send(awaited, value, result);
}

/* The method, if an iterator has it: a new reference in *method, or NULL. 0,
 * or -1 with an exception set. */
static int
awaitable_get_method(PyObject *iterator, PyObject *name, PyObject **method)
{
    return PyObject_GetOptionalAttr(iterator, name, method) < 0 ? -1 : 0;
}

/* A generator closes what it waits for before it throws GeneratorExit. */
static PySendResult
awaitable_close_on(al_awaitable *self, PyObject *exc)
{
    PyObject *method;

    if (awaitable_get_method(self->awaited, self->state->names.close,
                             &method) < 0)
    {
        return PYGEN_ERROR;
    }
    if (method != NULL) {
        PyObject *closed = PyObject_CallNoArgs(method);
        Py_DECREF(method);
        if (closed == NULL) {
            return PYGEN_ERROR;
        }
        Py_DECREF(closed);
    }
    PyErr_SetRaisedException(Py_NewRef(exc));
    return PYGEN_ERROR;
}

/* Pass on what was thrown. */
static PySendResult
awaitable_throw_on(al_awaitable *self, PyObject *exc, PyObject **result)
{
    PyObject *method;

    *result = NULL;
    if (AL_LIKELY(self->is_future || self->yields != NO_YIELD)) {
        self->yields = NO_YIELD;
        PyErr_SetRaisedException(Py_NewRef(exc));
        return PYGEN_ERROR;
    }
    if (PyErr_GivenExceptionMatches(exc, PyExc_GeneratorExit)) {
        return awaitable_close_on(self, exc);
    }
    if (awaitable_get_method(self->awaited, self->state->names.throw,
                             &method) < 0)
    {
        return PYGEN_ERROR;
    }
    if (method == NULL) {
        PyErr_SetRaisedException(Py_NewRef(exc));
        return PYGEN_ERROR;
    }
    PyObject *value = PyObject_CallOneArg(method, exc);
    Py_DECREF(method);
    return al_step_thrown(value, result);
}

/* --- running --------------------------------------------------------------- */

static void
awaitable_end(al_awaitable *self)
{
    self->phase = DONE;
    Py_CLEAR(self->awaited);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->argument);
    Py_CLEAR(self->saved);
    Py_CLEAR(self->thrown);
}

/* Throw what al_awaitable_resume_within() was given. */
static PySendResult
awaitable_throw_saved(al_awaitable *self, PyObject **result)
{
    PyObject *exc = self->thrown; /* moved to here */

    self->thrown = NULL;
    PySendResult sent = awaitable_throw_on(self, exc, result);
    Py_DECREF(exc);
    return sent;
}

/* The operation goes on: until it yields, or is over. */
static PySendResult
awaitable_proceed(al_awaitable *self, al_outcome outcome, PySendResult sent,
                  PyObject *value, PyObject **result)
{
    for (;;) {
        if (outcome == AL_AWAITS) {
            if (sent == PYGEN_NEXT) {
                self->phase = WAITING;
                *result = value;
                return PYGEN_NEXT;
            }
            Py_CLEAR(self->awaited);
            outcome = self->operation->resume(
                self, sent == PYGEN_RETURN ? value : NULL, result);
            if (sent == PYGEN_RETURN) {
                Py_DECREF(value);
            }
            if (outcome == AL_AWAITS) {
                sent = AL_LIKELY(self->thrown == NULL)
                           ? awaitable_send_on(self, Py_None, &value)
                           : awaitable_throw_saved(self, &value);
                continue;
            }
        }
        awaitable_end(self);
        if (AL_LIKELY(outcome == AL_RETURNS)) {
            return PYGEN_RETURN;
        }
        *result = NULL;
        return PYGEN_ERROR;
    }
}

/* Set the exception of who sends or throws something at a wrong time. */
static PySendResult
awaitable_refuse(const al_awaitable *self, PyObject **result)
{
    if (self->phase == RUNNING) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
    }
    else {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited coroutine");
    }
    *result = NULL;
    return PYGEN_ERROR;
}

static PySendResult
awaitable_start(al_awaitable *self, PyObject *value, PyObject **result)
{
    if (AL_UNLIKELY(value != Py_None && value != NULL)) {
        PyErr_SetString(PyExc_TypeError, "can't send non-None value to a "
                                         "just-started coroutine");
        *result = NULL;
        return PYGEN_ERROR;
    }
    self->phase = RUNNING;
    al_outcome outcome = self->operation->start(self, result);
    if (AL_LIKELY(outcome == AL_RETURNS)) {
        self->phase = DONE;
        Py_CLEAR(self->argument);
        Py_CLEAR(self->saved);
        return PYGEN_RETURN;
    }
    PyObject *yielded = NULL;
    PySendResult sent = outcome == AL_AWAITS
                            ? awaitable_send_on(self, Py_None, &yielded)
                            : PYGEN_ERROR;
    return awaitable_proceed(self, outcome, sent, yielded, result);
}

static PySendResult
awaitable_send(al_awaitable *self, PyObject *value, PyObject **result)
{
    if (self->phase == CREATED) {
        return awaitable_start(self, value, result);
    }
    if (AL_UNLIKELY(self->phase != WAITING)) {
        return awaitable_refuse(self, result);
    }
    self->phase = RUNNING;
    PyObject *got;
    PySendResult sent;
    if (self->is_future && !al_future_is_done(self->awaited)) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        got = NULL;
        sent = PYGEN_ERROR;
    }
    else {
        sent = awaitable_send_on(self, value, &got);
    }
    return awaitable_proceed(self, AL_AWAITS, sent, got, result);
}

static PySendResult
awaitable_throw(al_awaitable *self, PyObject *exc, PyObject **result)
{
    PyObject *got;

    if (self->phase == CREATED) {
        awaitable_end(self);
        *result = NULL;
        PyErr_SetRaisedException(Py_NewRef(exc));
        return PYGEN_ERROR;
    }
    if (self->phase != WAITING) {
        return awaitable_refuse(self, result);
    }
    self->phase = RUNNING;
    PySendResult sent = awaitable_throw_on(self, exc, &got);
    return awaitable_proceed(self, AL_AWAITS, sent, got, result);
}

/* --- Python: iterator ------------------------------------------------------ */

static PySendResult
Awaitable_am_send(PyObject *op, PyObject *value, PyObject **result)
{
    PySendResult sent;

    AL_LOCK(awaitable_guard(op)); /* by (3) */
    sent = awaitable_send(al_awaitable_CAST(op), value, result);
    AL_UNLOCK();
    return sent;
}

static PyObject *
Awaitable_iternext(PyObject *op)
{
    PyObject *result;
    PySendResult sent = Awaitable_am_send(op, Py_None, &result);

    return al_step_next(sent, result);
}

static PyObject *
Awaitable_am_await(PyObject *op)
{
    if (AL_UNLIKELY(al_awaitable_CAST(op)->phase == WAITING)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "coroutine is being awaited already");
        return NULL;
    }
    return Py_NewRef(op);
}

/* --- Python: methods ------------------------------------------------------- */

PyDoc_STRVAR(Awaitable_send_doc,
             "send($self, value, /)\n--\n\n"
             "Go on until it waits or ends: what coroutines have.");

PyDoc_STRVAR(Awaitable_throw_doc,
             "throw($self, type, value=None, traceback=None, /)\n--\n\n"
             "Raise an exception where it waits: what coroutines have.");

static PyObject *
Awaitable_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *result;
    PySendResult sent;
    PyObject *exc = al_throw_parse(args, nargs);

    if (exc == NULL) {
        return NULL;
    }
    AL_LOCK(awaitable_guard(op)); /* by (3) */
    sent = awaitable_throw(al_awaitable_CAST(op), exc, &result);
    AL_UNLOCK();
    Py_DECREF(exc);
    return al_step_sent(sent, result);
}

/* End by GeneratorExit where it waits. 0, or -1 with an exception set. */
static int
awaitable_close(PyObject *op)
{
    PyObject *result;
    PySendResult sent;
    PyObject *exc = PyObject_CallNoArgs(PyExc_GeneratorExit);

    if (exc == NULL) {
        return -1;
    }
    AL_LOCK(awaitable_guard(op)); /* by (3) */
    sent = awaitable_throw(al_awaitable_CAST(op), exc, &result);
    AL_UNLOCK();
    Py_DECREF(exc);
    if (sent == PYGEN_ERROR) {
        if (!PyErr_ExceptionMatches(PyExc_GeneratorExit)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(result);
    if (sent == PYGEN_NEXT) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine ignored GeneratorExit");
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(Awaitable_close_doc,
             "close($self, /)\n--\n\n"
             "Raise GeneratorExit where it waits: what coroutines have.");

static PyObject *
Awaitable_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (al_awaitable_CAST(op)->phase == DONE) {
        Py_RETURN_NONE;
    }
    return al_call_none(awaitable_close(op));
}

static PyObject *
Awaitable_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    const char *qualname = al_awaitable_CAST(op)->operation->qualname;
    const char *dot = strrchr(qualname, '.');

    return PyUnicode_FromString(dot == NULL ? qualname : dot + 1);
}

static PyObject *
Awaitable_get_qualname(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(al_awaitable_CAST(op)->operation->qualname);
}

static PyObject *
Awaitable_get_running(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(al_awaitable_CAST(op)->phase == RUNNING);
}

static PyObject *
Awaitable_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<coroutine object %s at %p>",
                                al_awaitable_CAST(op)->operation->qualname,
                                op);
}

/* --- Python: lifetime ------------------------------------------------------ */

static int
Awaitable_traverse(PyObject *op, visitproc visit, void *arg)
{
    al_awaitable *self = al_awaitable_CAST(op);

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->owner);
    Py_VISIT(self->argument);
    Py_VISIT(self->waiter);
    Py_VISIT(self->awaited);
    Py_VISIT(self->saved);
    Py_VISIT(self->thrown);
    return 0;
}

/* The owner stays until the awaitable is freed: methods lock it. Its own
 * tp_clear breaks the cycle. */
static int
Awaitable_clear(PyObject *op)
{
    awaitable_end(al_awaitable_CAST(op));
    return 0;
}

/* As that of a coroutine: warn if it was never awaited, close it if it
 * waits. */
static void
Awaitable_finalize(PyObject *op)
{
    al_awaitable *self = al_awaitable_CAST(op);
    int rc = 0;

    if (self->phase != CREATED && self->phase != WAITING) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (self->phase == CREATED) {
        rc = PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                              "coroutine '%s' was never awaited",
                              self->operation->qualname);
    }
    else {
        rc = awaitable_close(op);
    }
    if (rc < 0) {
        PyErr_WriteUnraisable(op);
    }
    PyErr_SetRaisedException(exc);
}

static void
Awaitable_dealloc(PyObject *op)
{
    al_awaitable *self = al_awaitable_CAST(op);
    PyTypeObject *type = Py_TYPE(op);
    al_state *state = self->state;

    if (AL_UNLIKELY(self->phase != DONE) &&
        PyObject_CallFinalizerFromDealloc(op) < 0)
    {
        return; /* resurrected */
    }
    PyObject_GC_UnTrack(op);
    if (AL_UNLIKELY(self->weakrefs != NULL)) {
        PyObject_ClearWeakRefs(op);
    }
    if (AL_UNLIKELY(self->phase != DONE)) {
        awaitable_end(self);
    }
    Py_XDECREF(self->owner);
    AL_COUNT(type, -1);
    /* An object is finalised once: its memory would remember it. */
    if (AL_UNLIKELY(PyObject_GC_IsFinalized(op)) ||
        !al_freelist_push(&state->awaitables, op))
    {
        PyObject_GC_Del(op);
    }
    Py_DECREF(type);
    al_state_disown(state);
}

/* --- type ------------------------------------------------------------------ */

static PyMethodDef Awaitable_methods[] = {
    {"send", al_step_send, METH_O, Awaitable_send_doc},
    {"throw", (PyCFunction)(void (*)(void))Awaitable_throw, METH_FASTCALL,
     Awaitable_throw_doc},
    {"close", Awaitable_close, METH_NOARGS, Awaitable_close_doc},
    {NULL, NULL, 0, NULL}};

static PyMemberDef Awaitable_members[] = {{"__weaklistoffset__", T_PYSSIZET,
                                           offsetof(al_awaitable, weakrefs),
                                           READONLY, NULL},
                                          {NULL, 0, 0, 0, NULL}};

static PyGetSetDef Awaitable_getset[] = {
    {"__name__", Awaitable_get_name, NULL, NULL, NULL},
    {"__qualname__", Awaitable_get_qualname, NULL, NULL, NULL},
    {"cr_running", Awaitable_get_running, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(Awaitable_doc,
             "What sleep() and the waiting methods of locks return.\n\n"
             "To be awaited once, like a coroutine.");

static PyType_Slot Awaitable_slots[] = {
    {Py_tp_doc, (void *)Awaitable_doc},   {Py_tp_dealloc, Awaitable_dealloc},
    {Py_tp_finalize, Awaitable_finalize}, {Py_tp_traverse, Awaitable_traverse},
    {Py_tp_clear, Awaitable_clear},       {Py_tp_repr, Awaitable_repr},
    {Py_tp_iter, PyObject_SelfIter},      {Py_tp_iternext, Awaitable_iternext},
    {Py_tp_methods, Awaitable_methods},   {Py_tp_members, Awaitable_members},
    {Py_tp_getset, Awaitable_getset},     {Py_am_await, Awaitable_am_await},
    {Py_am_send, Awaitable_am_send},      {0, NULL}};

static PyType_Spec Awaitable_spec = {
    .name = "asyncloop._core.Awaitable",
    .basicsize = sizeof(al_awaitable),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
              Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION),
    .slots = Awaitable_slots,
};

int
al_awaitable_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->AwaitableType = al_state_add_type(module, &Awaitable_spec, NULL);
    return state->AwaitableType == NULL ? -1 : 0;
}
