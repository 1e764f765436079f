/* lock.c - asyncio.Lock: its holder passes it on to the first waiter.
 *
 *     acquire() -- free --> locked
 *          |
 *          +--- else ---> waiters --> release() or a cancelled waiter wakes
 *                                     the first one, which then takes it
 *
 * Invariant
 *   (1) A waiter that was woken is still among the waiters, until it runs. So
 *       nobody else takes the lock before it: acquire() looks for waiters that
 *       are not cancelled. */
#include "primitives/lock.h"

#include "base/args.h"
#include "primitives/primitive.h"

typedef struct {
    al_primitive head;
    bool is_locked;
} LockObject;

#define LockObject_CAST(op) ((LockObject *)(op))

/* Wake the first waiter, unless it was woken before. 0, or -1 with an exception
 * set. */
static int
lock_wake_first(LockObject *self)
{
    al_state *state = self->head.state;
    PyObject *waiter;

    if (al_waiters_first(state, self->head.waiters, &waiter) < 0) {
        return -1;
    }
    if (waiter == NULL) {
        return 0;
    }
    int rc = al_waiter_is_done(state, waiter);
    if (rc == 0) {
        rc = al_waiter_set_result(state, waiter, Py_True);
    }
    Py_DECREF(waiter);
    return rc < 0 ? -1 : 0;
}

/* Set RuntimeError and return -1 if it is not locked, else 0. */
static int
lock_release(LockObject *self)
{
    if (!self->is_locked) {
        PyErr_SetString(PyExc_RuntimeError, "Lock is not acquired.");
        return -1;
    }
    self->is_locked = false;
    return lock_wake_first(self);
}

/* --- acquire() --------------------------------------------------------------- */

/* 1 if it was taken, 0 if it is not free; -1 with an exception set. */
static inline int
lock_take(LockObject *self)
{
    if (self->is_locked) {
        return 0;
    }
    int is_free =
        self->head.waiters == NULL
            ? 1
            : al_waiters_are_cancelled(self->head.state, self->head.waiters);
    if (is_free > 0) {
        self->is_locked = true;
    }
    return is_free;
}

static al_outcome
lock_acquire(al_awaitable *await, PyObject *value, PyObject **result)
{
    LockObject *self = LockObject_CAST(await->owner);
    int taken = lock_take(self);

    if (AL_LIKELY(taken > 0)) {
        return al_awaitable_return(value, result);
    }
    return taken < 0 ? AL_RAISES
                     : al_primitive_wait(await, &self->head.waiters);
}

/* The waiter was woken, or an exception is set that was thrown. */
static al_outcome
lock_acquired(al_awaitable *await, PyObject *value, PyObject **result)
{
    LockObject *self = LockObject_CAST(await->owner);

    if (AL_LIKELY(al_waiters_leave(await, self->head.waiters) == 0)) {
        self->is_locked = true;
        return al_awaitable_return(value, result);
    }
    if (!self->is_locked &&
        PyErr_ExceptionMatches(self->head.state->imports.CancelledError))
    {
        /* It will not take the lock: the next waiter is to. */
        PyObject *exc = PyErr_GetRaisedException();
        (void)lock_wake_first(self);
        al_error_chain(exc);
    }
    return AL_RAISES;
}

static al_outcome
lock_acquire_start(al_awaitable *await, PyObject **result)
{
    return lock_acquire(await, Py_True, result);
}

static al_outcome
lock_acquire_resume(al_awaitable *await, PyObject *Py_UNUSED(value),
                    PyObject **result)
{
    return lock_acquired(await, Py_True, result);
}

static const al_operation lock_acquire_operation = {
    "Lock.acquire", lock_acquire_start, lock_acquire_resume};

static al_outcome
lock_aenter_start(al_awaitable *await, PyObject **result)
{
    return lock_acquire(await, Py_None, result);
}

static al_outcome
lock_aenter_resume(al_awaitable *await, PyObject *Py_UNUSED(value),
                   PyObject **result)
{
    return lock_acquired(await, Py_None, result);
}

static const al_operation lock_aenter_operation = {
    "_ContextManagerMixin.__aenter__", lock_aenter_start, lock_aenter_resume};

static al_outcome
lock_aexit_start(al_awaitable *await, PyObject **result)
{
    return lock_release(LockObject_CAST(await->owner)) < 0
               ? AL_RAISES
               : al_awaitable_return(Py_None, result);
}

static const al_operation lock_aexit_operation = {
    "_ContextManagerMixin.__aexit__", lock_aexit_start, NULL};

/* --- Python: methods ----------------------------------------------------------- */

PyDoc_STRVAR(
    Lock_acquire_doc,
    "acquire($self, /)\n--\n\n"
    "Wait until the lock is unlocked, then lock it; to be awaited.\n\n"
    "Returns True.");

static PyObject *
Lock_acquire(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_await(op, AL_LOCK, &lock_acquire_operation, "acquire",
                              NULL);
}

PyDoc_STRVAR(Lock_aenter_doc,
             "__aenter__($self, /)\n--\n\n"
             "Do what acquire() does; to be awaited. Returns None.");

static PyObject *
Lock_aenter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_await(op, AL_LOCK, &lock_aenter_operation,
                              "__aenter__", NULL);
}

PyDoc_STRVAR(Lock_aexit_doc, "__aexit__($self, exc_type, exc, tb, /)\n--\n\n"
                             "Do what release() does; to be awaited.");

static PyObject *
Lock_aexit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return al_primitive_aexit(op, AL_LOCK, &lock_aexit_operation, args, nargs);
}

PyDoc_STRVAR(Lock_release_doc,
             "release($self, /)\n--\n\n"
             "Unlock the lock, and let the first waiter have it.\n\n"
             "Raises RuntimeError if the lock is not locked.");

static PyObject *
Lock_release(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int is_plain = al_primitive_is_plain(op, AL_LOCK);

    if (AL_UNLIKELY(is_plain <= 0)) {
        return is_plain < 0
                   ? NULL
                   : al_primitive_call_stock(op, AL_LOCK, "release", NULL, 0);
    }
    return al_call_none(lock_release(LockObject_CAST(op)));
}

PyDoc_STRVAR(Lock_locked_doc, "locked($self, /)\n--\n\n"
                              "Return whether the lock is locked.");

static PyObject *
Lock_locked(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(AL_LOAD(LockObject_CAST(op)->is_locked));
}

static PyObject *
Lock_get_locked(PyObject *op, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(AL_LOAD(LockObject_CAST(op)->is_locked));
}

static int
Lock_set_locked(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return al_primitive_store_bool(&LockObject_CAST(op)->is_locked, value,
                                   "_locked");
}

/* --- Python: lifetime ----------------------------------------------------------- */

static int
Lock_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {"Lock.__init__", AL_ARGS(NULL), 0,
                                           0, 0};
    LockObject *self = LockObject_CAST(op);

    if (al_args_parse_tuple(&signature, args, kwargs, NULL) < 0) {
        return -1;
    }
    self->is_locked = false;
    Py_CLEAR(self->head.waiters);
    return 0;
}

/* --- type ------------------------------------------------------------------------- */

AL_LOCKS(Lock_acquire, al_primitive_lock)
AL_LOCKS(Lock_aenter, al_primitive_lock)
AL_LOCKS_FAST(Lock_aexit, al_primitive_lock)
AL_LOCKS(Lock_release, al_primitive_lock)

static PyMethodDef Lock_methods[] = {
    {"acquire", AL_LOCKED(Lock_acquire), METH_NOARGS, Lock_acquire_doc},
    {"release", AL_LOCKED(Lock_release), METH_NOARGS, Lock_release_doc},
    {"locked", Lock_locked, METH_NOARGS, Lock_locked_doc},
    {"__aenter__", AL_LOCKED(Lock_aenter), METH_NOARGS, Lock_aenter_doc},
    {"__aexit__", (PyCFunction)(void (*)(void))AL_LOCKED(Lock_aexit),
     METH_FASTCALL, Lock_aexit_doc},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef Lock_getset[] = {
    {"_loop", al_primitive_get_bound_loop, al_primitive_set_bound_loop, NULL,
     NULL},
    {"_waiters", al_primitive_get_waiters_or_none, al_primitive_set_waiters,
     NULL, NULL},
    {"_locked", Lock_get_locked, Lock_set_locked, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(Lock_doc,
             "Lock()\n--\n\n"
             "A lock between tasks: asyncio.Lock, whose hot methods are C.");

static PyType_Slot Lock_slots[] = {{Py_tp_doc, (void *)Lock_doc},
                                   {Py_tp_init, Lock_init},
                                   {Py_tp_dealloc, al_primitive_dealloc},
                                   {Py_tp_traverse, al_primitive_traverse},
                                   {Py_tp_clear, al_primitive_clear},
                                   {Py_tp_setattro, al_primitive_setattro},
                                   {Py_tp_methods, Lock_methods},
                                   {Py_tp_getset, Lock_getset},
                                   {0, NULL}};

static PyType_Spec Lock_spec = {
    .name = "asyncloop._core.Lock",
    .basicsize = sizeof(LockObject),
    .flags = AL_PRIMITIVE_FLAGS,
    .slots = Lock_slots,
};

int
al_lock_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->LockType = al_state_add_type(module, &Lock_spec, NULL);
    return state->LockType == NULL ? -1 : 0;
}
