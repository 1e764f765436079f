/* condition.c - asyncio.Condition: tasks wait without its lock, until another
 * one that has the lock notifies them.
 *
 *     wait(): release() --> waiters --> notify(), or an exception
 *                                         |
 *             acquire() of the lock <-----+   again and again, if it is
 *                 |                           cancelled
 *             True, or the exception
 *
 * Its lock may be of any type: asyncio's __init__ puts the methods acquire(),
 * release() and locked() of the lock on the object, where the program may
 * replace them. */
#include "primitives/condition.h"

#include "base/args.h"
#include "base/errors.h"
#include "primitives/primitive.h"

/* Call a method without arguments. -> new reference, or NULL. */
static PyObject *
condition_call(PyObject *op, PyObject *name)
{
    return PyObject_CallMethodNoArgs(op, name);
}

/* Set RuntimeError(message) and return -1 if the lock is not locked, or -1 with
 * another exception; else 0. */
static int
condition_check_locked(PyObject *op, const char *message)
{
    al_state *state = al_primitive_CAST(op)->state;
    int is_locked = al_call_is_true(condition_call(op, state->names.locked));

    if (is_locked == 0) {
        PyErr_SetString(PyExc_RuntimeError, message);
    }
    return is_locked > 0 ? 0 : -1;
}

/* --- wait() ---------------------------------------------------------------- */

enum { NOTIFIED, ACQUIRED }; /* what it waits for */

/* It was not woken as it should: from 3.13 on, wake another one. The exception
 * that is set is raised. */
static al_outcome
condition_fail(al_awaitable *await)
{
    al_state *state = await->state;

    if (AL_CONDITION_PASSES_ON(state)) {
        PyObject *raised = PyErr_GetRaisedException();
        Py_ssize_t woken = al_waiters_wake(
            state, al_primitive_CAST(await->owner)->waiters, 1, Py_False);
        (void)woken; /* if it has failed, that is the exception */
        al_error_chain(raised);
    }
    return AL_RAISES;
}

/* It has the lock again. await->saved is the exception that has ended the wait,
 * await->argument the last one that has ended an acquire(), or they are
 * NULL. */
static al_outcome
condition_finish(al_awaitable *await, PyObject **result)
{
    PyObject *saved = await->saved, *cancelled = await->argument;

    if (AL_LIKELY(saved == NULL && cancelled == NULL)) {
        return al_awaitable_return(Py_True, result);
    }
    await->saved = await->argument = NULL;
    if (cancelled == NULL) {
        PyErr_SetRaisedException(saved);
        return condition_fail(await);
    }
    if (!AL_CONDITION_PASSES_ON(await->state)) { /* it raises a new one */
        Py_DECREF(cancelled);
        cancelled = PyObject_CallNoArgs(await->state->imports.CancelledError);
    }
    if (cancelled != NULL) {
        PyErr_SetRaisedException(cancelled);
    }
    if (saved != NULL) {
        PyObject *raised = PyErr_GetRaisedException();
        PyErr_SetRaisedException(saved);
        al_error_replace(raised);
    }
    return condition_fail(await);
}

/* An acquire() was cancelled: note the exception that is set and return 0, or
 * -1 if it is another one. */
static int
condition_note_cancelled(al_awaitable *await)
{
    if (!PyErr_ExceptionMatches(await->state->imports.CancelledError)) {
        if (await->saved != NULL) {
            PyObject *raised = PyErr_GetRaisedException();
            PyErr_SetRaisedException(await->saved);
            await->saved = NULL;
            al_error_replace(raised);
        }
        return -1;
    }
    Py_XSETREF(await->argument, PyErr_GetRaisedException());
    return 0;
}

/* Wait for acquire(). */
static al_outcome
condition_reacquire(al_awaitable *await)
{
    for (;;) {
        al_outcome outcome = al_awaitable_wait_stolen(
            await, condition_call(await->owner, await->state->names.acquire));
        if (outcome == AL_AWAITS) {
            return AL_AWAITS;
        }
        if (condition_note_cancelled(await) < 0) {
            return condition_fail(await);
        }
    }
}

static al_outcome
condition_wait_start(al_awaitable *await, PyObject **Py_UNUSED(result))
{
    PyObject *op = await->owner;
    al_primitive *self = al_primitive_CAST(op);
    bool makes_first = AL_CONDITION_PASSES_ON(await->state);

    await->place = NOTIFIED;
    if (condition_check_locked(op, "cannot wait on un-acquired lock") < 0) {
        return AL_RAISES;
    }
    if (makes_first &&
        (await->waiter = al_primitive_make_future(self)) == NULL)
    {
        return AL_RAISES;
    }
    if (al_call_finish(condition_call(op, self->state->names.release)) < 0) {
        return AL_RAISES;
    }
    if (!makes_first) {
        await->waiter = al_primitive_make_future(self);
    }
    if (await->waiter != NULL &&
        al_waiters_append(self->state, &self->waiters, await->waiter) == 0)
    {
        al_outcome outcome = al_awaitable_wait(await, await->waiter);
        if (outcome == AL_AWAITS) {
            return outcome;
        }
        int left = al_waiters_leave(await, self->waiters);
        (void)left; /* an exception is set in any case */
    }
    await->saved = PyErr_GetRaisedException();
    await->place = ACQUIRED;
    return condition_reacquire(await);
}

static al_outcome
condition_wait_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    if (await->place == NOTIFIED) {
        await->place = ACQUIRED;
        if (al_waiters_leave(await, al_primitive_CAST(await->owner)->waiters) <
            0)
        {
            await->saved = PyErr_GetRaisedException();
        }
        return condition_reacquire(await);
    }
    if (AL_LIKELY(value != NULL)) {
        return condition_finish(await, result);
    }
    return condition_note_cancelled(await) < 0 ? condition_fail(await)
                                               : condition_reacquire(await);
}

static const al_operation condition_wait_operation = {
    "Condition.wait", condition_wait_start, condition_wait_resume};

/* --- async with ------------------------------------------------------------- */

static al_outcome
condition_aenter_start(al_awaitable *await, PyObject **Py_UNUSED(result))
{
    return al_awaitable_wait_stolen(
        await, condition_call(await->owner, await->state->names.acquire));
}

static const al_operation condition_aenter_operation = {
    "_ContextManagerMixin.__aenter__", condition_aenter_start,
    al_awaitable_end_with_none};

static al_outcome
condition_aexit_start(al_awaitable *await, PyObject **result)
{
    return al_call_finish(
               condition_call(await->owner, await->state->names.release)) < 0
               ? AL_RAISES
               : al_awaitable_return(Py_None, result);
}

static const al_operation condition_aexit_operation = {
    "_ContextManagerMixin.__aexit__", condition_aexit_start, NULL};

/* --- Python: methods ---------------------------------------------------------- */

PyDoc_STRVAR(Condition_wait_doc,
             "wait($self, /)\n--\n\n"
             "Release the lock, wait until notified, and acquire it again; to "
             "be awaited.\n\n"
             "Returns True, also without a notification now and then. Raises "
             "RuntimeError if\nthe lock is not locked.");

static PyObject *
Condition_wait(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_await(op, AL_CONDITION, &condition_wait_operation,
                              "wait", NULL);
}

PyDoc_STRVAR(Condition_aenter_doc,
             "__aenter__($self, /)\n--\n\n"
             "Do what acquire() does; to be awaited. Returns None.");

static PyObject *
Condition_aenter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_await(op, AL_CONDITION, &condition_aenter_operation,
                              "__aenter__", NULL);
}

PyDoc_STRVAR(Condition_aexit_doc,
             "__aexit__($self, exc_type, exc, tb, /)\n--\n\n"
             "Do what release() does; to be awaited.");

static PyObject *
Condition_aexit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return al_primitive_aexit(op, AL_CONDITION, &condition_aexit_operation,
                              args, nargs);
}

/* Wake the first `n` waiters. -> None, or NULL with an exception set. */
static PyObject *
condition_notify(PyObject *op, Py_ssize_t n)
{
    al_primitive *self = al_primitive_CAST(op);

    if (condition_check_locked(op, "cannot notify on un-acquired lock") < 0) {
        return NULL;
    }
    return al_call_none(
        al_waiters_wake(self->state, self->waiters, n, Py_False) < 0 ? -1 : 0);
}

PyDoc_STRVAR(Condition_notify_doc,
             "notify($self, /, n=1)\n--\n\n"
             "Wake n of the tasks that wait, or all if there are fewer.\n\n"
             "Raises RuntimeError if the lock is not locked.");

static PyObject *
Condition_notify(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const al_signature signature = {"Condition.notify", AL_ARGS("n"), 0,
                                           1, 0};
    PyObject *n;
    Py_ssize_t number = 1;

    if (al_args_parse(&signature, args, nargs, kwnames, &n) < 0) {
        return NULL;
    }
    int is_plain = al_primitive_is_plain(op, AL_CONDITION);
    if (is_plain < 0) {
        return NULL;
    }
    if (n != NULL) {
        number = PyLong_CheckExact(n) ? PyLong_AsSsize_t(n) : -1;
        if (number == -1 && PyErr_Occurred()) {
            PyErr_Clear(); /* it is too large */
            is_plain = 0;
        }
        is_plain = is_plain && PyLong_CheckExact(n);
    }
    return is_plain ? condition_notify(op, number)
                    : al_primitive_call_stock(op, AL_CONDITION, "notify", &n,
                                              n != NULL);
}

PyDoc_STRVAR(Condition_notify_all_doc,
             "notify_all($self, /)\n--\n\n"
             "Wake all tasks that wait.\n\n"
             "Raises RuntimeError if the lock is not locked.");

static PyObject *
Condition_notify_all(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    int is_plain = al_primitive_is_plain(op, AL_CONDITION);

    if (AL_UNLIKELY(is_plain <= 0)) {
        return is_plain < 0 ? NULL
                            : al_primitive_call_stock(op, AL_CONDITION,
                                                      "notify_all", NULL, 0);
    }
    return condition_notify(op, PY_SSIZE_T_MAX);
}

/* --- type ----------------------------------------------------------------------- */

AL_LOCKS(Condition_wait, al_primitive_lock)
AL_LOCKS(Condition_aenter, al_primitive_lock)
AL_LOCKS_FAST(Condition_aexit, al_primitive_lock)
AL_LOCKS_KEYWORDS(Condition_notify, al_primitive_lock)
AL_LOCKS(Condition_notify_all, al_primitive_lock)

static PyMethodDef Condition_methods[] = {
    {"wait", AL_LOCKED(Condition_wait), METH_NOARGS, Condition_wait_doc},
    {"notify", AL_KEYWORDS(AL_LOCKED(Condition_notify)), Condition_notify_doc},
    {"notify_all", AL_LOCKED(Condition_notify_all), METH_NOARGS,
     Condition_notify_all_doc},
    {"__aenter__", AL_LOCKED(Condition_aenter), METH_NOARGS,
     Condition_aenter_doc},
    {"__aexit__", (PyCFunction)(void (*)(void))AL_LOCKED(Condition_aexit),
     METH_FASTCALL, Condition_aexit_doc},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef Condition_getset[] = {
    {"_loop", al_primitive_get_bound_loop, al_primitive_set_bound_loop, NULL,
     NULL},
    {"_waiters", al_primitive_get_waiters, al_primitive_set_waiters, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(Condition_doc,
             "Tasks wait until another one notifies them: the hot methods of "
             "asyncio.Condition.\n\n"
             "Its __init__() is asyncio's.");

static PyType_Slot Condition_slots[] = {
    {Py_tp_doc, (void *)Condition_doc},
    {Py_tp_dealloc, al_primitive_dealloc},
    {Py_tp_traverse, al_primitive_traverse},
    {Py_tp_clear, al_primitive_clear},
    {Py_tp_setattro, al_primitive_setattro},
    {Py_tp_methods, Condition_methods},
    {Py_tp_getset, Condition_getset},
    {0, NULL}};

static PyType_Spec Condition_spec = {
    .name = "asyncloop._core.Condition",
    .basicsize = sizeof(al_primitive),
    .flags = AL_PRIMITIVE_FLAGS,
    .slots = Condition_slots,
};

int
al_condition_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->ConditionType = al_state_add_type(module, &Condition_spec, NULL);
    return state->ConditionType == NULL ? -1 : 0;
}
