/* semaphore.c - asyncio.Semaphore and BoundedSemaphore: a number of places.
 *
 *     acquire() -- free --> value - 1
 *          |
 *          +--- else ---> waiters --> release() gives the first one a place:
 *                                     value + 1 - 1
 *
 * A waiter that is cancelled after it was given a place gives it back. */
#include "primitives/semaphore.h"

#include "base/args.h"
#include "primitives/primitive.h"

typedef struct {
    al_primitive head;
    al_number value;
    al_number bound; /* of a BoundedSemaphore */
    bool is_bounded;
} SemaphoreObject;

#define SemaphoreObject_CAST(op) ((SemaphoreObject *)(op))

static inline al_primitive_kind
semaphore_kind(PyObject *op)
{
    return SemaphoreObject_CAST(op)->is_bounded ? AL_BOUNDED_SEMAPHORE
                                                : AL_SEMAPHORE;
}

/* Give the first waiter that is not done a place. 1, or 0 if there is none; -1
 * with an exception set. */
static int
semaphore_wake_next(SemaphoreObject *self)
{
    al_state *state = self->head.state;
    PyObject *waiter;

    if (al_waiters_next(state, self->head.waiters, &waiter) < 0) {
        return -1;
    }
    if (waiter == NULL) {
        return 0;
    }
    self->value.number--;
    int rc = al_waiter_set_result(state, waiter, Py_True);
    Py_DECREF(waiter);
    return rc < 0 ? -1 : 1;
}

/* 0, or -1 with an exception set. */
static int
semaphore_release(SemaphoreObject *self)
{
    if (self->is_bounded && self->value.number >= self->bound.number) {
        PyErr_SetString(PyExc_ValueError,
                        "BoundedSemaphore released too many times");
        return -1;
    }
    self->value.number++;
    return semaphore_wake_next(self) < 0 ? -1 : 0;
}

/* Whether acquire() has to wait: 1, 0, or -1 with an exception set. */
static inline int
semaphore_is_locked(const SemaphoreObject *self)
{
    if (self->value.number == 0) {
        return 1;
    }
    if (self->head.waiters == NULL) {
        return 0;
    }
    int are_cancelled =
        al_waiters_are_cancelled(self->head.state, self->head.waiters);
    return are_cancelled < 0 ? -1 : !are_cancelled;
}

/* --- acquire() ------------------------------------------------------------- */

static al_outcome
semaphore_acquire(al_awaitable *await, PyObject *value, PyObject **result)
{
    SemaphoreObject *self = SemaphoreObject_CAST(await->owner);
    int is_locked = semaphore_is_locked(self);

    if (AL_LIKELY(is_locked == 0)) {
        self->value.number--;
        return al_awaitable_return(value, result);
    }
    return is_locked < 0 ? AL_RAISES
                         : al_primitive_wait(await, &self->head.waiters);
}

/* It was cancelled: give back the place that it was given. 0, or -1 with an
 * exception set. */
static int
semaphore_give_back(SemaphoreObject *self, const al_awaitable *await)
{
    al_state *state = self->head.state;
    int is_cancelled = al_waiter_is_cancelled(state, await->waiter);
    int is_done = is_cancelled != 0 || !AL_SEMAPHORE_FILLS(state)
                      ? 1
                      : al_waiter_is_done(state, await->waiter);

    if (is_cancelled < 0 || is_done < 0) {
        return -1;
    }
    if (is_cancelled || !is_done) {
        return 0;
    }
    self->value.number++;
    return AL_SEMAPHORE_FILLS(state) ? 0 : semaphore_wake_next(self);
}

/* Waiters may have come while there were places, but had to queue. 0, or -1
 * with an exception set. */
static int
semaphore_fill(SemaphoreObject *self)
{
    while (self->value.number > 0) {
        int woken = semaphore_wake_next(self);
        if (woken <= 0) {
            return woken;
        }
        if (!AL_SEMAPHORE_FILLS(self->head.state)) {
            return 0; /* one at most */
        }
    }
    return 0;
}

/* The waiter was woken, or an exception is set that was thrown. */
static al_outcome
semaphore_acquired(al_awaitable *await, PyObject *value, PyObject **result)
{
    SemaphoreObject *self = SemaphoreObject_CAST(await->owner);

    if (AL_LIKELY(al_waiters_leave(await, self->head.waiters) == 0)) {
        return semaphore_fill(self) < 0 ? AL_RAISES
                                        : al_awaitable_return(value, result);
    }
    PyObject *raised = PyErr_GetRaisedException();
    int rc = 0;
    if (PyErr_GivenExceptionMatches(raised,
                                    self->head.state->imports.CancelledError))
    {
        rc = semaphore_give_back(self, await) < 0 ? -1 : 0;
    }
    if (rc == 0 && AL_SEMAPHORE_FILLS(self->head.state)) {
        rc = semaphore_fill(self);
    }
    al_error_chain(raised);
    return AL_RAISES;
}

static al_outcome
semaphore_acquire_start(al_awaitable *await, PyObject **result)
{
    return semaphore_acquire(await, Py_True, result);
}

static al_outcome
semaphore_acquire_resume(al_awaitable *await, PyObject *Py_UNUSED(value),
                         PyObject **result)
{
    return semaphore_acquired(await, Py_True, result);
}

static const al_operation semaphore_acquire_operation = {
    "Semaphore.acquire", semaphore_acquire_start, semaphore_acquire_resume};

static al_outcome
semaphore_aenter_start(al_awaitable *await, PyObject **result)
{
    return semaphore_acquire(await, Py_None, result);
}

static al_outcome
semaphore_aenter_resume(al_awaitable *await, PyObject *Py_UNUSED(value),
                        PyObject **result)
{
    return semaphore_acquired(await, Py_None, result);
}

static const al_operation semaphore_aenter_operation = {
    "_ContextManagerMixin.__aenter__", semaphore_aenter_start,
    semaphore_aenter_resume};

static al_outcome
semaphore_aexit_start(al_awaitable *await, PyObject **result)
{
    return semaphore_release(SemaphoreObject_CAST(await->owner)) < 0
               ? AL_RAISES
               : al_awaitable_return(Py_None, result);
}

static const al_operation semaphore_aexit_operation = {
    "_ContextManagerMixin.__aexit__", semaphore_aexit_start, NULL};

/* --- Python: methods --------------------------------------------------------- */

PyDoc_STRVAR(Semaphore_acquire_doc,
             "acquire($self, /)\n--\n\n"
             "Take a place, after waiting for one; to be awaited.\n\n"
             "Returns True.");

static PyObject *
Semaphore_acquire(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_await(op, semaphore_kind(op),
                              &semaphore_acquire_operation, "acquire", NULL);
}

PyDoc_STRVAR(Semaphore_aenter_doc,
             "__aenter__($self, /)\n--\n\n"
             "Do what acquire() does; to be awaited. Returns None.");

static PyObject *
Semaphore_aenter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_await(op, semaphore_kind(op),
                              &semaphore_aenter_operation, "__aenter__", NULL);
}

PyDoc_STRVAR(Semaphore_aexit_doc,
             "__aexit__($self, exc_type, exc, tb, /)\n--\n\n"
             "Do what release() does; to be awaited.");

static PyObject *
Semaphore_aexit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return al_primitive_aexit(op, semaphore_kind(op),
                              &semaphore_aexit_operation, args, nargs);
}

PyDoc_STRVAR(Semaphore_release_doc,
             "release($self, /)\n--\n\n"
             "Give a place back, and let the first waiter have it.\n\n"
             "That of a BoundedSemaphore raises ValueError if all places are "
             "free.");

static PyObject *
Semaphore_release(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int is_plain = al_primitive_is_plain(op, semaphore_kind(op));

    if (AL_UNLIKELY(is_plain <= 0)) {
        return is_plain < 0 ? NULL
                            : al_primitive_call_stock(op, semaphore_kind(op),
                                                      "release", NULL, 0);
    }
    return al_call_none(semaphore_release(SemaphoreObject_CAST(op)));
}

PyDoc_STRVAR(Semaphore_locked_doc,
             "locked($self, /)\n--\n\n"
             "Return whether acquire() would have to wait.");

static PyObject *
Semaphore_locked(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int is_plain = al_primitive_is_plain(op, semaphore_kind(op));

    if (AL_UNLIKELY(is_plain <= 0)) {
        return is_plain < 0 ? NULL
                            : al_primitive_call_stock(op, semaphore_kind(op),
                                                      "locked", NULL, 0);
    }
    int is_locked = semaphore_is_locked(SemaphoreObject_CAST(op));
    return is_locked < 0 ? NULL : PyBool_FromLong(is_locked);
}

/* --- Python: attributes -------------------------------------------------------- */

static PyObject *
Semaphore_get_value(PyObject *op, void *Py_UNUSED(closure))
{
    return al_number_load(&SemaphoreObject_CAST(op)->value);
}

static int
Semaphore_set_value(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return al_number_store(op, &SemaphoreObject_CAST(op)->value, value,
                           "_value");
}

static PyObject *
Semaphore_get_bound(PyObject *op, void *Py_UNUSED(closure))
{
    return al_number_load(&SemaphoreObject_CAST(op)->bound);
}

static int
Semaphore_set_bound(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    return al_number_store(op, &SemaphoreObject_CAST(op)->bound, value,
                           "_bound_value");
}

/* --- Python: lifetime ------------------------------------------------------------ */

/* Set the value that __init__() is given. 0, or -1 with an exception set. */
static int
semaphore_begin(PyObject *op, PyObject *value)
{
    PyObject *zero = PyLong_FromLong(0);
    int is_negative =
        zero == NULL ? -1 : PyObject_RichCompareBool(value, zero, Py_LT);

    Py_XDECREF(zero);
    if (is_negative > 0) {
        PyErr_SetString(PyExc_ValueError,
                        "Semaphore initial value must be >= 0");
    }
    if (is_negative != 0) {
        return -1;
    }
    Py_CLEAR(al_primitive_CAST(op)->waiters);
    return al_number_store(op, &SemaphoreObject_CAST(op)->value, value,
                           "_value");
}

/* -> new reference to the argument of __init__(), or NULL. */
static PyObject *
semaphore_argument(const al_signature *signature, PyObject *args,
                   PyObject *kwargs)
{
    PyObject *value;

    if (al_args_parse_tuple(signature, args, kwargs, &value) < 0) {
        return NULL;
    }
    return value != NULL ? Py_NewRef(value) : PyLong_FromLong(1);
}

static int
Semaphore_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {"Semaphore.__init__",
                                           AL_ARGS("value"), 0, 1, 0};
    PyObject *value = semaphore_argument(&signature, args, kwargs);
    if (value == NULL) {
        return -1;
    }
    int rc = semaphore_begin(op, value);
    Py_DECREF(value);
    return rc;
}

static int
BoundedSemaphore_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {"BoundedSemaphore.__init__",
                                           AL_ARGS("value"), 0, 1, 0};
    PyObject *value = semaphore_argument(&signature, args, kwargs);
    if (value == NULL) {
        return -1;
    }
    SemaphoreObject_CAST(op)->is_bounded = true;
    int rc = al_number_store(op, &SemaphoreObject_CAST(op)->bound, value,
                             "_bound_value") < 0
                 ? -1
                 : semaphore_begin(op, value);
    Py_DECREF(value);
    return rc;
}

static int
Semaphore_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(SemaphoreObject_CAST(op)->value.odd);
    Py_VISIT(SemaphoreObject_CAST(op)->bound.odd);
    return al_primitive_traverse(op, visit, arg);
}

static int
Semaphore_clear(PyObject *op)
{
    Py_CLEAR(SemaphoreObject_CAST(op)->value.odd);
    Py_CLEAR(SemaphoreObject_CAST(op)->bound.odd);
    return al_primitive_clear(op);
}

/* --- types ----------------------------------------------------------------------- */

AL_LOCKS(Semaphore_acquire, al_primitive_lock)
AL_LOCKS(Semaphore_aenter, al_primitive_lock)
AL_LOCKS_FAST(Semaphore_aexit, al_primitive_lock)
AL_LOCKS(Semaphore_release, al_primitive_lock)
AL_LOCKS(Semaphore_locked, al_primitive_lock)
AL_LOCKS_GETTER(Semaphore_get_value, al_primitive_lock)
AL_LOCKS_SETTER(Semaphore_set_value, al_primitive_lock)
AL_LOCKS_GETTER(Semaphore_get_bound, al_primitive_lock)
AL_LOCKS_SETTER(Semaphore_set_bound, al_primitive_lock)

static PyMethodDef Semaphore_methods[] = {
    {"acquire", AL_LOCKED(Semaphore_acquire), METH_NOARGS,
     Semaphore_acquire_doc},
    {"release", AL_LOCKED(Semaphore_release), METH_NOARGS,
     Semaphore_release_doc},
    {"locked", AL_LOCKED(Semaphore_locked), METH_NOARGS, Semaphore_locked_doc},
    {"__aenter__", AL_LOCKED(Semaphore_aenter), METH_NOARGS,
     Semaphore_aenter_doc},
    {"__aexit__", (PyCFunction)(void (*)(void))AL_LOCKED(Semaphore_aexit),
     METH_FASTCALL, Semaphore_aexit_doc},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef Semaphore_getset[] = {
    {"_loop", al_primitive_get_bound_loop, al_primitive_set_bound_loop, NULL,
     NULL},
    {"_waiters", al_primitive_get_waiters_or_none, al_primitive_set_waiters,
     NULL, NULL},
    {"_value", AL_LOCKED(Semaphore_get_value), AL_LOCKED(Semaphore_set_value),
     NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(Semaphore_doc,
             "Semaphore(value=1)\n--\n\n"
             "A number of places that tasks take: asyncio.Semaphore, whose "
             "hot methods are C.");

static PyType_Slot Semaphore_slots[] = {
    {Py_tp_doc, (void *)Semaphore_doc},
    {Py_tp_init, Semaphore_init},
    {Py_tp_dealloc, al_primitive_dealloc},
    {Py_tp_traverse, Semaphore_traverse},
    {Py_tp_clear, Semaphore_clear},
    {Py_tp_setattro, al_primitive_setattro},
    {Py_tp_methods, Semaphore_methods},
    {Py_tp_getset, Semaphore_getset},
    {0, NULL}};

static PyType_Spec Semaphore_spec = {
    .name = "asyncloop._core.Semaphore",
    .basicsize = sizeof(SemaphoreObject),
    .flags = AL_PRIMITIVE_FLAGS,
    .slots = Semaphore_slots,
};

/* It has a release() of its own: is_plain() tells the two by that. */
static PyMethodDef BoundedSemaphore_methods[] = {
    {"release", AL_LOCKED(Semaphore_release), METH_NOARGS,
     Semaphore_release_doc},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef BoundedSemaphore_getset[] = {
    {"_bound_value", AL_LOCKED(Semaphore_get_bound),
     AL_LOCKED(Semaphore_set_bound), NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(BoundedSemaphore_doc,
             "BoundedSemaphore(value=1)\n--\n\n"
             "A Semaphore of which no more places are given back than were "
             "taken.");

static PyType_Slot BoundedSemaphore_slots[] = {
    {Py_tp_doc, (void *)BoundedSemaphore_doc},
    {Py_tp_init, BoundedSemaphore_init},
    {Py_tp_dealloc, al_primitive_dealloc},
    {Py_tp_traverse, Semaphore_traverse},
    {Py_tp_clear, Semaphore_clear},
    {Py_tp_methods, BoundedSemaphore_methods},
    {Py_tp_getset, BoundedSemaphore_getset},
    {0, NULL}};

static PyType_Spec BoundedSemaphore_spec = {
    .name = "asyncloop._core.BoundedSemaphore",
    .basicsize = sizeof(SemaphoreObject),
    .flags = AL_PRIMITIVE_FLAGS,
    .slots = BoundedSemaphore_slots,
};

int
al_semaphore_init_types(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->SemaphoreType = al_state_add_type(module, &Semaphore_spec, NULL);
    if (state->SemaphoreType == NULL) {
        return -1;
    }
    state->BoundedSemaphoreType = al_state_add_type(
        module, &BoundedSemaphore_spec, (PyObject *)state->SemaphoreType);
    return state->BoundedSemaphoreType == NULL ? -1 : 0;
}
