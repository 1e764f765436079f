/* handle_type.c - Handle and TimerHandle as Python sees them.
 *
 * isinstance(handle, asyncio.Handle) is true: __class__ returns asyncio's
 * class.  The struct is ours.  repr and comparison, which are seldom called,
 * are asyncio's own functions, which read our attributes. */
#include "sched/handle.h"

#include <time.h>

#include "base/call.h"
#include "sched/timers.h"

/* What a method of a handle locks. */
static inline PyObject *
handle_lock(PyObject *op)
{
    return (PyObject *)HandleObject_CAST(op)->loop;
}

/* --- methods ------------------------------------------------------------ */

/* Whether the loop is just running the callback, which another thread has
 * scheduled. */
static inline bool
handle_is_running_elsewhere(HandleObject *self)
{
    return AL_UNLIKELY(AL_LOAD(self->is_running)) &&
           PyThread_get_thread_ident() != AL_LOAD(self->loop->handle_thread);
}

/* Then the other thread's cancel() waits until it has returned: asyncio makes it
 * wait for a lock. That is rare and short. So the waiter polls is_running, and
 * the loop needs no lock. 0, or -1 with an exception set by a signal
 * handler. */
static int
handle_wait(HandleObject *self)
{
    const struct timespec pause = {.tv_nsec = 100 * 1000};

    while (handle_is_running_elsewhere(self)) {
        Py_BEGIN_ALLOW_THREADS nanosleep(&pause, NULL);
        Py_END_ALLOW_THREADS if (PyErr_CheckSignals() < 0)
        {
            return -1;
        }
    }
    return 0;
}

/* Whether the program has changed asyncio's class, so that its methods have to
 * be called. A loop that does not run may have to find that out now. */
static inline bool
handle_is_changed(HandleObject *self)
{
    return AL_UNLIKELY(!AL_LOAD(self->loop->is_direct)) &&
           !al_loop_may_push(self->loop) &&
           (self->loop->overrides & AL_OVERRIDES_HANDLES);
}

/* Call a method of asyncio's class. */
static PyObject *
handle_call_stock(HandleObject *self, PyObject *name)
{
    al_state *state = self->loop->state;
    bool is_timer = Py_IS_TYPE((PyObject *)self, state->TimerHandleType);

    return PyObject_CallMethodOneArg(is_timer
                                         ? state->imports.asyncio_TimerHandle
                                         : state->imports.asyncio_Handle,
                                     name, (PyObject *)self);
}

PyDoc_STRVAR(Handle_cancel_doc,
             "cancel($self, /)\n--\n\n"
             "Cancel the callback: it will not run.\n\n"
             "Cancelling twice, or after it has run, does nothing.");

static PyObject *
Handle_cancel(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    HandleObject *self = HandleObject_CAST(op);
    bool is_running;
    int rc = 0;

    if (handle_is_changed(self)) {
        return handle_call_stock(self, self->loop->state->names.cancel);
    }
    do {
        if (handle_wait(self) < 0) {
            return NULL;
        }
        AL_LOCK((PyObject *)self->loop);
        is_running = handle_is_running_elsewhere(self); /* again */
        if (!is_running) {
            rc = al_handle_cancel(self);
        }
        AL_UNLOCK();
    } while (is_running);
    return al_call_none(rc);
}

PyDoc_STRVAR(Handle_cancelled_doc, "cancelled($self, /)\n--\n\n"
                                   "Return True if it was cancelled.");

static PyObject *
Handle_cancelled(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (handle_wait(HandleObject_CAST(op)) < 0) {
        return NULL;
    }
    return PyBool_FromLong(HandleObject_CAST(op)->is_cancelled);
}

PyDoc_STRVAR(Handle_get_context_doc,
             "get_context($self, /)\n--\n\n"
             "Return the contextvars.Context the callback runs in.");

static PyObject *
Handle_get_context(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    HandleObject *self = HandleObject_CAST(op);

    if (self->has_snapshot) { /* Python code must not get it: copy it */
        PyObject *snapshot = Py_NewRef(self->context);
        PyObject *context = PyContext_Copy(snapshot); /* may run anything */
        Py_DECREF(snapshot);
        if (context == NULL) {
            return NULL;
        }
        if (self->has_snapshot) {
            self->has_snapshot = false;
            Py_SETREF(self->context, context);
        }
        else { /* a finaliser has called get_context(), or has run us */
            Py_DECREF(context);
        }
    }
    return Py_NewRef(self->context);
}

static PyObject *
Handle__run(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    al_loop_head *loop = HandleObject_CAST(op)->loop;

    if (handle_is_changed(HandleObject_CAST(op))) {
        return handle_call_stock(HandleObject_CAST(op),
                                 loop->state->names._run);
    }
    Py_INCREF(op);
    int rc = al_handle_run(loop, op);
    Py_DECREF(op);
    return al_call_none(rc);
}

static PyObject *
Handle__repr_info(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    HandleObject *self = HandleObject_CAST(op);

    return handle_call_stock(self, self->loop->state->names._repr_info);
}

static PyObject *
Handle_repr(PyObject *op)
{
    HandleObject *self = HandleObject_CAST(op);

    return PyObject_CallMethod(self->loop->state->imports.asyncio_Handle,
                               "__repr__", "O", op);
}

PyDoc_STRVAR(TimerHandle_when_doc,
             "when($self, /)\n--\n\n"
             "Return the deadline, in seconds of loop.time().");

static PyObject *
TimerHandle_when(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TimerHandleObject *self = TimerHandleObject_CAST(op);

    return self->deadline != NULL ? Py_NewRef(self->deadline)
                                  : PyFloat_FromDouble(self->when);
}

static PyObject *
TimerHandle_get__when(PyObject *op, void *Py_UNUSED(closure))
{
    return TimerHandle_when(op, NULL);
}

static PyObject *
TimerHandle_richcompare(PyObject *op, PyObject *other, int operation)
{
    static const char *const names[] = {
        [Py_LT] = "__lt__", [Py_LE] = "__le__", [Py_EQ] = "__eq__",
        [Py_NE] = "__ne__", [Py_GT] = "__gt__", [Py_GE] = "__ge__"};
    HandleObject *self = HandleObject_CAST(op);

    return PyObject_CallMethod(self->loop->state->imports.asyncio_TimerHandle,
                               names[operation], "OO", op, other);
}

static Py_hash_t
TimerHandle_hash(PyObject *op)
{
    PyObject *when = TimerHandle_when(op, NULL);
    if (when == NULL) {
        return -1;
    }
    Py_hash_t hash = PyObject_Hash(when);
    Py_DECREF(when);
    return hash;
}

/* --- attributes --------------------------------------------------------- */

static PyObject *
Handle_get___class__(PyObject *op, void *Py_UNUSED(closure))
{
    HandleObject *self = HandleObject_CAST(op);
    const al_state *state = self->loop->state;

    return Py_NewRef(self->is_threadsafe
                         ? state->imports.asyncio_ThreadSafeHandle
                         : state->imports.asyncio_Handle);
}

static PyObject *
TimerHandle_get___class__(PyObject *op, void *Py_UNUSED(closure))
{
    return Py_NewRef(
        HandleObject_CAST(op)->loop->state->imports.asyncio_TimerHandle);
}

static PyObject *
Handle_get__args(PyObject *op, void *Py_UNUSED(closure))
{
    HandleObject *self = HandleObject_CAST(op);

    if (self->callback == NULL) {
        Py_RETURN_NONE;
    }
    return al_handle_arguments(self);
}

static PyObject *
Handle_get__repr(PyObject *op, void *Py_UNUSED(closure))
{
    HandleObject *self = HandleObject_CAST(op);

    return Py_NewRef(self->callback == NULL && self->count > 0
                         ? self->arguments[0]
                         : Py_None);
}

static PyObject *
Handle_get__callback(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *callback = HandleObject_CAST(op)->callback;

    return Py_NewRef(al_or_none(callback));
}

static PyObject *
Handle_get__context(PyObject *op, void *Py_UNUSED(closure))
{
    return Handle_get_context(op, NULL);
}

static PyObject *
Handle_get__cancelled(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(HandleObject_CAST(op)->is_cancelled);
}

/* asyncio.Handle.cancel(handle) sets four attributes. Setting the first one
 * cancels the handle ... */
static int
Handle_set__cancelled(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    if (value != Py_True) {
        PyErr_SetString(PyExc_AttributeError,
                        "_cancelled can only be set to True");
        return -1;
    }
    return al_handle_cancel(HandleObject_CAST(op));
}

/* ... which sets the others: so setting those does nothing. */
static int
Handle_set_emptied(PyObject *op, PyObject *Py_UNUSED(value), void *name)
{
    if (!HandleObject_CAST(op)->is_cancelled) {
        PyErr_Format(PyExc_AttributeError, "%s of a handle is read-only",
                     (const char *)name);
        return -1;
    }
    return 0;
}

static PyObject *
TimerHandle_get__scheduled(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(TimerHandleObject_CAST(op)->index != -1);
}

/* asyncio's code sets it when it puts a timer into loop._scheduled, and when it
 * takes one out. */
static int
TimerHandle_set__scheduled(PyObject *op, PyObject *value,
                           void *Py_UNUSED(closure))
{
    TimerHandleObject *self = TimerHandleObject_CAST(op);
    int is_scheduled = value == NULL ? 0 : PyObject_IsTrue(value);

    if (is_scheduled < 0) {
        return -1;
    }
    if (!is_scheduled && self->index >= 0) {
        al_timers_disarm(self->base.loop, self);
    }
    else if (self->index < 0) {
        self->index = is_scheduled ? AL_TIMER_IN_LIST : -1;
    }
    return 0;
}

/* --- types -------------------------------------------------------------- */

AL_LOCKS(Handle_get_context, handle_lock)
AL_LOCKS(Handle__run, handle_lock)
AL_LOCKS_GETTER(Handle_get__context, handle_lock)
AL_LOCKS_GETTER(Handle_get__args, handle_lock)
AL_LOCKS_GETTER(Handle_get__callback, handle_lock)
AL_LOCKS_GETTER(Handle_get__repr, handle_lock)
AL_LOCKS_SETTER(Handle_set__cancelled, handle_lock)
AL_LOCKS_SETTER(TimerHandle_set__scheduled, handle_lock)

#define HANDLE_METHODS                                                        \
    {"cancel", Handle_cancel, METH_NOARGS, Handle_cancel_doc},                \
        {"cancelled", Handle_cancelled, METH_NOARGS, Handle_cancelled_doc},   \
        {"get_context", AL_LOCKED(Handle_get_context), METH_NOARGS,           \
         Handle_get_context_doc},                                             \
        {"_run", AL_LOCKED(Handle__run), METH_NOARGS, NULL},                  \
    {                                                                         \
        "_repr_info", Handle__repr_info, METH_NOARGS, NULL                    \
    }

#define HANDLE_MEMBERS                                                        \
    {"_loop", T_OBJECT, offsetof(HandleObject, loop), READONLY, NULL},        \
        {"_source_traceback", T_OBJECT,                                       \
         offsetof(HandleObject, source_traceback), 0, NULL},                  \
    {                                                                         \
        "__weaklistoffset__", T_PYSSIZET, offsetof(HandleObject, weakrefs),   \
            READONLY, NULL                                                    \
    }

static PyMethodDef Handle_methods[] = {HANDLE_METHODS, {NULL, NULL, 0, NULL}};

static PyMethodDef TimerHandle_methods[] = {
    HANDLE_METHODS,
    {"when", TimerHandle_when, METH_NOARGS, TimerHandle_when_doc},
    {NULL, NULL, 0, NULL}};

static PyMemberDef Handle_members[] = {HANDLE_MEMBERS, {NULL, 0, 0, 0, NULL}};

static PyMemberDef TimerHandle_members[] = {HANDLE_MEMBERS,
                                            {NULL, 0, 0, 0, NULL}};

#define HANDLE_GETSET                                                         \
    {"_context", AL_LOCKED(Handle_get__context), NULL, NULL, NULL},           \
        {"_args", AL_LOCKED(Handle_get__args), Handle_set_emptied, NULL,      \
         "_args"},                                                            \
        {"_callback", AL_LOCKED(Handle_get__callback), Handle_set_emptied,    \
         NULL, "_callback"},                                                  \
        {"_repr", AL_LOCKED(Handle_get__repr), Handle_set_emptied, NULL,      \
         "_repr"},                                                            \
    {                                                                         \
        "_cancelled", Handle_get__cancelled,                                  \
            AL_LOCKED(Handle_set__cancelled), NULL, NULL                      \
    }

static PyGetSetDef Handle_getset[] = {
    HANDLE_GETSET,
    {"__class__", Handle_get___class__, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyGetSetDef TimerHandle_getset[] = {
    {"_when", TimerHandle_get__when, NULL, NULL, NULL},
    HANDLE_GETSET,
    {"__class__", TimerHandle_get___class__, NULL, NULL, NULL},
    {"_scheduled", TimerHandle_get__scheduled,
     AL_LOCKED(TimerHandle_set__scheduled), NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(Handle_doc, "What loop.call_soon() returns: an asyncio.Handle.");
PyDoc_STRVAR(TimerHandle_doc, "What loop.call_later() and loop.call_at() "
                              "return: an asyncio.TimerHandle.");

static PyType_Slot Handle_type_slots[] = {{Py_tp_doc, (void *)Handle_doc},
                                          {Py_tp_repr, Handle_repr},
                                          {Py_tp_methods, Handle_methods},
                                          {Py_tp_members, Handle_members},
                                          {Py_tp_getset, Handle_getset},
                                          {Py_tp_traverse, al_handle_traverse},
                                          {Py_tp_clear, al_handle_clear},
                                          {Py_tp_dealloc, al_handle_dealloc},
                                          {0, NULL}};

static PyType_Slot TimerHandle_type_slots[] = {
    {Py_tp_doc, (void *)TimerHandle_doc},
    {Py_tp_repr, Handle_repr},
    {Py_tp_richcompare, TimerHandle_richcompare},
    {Py_tp_hash, TimerHandle_hash},
    {Py_tp_methods, TimerHandle_methods},
    {Py_tp_members, TimerHandle_members},
    {Py_tp_getset, TimerHandle_getset},
    {Py_tp_traverse, al_timer_handle_traverse},
    {Py_tp_clear, al_timer_handle_clear},
    {Py_tp_dealloc, al_timer_handle_dealloc},
    {0, NULL}};

#define HANDLE_FLAGS                                                          \
    (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |     \
     Py_TPFLAGS_DISALLOW_INSTANTIATION)

static PyType_Spec Handle_spec = {
    .name = "asyncloop._core.Handle",
    .basicsize = sizeof(HandleObject),
    .flags = HANDLE_FLAGS,
    .slots = Handle_type_slots,
};

static PyType_Spec TimerHandle_spec = {
    .name = "asyncloop._core.TimerHandle",
    .basicsize = sizeof(TimerHandleObject),
    .flags = HANDLE_FLAGS,
    .slots = TimerHandle_type_slots,
};

int
al_handle_init_types(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->HandleType = al_state_add_type(module, &Handle_spec, NULL);
    if (state->HandleType == NULL) {
        return -1;
    }
    state->TimerHandleType =
        al_state_add_type(module, &TimerHandle_spec, NULL);
    return state->TimerHandleType == NULL ? -1 : 0;
}
