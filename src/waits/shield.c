/* shield.c - asyncio.shield(): a future that is cancelled in place of another.
 *
 *     inner future --- is done: its outcome ---> outer future
 *          ^                                         |
 *          +------- is done first: forget it --------+
 *
 * Each arrow is a callback of the future where it begins.  Here is what is
 * usual: a future of ours, or a coroutine, on a loop of ours that runs.  For all
 * else asyncio's own function is called.
 *
 * From Python 3.14 on the task that shields is noted as awaiting the inner
 * future.  asyncio ends that in a callback of its own, which comes right before
 * the one that passes the outcome on; here one callback does both. */
#include "waits/shield.h"

#include "base/args.h"
#include "base/call.h"
#include "task/future.h"
#include "task/registry.h"
#include "task/task.h"
#include "waits/callback.h"
#include "waits/clock.h"

/* A callback, of the inner future or of the outer one. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    al_state *state; /* owned */
    PyObject *other; /* owned: the other future, of ours; NULL: forgotten */
    /* Owned. Of the inner future: the task that awaits it, or NULL. Of the
     * outer one: the callback of the inner one, NULL if it was cleared. */
    PyObject *link;
    bool is_outer; /* it is the outer future's */
} ShieldingObject;

#define ShieldingObject_CAST(op) ((ShieldingObject *)(op))

/* -> new reference to what a field has, or NULL. */
static PyObject *
shield_get(ShieldingObject *self, PyObject **field)
{
    PyObject *found;

    AL_LOCK((PyObject *)self);
    found = Py_XNewRef(*field);
    AL_UNLOCK();
    return found;
}

/* The same, and the field is NULL then. */
static PyObject *
shield_take(ShieldingObject *self, PyObject **field)
{
    PyObject *found;

    AL_LOCK((PyObject *)self);
    found = *field; /* moved to the caller */
    *field = NULL;
    AL_UNLOCK();
    return found;
}

static inline bool
shield_is_cancelled(PyObject *future)
{
    return AL_LOAD(al_future_of(future)->state) == AL_FUTURE_CANCELLED;
}

/* --- the inner future is done ------------------------------------------------- */

/* The task awaits the inner future no longer: 0, or -1. `self` is the callback
 * of the inner future. */
static int
shield_end_await(ShieldingObject *self, PyObject *inner)
{
    PyObject *task = shield_take(self, &self->link);

    if (task == NULL) {
        return 0;
    }
    int rc = al_registry_end_await(self->state, inner, task);
    Py_DECREF(task);
    return rc;
}

/* outer.set_exception(inner.exception()). 0, or -1. */
static int
shield_fail(const ShieldingObject *self, PyObject *inner, PyObject *outer)
{
    PyObject *exc =
        PyObject_CallMethodNoArgs(inner, self->state->names.exception);

    if (exc == NULL) {
        return -1;
    }
    int rc = al_future_set_exception(outer, exc);
    Py_DECREF(exc);
    return rc;
}

/* Give the outcome of the inner future to the outer one. 0, or -1. */
static int
shield_pass_on(const ShieldingObject *self, PyObject *inner, PyObject *outer)
{
    const al_state *state = self->state;
    PyObject *result;

    if (AL_UNLIKELY(shield_is_cancelled(outer))) {
        return state->imports.shield_retrieves == Py_True &&
                       !shield_is_cancelled(inner)
                   ? al_call_finish(PyObject_CallMethodNoArgs(
                         inner, state->names.exception))
                   : 0;
    }
    if (shield_is_cancelled(inner)) {
        return al_call_finish(
            PyObject_CallMethodNoArgs(outer, state->names.cancel));
    }
    if (al_future_of(inner)->exception != NULL) {
        return shield_fail(self, inner, outer);
    }
    int rc = al_future_take(inner, &result);
    if (rc != 0) { /* another thread has called __init__ meanwhile */
        if (rc > 0) {
            PyErr_SetObject((PyObject *)Py_TYPE(result), result);
            Py_DECREF(result);
        }
        return -1;
    }
    rc = al_future_set_result(outer, result);
    Py_DECREF(result);
    return rc;
}

static int
shield_inner_is_done(ShieldingObject *self, PyObject *inner)
{
    if (shield_end_await(self, inner) < 0) {
        return -1;
    }
    PyObject *outer = shield_get(self, &self->other);
    if (outer == NULL) {
        return 0;
    }
    int rc = shield_pass_on(self, inner, outer);
    Py_DECREF(outer);
    return rc;
}

/* --- the outer future is done ------------------------------------------------- */

/* future.<name>(callback). 0, or -1. */
static int
shield_call(PyObject *future, PyObject *name, PyObject *callback)
{
    return al_call_finish(PyObject_CallMethodOneArg(future, name, callback));
}

/* The inner future is pending: it has nobody any longer to tell. `callback` is
 * its own. 0, or -1. */
static int
shield_forget(al_state *state, PyObject *inner, ShieldingObject *callback)
{
    PyObject *remove = state->names.remove_done_callback;
    PyObject *log = state->imports.shield_log;
    PyObject *task = shield_get(callback, &callback->link);
    int rc;

    Py_XDECREF(task); /* only whether there is one counts */
    if (task != NULL && state->imports.shield_ends_await != Py_True) {
        Py_XDECREF(shield_take(callback, &callback->other));
        rc = 0;
    }
    else {
        rc = shield_call(inner, remove, (PyObject *)callback);
        if (rc == 0) {
            rc = shield_end_await(callback, inner);
        }
    }
    if (rc == 0 && log != Py_None) {
        /* However many were cancelled, it is logged once. */
        rc = shield_call(inner, remove, log);
        if (rc == 0) {
            rc = shield_call(inner, state->names.add_done_callback, log);
        }
    }
    return rc;
}

static int
shield_outer_is_done(ShieldingObject *self)
{
    PyObject *inner = shield_get(self, &self->other);
    PyObject *callback = shield_get(self, &self->link);
    int rc = 0;

    if (inner != NULL && callback != NULL && !al_future_is_done(inner)) {
        rc = shield_forget(self->state, inner, ShieldingObject_CAST(callback));
    }
    Py_XDECREF(inner);
    Py_XDECREF(callback);
    return rc;
}

static PyObject *
Shielding_vectorcall(PyObject *op, PyObject *const *args, size_t nargsf,
                     PyObject *kwnames)
{
    ShieldingObject *self = ShieldingObject_CAST(op);

    if (!al_callback_check(self->state, args, nargsf, kwnames)) {
        return NULL;
    }
    Py_INCREF(op);
    int rc = self->is_outer ? shield_outer_is_done(self)
                            : shield_inner_is_done(self, args[0]);
    Py_DECREF(op);
    return al_call_none(rc);
}

/* --- shield() --------------------------------------------------------------------- */

/* -> new reference, or NULL with an exception set. `link` may be NULL. */
static PyObject *
shield_new_callback(al_state *state, PyObject *other, PyObject *link,
                    bool is_outer)
{
    ShieldingObject *self =
        PyObject_GC_New(ShieldingObject, state->ShieldingType);

    if (self == NULL) {
        return NULL;
    }
    AL_COUNT(state->ShieldingType, 1);
    self->vectorcall = Shielding_vectorcall;
    self->state = al_state_own(state);
    self->other = Py_NewRef(other);
    self->link = Py_XNewRef(link);
    self->is_outer = is_outer;
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

/* Connect both futures. `task` may be NULL. 0, or -1 with an exception set. */
static int
shield_connect(al_state *state, PyObject *inner, PyObject *outer,
               PyObject *task)
{
    PyObject *context = PyContext_CopyCurrent();
    PyObject *of_inner = context == NULL
                             ? NULL
                             : shield_new_callback(state, outer, task, false);
    PyObject *of_outer =
        of_inner == NULL ? NULL
                         : shield_new_callback(state, inner, of_inner, true);
    int rc = of_outer == NULL ? -1 : 0;

    if (rc == 0 && task != NULL) {
        rc = al_registry_begin_await(state, inner, task);
    }
    if (rc == 0) {
        rc = al_future_add_callback(inner, of_inner, context);
    }
    if (rc == 0) {
        rc = al_future_add_callback(outer, of_outer, context);
    }
    Py_XDECREF(of_outer);
    Py_XDECREF(of_inner);
    Py_XDECREF(context);
    return rc;
}

/* -> the outer future; NULL without an exception if asyncio has to do it. */
static PyObject *
shield_on(al_state *state, al_loop_head *loop, PyObject *arg, bool is_future)
{
    PyObject *task, *outer = NULL;

    if (al_clock_awaiting_task(state, (PyObject *)loop, &task) <= 0) {
        return NULL;
    }
    PyObject *inner =
        is_future ? Py_NewRef(arg) : al_task_new(loop, arg, NULL, NULL, false);
    if (inner != NULL) {
        outer = al_future_make(loop);
    }
    if (outer != NULL && shield_connect(state, inner, outer, task) < 0) {
        Py_CLEAR(outer);
    }
    Py_XDECREF(inner);
    Py_XDECREF(task);
    return outer;
}

/* The same for a coroutine. */
static PyObject *
shield_coroutine(al_state *state, PyObject *coro)
{
    PyObject *result = NULL;
    int is_stock = al_call_finds(state->imports.events_globals,
                                 state->names.get_event_loop,
                                 state->imports.get_event_loop);
    PyObject *loop = is_stock > 0 ? al_clock_loop_or_none(state) : NULL;

    if (al_task_direct_loop(loop) != NULL &&
        al_clock_direct_loop(loop) != NULL)
    {
        result = shield_on(state, al_loop_head_CAST(loop), coro, false);
    }
    Py_XDECREF(loop);
    return result;
}

/* The same for a future of ours. */
static PyObject *
shield_future(al_state *state, PyObject *future)
{
    if (al_future_is_done(future)) {
        return Py_NewRef(future);
    }
    PyObject *loop = Py_XNewRef(al_future_of(future)->loop);
    al_loop_head *head = al_clock_direct_loop(loop);
    PyObject *result =
        head == NULL ? NULL : shield_on(state, head, future, true);
    Py_XDECREF(loop);
    return result;
}

/* As shield(): NULL without an exception if asyncio's function has to do it. */
static PyObject *
shield_usual(al_state *state, PyObject *arg)
{
    if (AL_UNLIKELY(state->imports.shield_is_known != Py_True) ||
        al_call_finds(state->imports.tasks_globals,
                      state->imports.shield_ensures,
                      state->imports.shield_ensure_future) <= 0)
    {
        return NULL;
    }
    if (al_future_check_exact(state, arg)) {
        return shield_future(state, arg);
    }
    return PyCoro_CheckExact(arg) || Py_IS_TYPE(arg, state->AwaitableType)
               ? shield_coroutine(state, arg)
               : NULL;
}

PyDoc_STRVAR(shield_doc,
             "shield(arg)\n--\n\n"
             "Return a future for the outcome of `arg`, a future or "
             "coroutine: asyncio.shield().\n\n"
             "If the returned future is cancelled, `arg` goes on.");

static PyObject *
shield_py_shield(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const al_signature signature = {"shield", AL_ARGS("arg"), 1, 1, 0};
    al_state *state = al_state_from_module(module);
    PyObject *arg = al_args_one(&signature, args, nargs, kwnames);

    if (arg == NULL) {
        return NULL;
    }
    PyObject *outer = shield_usual(state, arg);
    if (AL_LIKELY(outer != NULL) || PyErr_Occurred()) {
        return outer;
    }
    return PyObject_CallOneArg(state->imports.stock_shield, arg);
}

/* --- type -------------------------------------------------------------------------- */

static PyObject *
Shielding_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(ShieldingObject_CAST(op)->is_outer
                                    ? "shield.<locals>._outer_done_callback"
                                    : "shield.<locals>._inner_done_callback");
}

static int
Shielding_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(ShieldingObject_CAST(op)->other);
    Py_VISIT(ShieldingObject_CAST(op)->link);
    return 0;
}

static int
Shielding_clear(PyObject *op)
{
    Py_CLEAR(ShieldingObject_CAST(op)->other);
    Py_CLEAR(ShieldingObject_CAST(op)->link);
    return 0;
}

static void
Shielding_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    al_state *state = ShieldingObject_CAST(op)->state;

    PyObject_GC_UnTrack(op);
    (void)Shielding_clear(op);
    AL_COUNT(type, -1);
    PyObject_GC_Del(op);
    Py_DECREF(type);
    al_state_disown(state);
}

static PyMemberDef Shielding_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(ShieldingObject, vectorcall),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL}};

static PyGetSetDef Shielding_getset[] = {
    {"__name__", Shielding_get_name, NULL, NULL, NULL},
    {"__qualname__", Shielding_get_name, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(Shielding_doc, "The callback of a future of a shield().");

static PyType_Slot Shielding_slots[] = {
    {Py_tp_doc, (void *)Shielding_doc},   {Py_tp_dealloc, Shielding_dealloc},
    {Py_tp_traverse, Shielding_traverse}, {Py_tp_clear, Shielding_clear},
    {Py_tp_call, PyVectorcall_Call},      {Py_tp_members, Shielding_members},
    {Py_tp_getset, Shielding_getset},     {0, NULL}};

static PyType_Spec Shielding_spec = {
    .name = "asyncloop._core.Shielding",
    .basicsize = sizeof(ShieldingObject),
    .flags =
        (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
         Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION),
    .slots = Shielding_slots,
};

static PyMethodDef shield_functions[] = {
    {"shield", AL_KEYWORDS(shield_py_shield), shield_doc},
    {NULL, NULL, 0, NULL}};

int
al_shield_init(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->ShieldingType = al_state_add_type(module, &Shielding_spec, NULL);
    return state->ShieldingType == NULL
               ? -1
               : PyModule_AddFunctions(module, shield_functions);
}
