/* primitive.c - what locks, events, semaphores and queues have in common.
 *
 *     class Lock(_core.Lock, asyncio.Lock)      asyncloop/_primitives.py
 *                    |            |
 *     what is hot: C code         what is cold: asyncio's Python code,
 *                                 on the attributes of the C struct
 *
 * C code bypasses methods of its own and of asyncio's class: acquire() makes a
 * future without _get_loop().  If one of them is overridden, in a subclass, on
 * the object, or in asyncio's class while the program runs, the object is not
 * plain: then asyncio's code does all.  The version tag of the type tells when
 * to look again, as it does for loops (loop/loop_patches.c). */
#include "primitives/primitive.h"

#include "base/call.h"
#include "task/future.h"

static const char *const primitive_names[AL_PRIMITIVE_KINDS] = {
    [AL_STREAM_READER] = "StreamReader",
    [AL_STREAM_WRITER] = "StreamWriter",
    [AL_LOCK] = "Lock",
    [AL_EVENT] = "Event",
    [AL_CONDITION] = "Condition",
    [AL_SEMAPHORE] = "Semaphore",
    [AL_BOUNDED_SEMAPHORE] = "BoundedSemaphore",
    [AL_QUEUE] = "Queue",
    [AL_TIMEOUT] = "Timeout",
    [AL_TASK_GROUP] = "TaskGroup",
};

al_state *
al_primitive_state(PyObject *op)
{
    al_primitive *self = al_primitive_CAST(op);

    if (self->state == NULL) {
        al_state *state = al_state_from_type(Py_TYPE(op));
        if (state != NULL && self->state == NULL) {
            self->state = al_state_own(state);
        }
    }
    return self->state;
}

/* --- overridden methods ---------------------------------------------------- */

/* Ask asyncloop/_overrides.py. Its answer, or -1 with an exception set. */
static int
primitive_find(al_state *state, PyTypeObject *type, al_primitive_kind kind)
{
    long found;

    return al_call_number(PyObject_CallFunction(state->imports.is_plain, "sO",
                                                primitive_names[kind], type),
                          &found) < 0
               ? -1
               : (int)found;
}

/* Whether an object of the type is plain if no method is assigned on it. `tag`
 * is the version tag of the type. As al_primitive_look(). */
static int
primitive_look_at(al_state *state, PyTypeObject *type, uint64_t tag,
                  al_primitive_kind kind)
{
    al_primitive_look_result *last = &state->looked[kind];
    int found = -1;

    AL_LOCK((PyObject *)state->AwaitableType);
    if (last->type == type && last->tag == tag) {
        found = last->is_plain;
    }
    AL_UNLOCK();
    if (found >= 0) {
        return found;
    }
    found = primitive_find(state, type, kind);
    if (found < 0) {
        return -1;
    }
    AL_LOCK((PyObject *)state->AwaitableType);
    *last = (al_primitive_look_result){type, tag, (char)found};
    AL_UNLOCK();
    return found;
}

int
al_primitive_look(PyObject *op, al_primitive_kind kind)
{
    al_primitive *self = al_primitive_CAST(op);
    PyTypeObject *type = Py_TYPE(op);
    al_state *state = al_primitive_state(op);

    if (state == NULL) {
        return -1;
    }
    if (al_type_give_tag(type, state->names._loop) < 0) {
        return -1;
    }
    uint64_t tag = al_type_tag(type);
    int found = primitive_look_at(state, type, tag, kind);
    if (found < 0) {
        return -1;
    }
    self->is_plain = self->is_overridden ? 0 : (char)found;
    self->seen_tag = tag;
    return self->is_plain;
}

PyObject *
al_primitive_stock(const al_state *state, al_primitive_kind kind)
{
    return PyMapping_GetItemString(state->imports.stock_primitives,
                                   primitive_names[kind]);
}

PyObject *
al_primitive_call_stock(PyObject *op, al_primitive_kind kind, const char *name,
                        PyObject *const *args, Py_ssize_t nargs)
{
    al_state *state = al_primitive_CAST(op)->state;
    PyObject *stack[5] = {op};
    PyObject *stock = al_primitive_stock(state, kind);

    if (stock == NULL) {
        return NULL;
    }
    assert(nargs + 1 <= (Py_ssize_t)Py_ARRAY_LENGTH(stack));
    for (Py_ssize_t i = 0; i < nargs; i++) {
        stack[i + 1] = args[i];
    }
    PyObject *method = PyObject_GetAttrString(stock, name);
    Py_DECREF(stock);
    if (method == NULL) {
        return NULL;
    }
    PyObject *result =
        PyObject_Vectorcall(method, stack, (size_t)nargs + 1, NULL);
    Py_DECREF(method);
    return result;
}

PyObject *
al_primitive_aexit(PyObject *op, al_primitive_kind kind,
                   const al_operation *operation, PyObject *const *args,
                   Py_ssize_t nargs)
{
    if (AL_UNLIKELY(nargs != 3)) {
        PyErr_Format(PyExc_TypeError,
                     "__aexit__() takes exactly 3 arguments (%zd given)",
                     nargs);
        return NULL;
    }
    int is_plain = al_primitive_is_plain(op, kind);
    if (AL_LIKELY(is_plain > 0)) {
        return al_awaitable_new(al_primitive_CAST(op)->state, operation, op,
                                NULL);
    }
    return is_plain < 0
               ? NULL
               : al_primitive_call_stock(op, kind, "__aexit__", args, nargs);
}

PyObject *
al_primitive_aexit_with(PyObject *op, al_primitive_kind kind,
                        const al_operation *operation, PyObject *const *args,
                        Py_ssize_t nargs)
{
    PyObject *await = al_primitive_aexit(op, kind, operation, args, nargs);

    if (await == NULL || args[0] == Py_None ||
        !Py_IS_TYPE(await, al_primitive_CAST(op)->state->AwaitableType))
    {
        return await;
    }
    PyObject *given = PyTuple_Pack(3, args[0], args[1], args[2]);
    if (given == NULL) {
        Py_CLEAR(await);
        return NULL;
    }
    al_awaitable_CAST(await)->argument = given;
    return await;
}

void
al_primitive_set_overridden(PyObject *op)
{
    al_primitive_CAST(op)->is_overridden = true;
    al_primitive_CAST(op)->is_plain = 0;
}

int
al_primitive_setattro(PyObject *op, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr(op, name, value) < 0) {
        return -1;
    }
    PyObject *shadowed = PyObject_GetAttr((PyObject *)Py_TYPE(op), name);
    if (shadowed == NULL) {
        PyErr_Clear(); /* no attribute of the class */
        return 0;
    }
    if (Py_TYPE(shadowed)->tp_descr_set == NULL) {
        al_primitive_set_overridden(op);
    }
    Py_DECREF(shadowed);
    return 0;
}

/* --- numbers ----------------------------------------------------------------- */

static int
primitive_refuse_deletion(const char *name)
{
    PyErr_Format(PyExc_AttributeError, "cannot delete attribute '%s'", name);
    return -1;
}

int
al_number_store(PyObject *op, al_number *field, PyObject *value,
                const char *name)
{
    Py_ssize_t number = 0;
    bool is_odd = value != NULL && !PyLong_CheckExact(value);

    if (value == NULL) {
        return primitive_refuse_deletion(name);
    }
    if (!is_odd) {
        number = PyLong_AsSsize_t(value);
        is_odd = number == -1 && PyErr_Occurred();
        if (is_odd) {
            PyErr_Clear(); /* it is too large */
        }
    }
    field->number = is_odd ? 0 : number;
    Py_XSETREF(field->odd, is_odd ? Py_NewRef(value) : NULL);
    if (is_odd) {
        al_primitive_set_overridden(op);
    }
    return 0;
}

PyObject *
al_number_load(const al_number *field)
{
    return field->odd != NULL ? Py_NewRef(field->odd)
                              : PyLong_FromSsize_t(AL_LOAD(field->number));
}

/* --- the loop --------------------------------------------------------------- */

PyObject *
al_primitive_get_loop(al_primitive *self)
{
    const al_state *state = self->state;
    PyObject *loop =
        al_call_found(al_call_find(state->imports.events_globals,
                                   state->names._get_running_loop),
                      NULL);

    if (loop == NULL) {
        return NULL;
    }
    if (self->loop == NULL && loop != Py_None) {
        self->loop = Py_NewRef(loop);
    }
    if (AL_UNLIKELY(loop != al_or_none(self->loop))) {
        Py_DECREF(loop);
        PyErr_Format(PyExc_RuntimeError,
                     "%R is bound to a different event loop", self);
        return NULL;
    }
    return loop;
}

PyObject *
al_primitive_make_future(al_primitive *self)
{
    PyObject *loop = al_primitive_get_loop(self);

    if (loop == NULL) {
        return NULL;
    }
    PyObject *future = AL_LIKELY(al_loop_is_ours(loop))
                           ? al_future_new(al_loop_head_CAST(loop))
                           : PyObject_CallMethodNoArgs(
                                 loop, self->state->names.create_future);
    Py_DECREF(loop);
    return future;
}

/* --- waiters ---------------------------------------------------------------- */

PyObject *
al_primitive_get_deque(const al_state *state, PyObject **field)
{
    if (*field == NULL) {
        PyObject *made = al_deque_new(state);
        if (made == NULL) {
            return NULL;
        }
        if (*field == NULL) { /* making it may run a finaliser */
            *field = made;
        }
        else {
            Py_DECREF(made);
        }
    }
    return Py_NewRef(*field);
}

int
al_waiters_append(const al_state *state, PyObject **waiters, PyObject *future)
{
    PyObject *place = al_primitive_get_deque(state, waiters);
    if (place == NULL) {
        return -1;
    }
    int rc = AL_LIKELY(al_deque_check(state, place))
                 ? al_deque_append(state, place, future)
                 : al_call_finish(PyObject_CallMethodOneArg(
                       place, state->names.append, future));
    Py_DECREF(place);
    return rc;
}

al_outcome
al_primitive_wait(al_awaitable *self, PyObject **waiters)
{
    PyObject *future =
        al_primitive_make_future(al_primitive_CAST(self->owner));

    if (future == NULL) {
        return AL_RAISES;
    }
    Py_XSETREF(self->waiter, future);
    return al_waiters_append(self->state, waiters, future) < 0
               ? AL_RAISES
               : al_awaitable_wait(self, future);
}

/* waiters.remove(future). 0, or -1 with an exception set. */
static int
waiters_remove(const al_state *state, PyObject *waiters, PyObject *future)
{
    if (waiters == NULL) {
        PyErr_SetString(PyExc_ValueError, "deque.remove(x): x not in deque");
        return -1;
    }
    Py_INCREF(waiters);
    int rc = AL_LIKELY(al_deque_check(state, waiters))
                 ? al_deque_remove(state, waiters, future)
                 : al_call_finish(
                       PyObject_CallMethod(waiters, "remove", "O", future));
    Py_DECREF(waiters);
    return rc;
}

int
al_waiters_leave(al_awaitable *self, PyObject *waiters)
{
    PyObject *raised = PyErr_GetRaisedException();

    int rc = waiters_remove(self->state, waiters, self->waiter);

    if (AL_UNLIKELY(raised != NULL)) {
        al_error_chain(raised);
        return -1;
    }
    return rc;
}

Py_ssize_t
al_waiters_count(const al_state *state, PyObject *waiters)
{
    if (waiters == NULL) {
        return 0;
    }
    return AL_LIKELY(al_deque_check(state, waiters)) ? al_deque_size(waiters)
                                                     : PyObject_Size(waiters);
}

int
al_waiters_are_cancelled(const al_state *state, PyObject *waiters)
{
    Py_ssize_t count = al_waiters_count(state, waiters);

    if (count <= 0) {
        return count < 0 ? -1 : 1;
    }
    PyObject *waiter, *iterator = PyObject_GetIter(waiters);
    if (iterator == NULL) {
        return -1;
    }
    int rc = 1;
    while (rc > 0 && (waiter = PyIter_Next(iterator)) != NULL) {
        rc = al_waiter_is_cancelled(state, waiter);
        Py_DECREF(waiter);
    }
    Py_DECREF(iterator);
    return PyErr_Occurred() ? -1 : rc;
}

int
al_waiters_first(const al_state *state, PyObject *waiters, PyObject **waiter)
{
    Py_ssize_t count = al_waiters_count(state, waiters);

    *waiter = NULL;
    if (count <= 0) {
        return count < 0 ? -1 : 0;
    }
    if (AL_LIKELY(al_deque_check(state, waiters))) {
        *waiter = al_deque_item(waiters, 0);
    }
    else {
        PyObject *iterator = PyObject_GetIter(waiters);
        if (iterator == NULL) {
            return -1;
        }
        *waiter = PyIter_Next(iterator);
        Py_DECREF(iterator);
        return PyErr_Occurred() ? -1 : 0;
    }
    return *waiter == NULL ? -1 : 0;
}

int
al_waiters_next(const al_state *state, PyObject *waiters, PyObject **waiter)
{
    int rc = al_waiters_first(state, waiters, waiter);

    if (rc < 0 || *waiter == NULL) {
        return rc;
    }
    rc = al_waiter_is_done(state, *waiter);
    if (AL_LIKELY(rc == 0)) {
        return 0;
    }
    Py_CLEAR(*waiter);
    PyObject *iterator = rc < 0 ? NULL : PyObject_GetIter(waiters);
    while (iterator != NULL && rc > 0 &&
           (*waiter = PyIter_Next(iterator)) != NULL)
    {
        rc = al_waiter_is_done(state, *waiter);
        if (rc != 0) {
            Py_CLEAR(*waiter);
        }
    }
    Py_XDECREF(iterator);
    return PyErr_Occurred() ? -1 : 0;
}

Py_ssize_t
al_waiters_wake(const al_state *state, PyObject *waiters, Py_ssize_t most,
                PyObject *result)
{
    Py_ssize_t woken = al_waiters_count(state, waiters);
    PyObject *waiter;

    if (woken <= 0 || most <= 0) {
        return woken < 0 ? -1 : 0;
    }
    PyObject *iterator = PyObject_GetIter(waiters);
    if (iterator == NULL) {
        return -1;
    }
    woken = 0;
    while (woken < most && (waiter = PyIter_Next(iterator)) != NULL) {
        int rc = al_waiter_is_done(state, waiter);
        if (rc == 0) {
            rc = al_waiter_set_result(state, waiter, result);
            woken++;
        }
        Py_DECREF(waiter);
        if (rc < 0) {
            break;
        }
    }
    Py_DECREF(iterator);
    return PyErr_Occurred() ? -1 : woken;
}

int
al_waiter_is_done(const al_state *state, PyObject *waiter)
{
    return AL_LIKELY(al_future_check_exact(state, waiter))
               ? al_future_is_done(waiter)
               : al_call_is_true(
                     PyObject_CallMethodNoArgs(waiter, state->names.done));
}

int
al_waiter_is_cancelled(const al_state *state, PyObject *waiter)
{
    return AL_LIKELY(al_future_check_exact(state, waiter))
               ? AL_LOAD(al_future_of(waiter)->state) == AL_FUTURE_CANCELLED
               : al_call_is_true(PyObject_CallMethodNoArgs(
                     waiter, state->names.cancelled));
}

int
al_waiter_cancel(const al_state *state, PyObject *waiter)
{
    if (AL_LIKELY(al_future_check_exact(state, waiter))) {
        return al_future_cancel(waiter, Py_None, NULL) < 0 ? -1 : 0;
    }
    return al_call_finish(
        PyObject_CallMethodNoArgs(waiter, state->names.cancel));
}

int
al_waiter_set_result(const al_state *state, PyObject *waiter, PyObject *result)
{
    return AL_LIKELY(al_future_check_exact(state, waiter))
               ? al_future_set_result(waiter, result)
               : al_call_finish(PyObject_CallMethodOneArg(
                     waiter, state->names.set_result, result));
}

/* --- types ------------------------------------------------------------------ */

int
al_primitive_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(al_primitive_CAST(op)->loop);
    Py_VISIT(al_primitive_CAST(op)->waiters);
    return 0;
}

int
al_primitive_clear(PyObject *op)
{
    Py_CLEAR(al_primitive_CAST(op)->loop);
    Py_CLEAR(al_primitive_CAST(op)->waiters);
    return 0;
}

void
al_primitive_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op), *ours = type;
    al_state *state = al_primitive_CAST(op)->state;

    while (ours->tp_dealloc != al_primitive_dealloc) {
        ours = ours->tp_base;
    }
    PyObject_GC_UnTrack(op);
    (void)ours->tp_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
    al_state_disown(state);
}

int
al_primitive_store(PyObject *op, PyObject **field, PyObject *value,
                   const char *name)
{
    PyObject *old;

    if (value == NULL) {
        return primitive_refuse_deletion(name);
    }
    AL_LOCK(op);
    old = *field;
    *field = value == Py_None ? NULL : Py_NewRef(value);
    AL_UNLOCK();
    Py_XDECREF(old);
    return 0;
}

int
al_primitive_store_bool(bool *field, PyObject *value, const char *name)
{
    int is_true = value == NULL ? primitive_refuse_deletion(name)
                                : PyObject_IsTrue(value);

    if (is_true >= 0) {
        AL_STORE(*field, is_true > 0);
    }
    return is_true < 0 ? -1 : 0;
}

/* What is in a field: None if it is NULL. -> new reference */
static PyObject *
primitive_load(PyObject *op, PyObject *const *field)
{
    PyObject *value;

    AL_LOCK(op);
    value = Py_NewRef(al_or_none(*field));
    AL_UNLOCK();
    return value;
}

PyObject *
al_primitive_get_bound_loop(PyObject *op, void *Py_UNUSED(closure))
{
    return primitive_load(op, &al_primitive_CAST(op)->loop);
}

int
al_primitive_set_bound_loop(PyObject *op, PyObject *value,
                            void *Py_UNUSED(closure))
{
    return al_primitive_store(op, &al_primitive_CAST(op)->loop, value,
                              "_loop");
}

PyObject *
al_primitive_get_waiters_or_none(PyObject *op, void *Py_UNUSED(closure))
{
    return primitive_load(op, &al_primitive_CAST(op)->waiters);
}

PyObject *
al_primitive_get_waiters(PyObject *op, void *Py_UNUSED(closure))
{
    al_state *state = al_primitive_state(op);
    PyObject *waiters = NULL;

    if (state != NULL) {
        AL_LOCK(op);
        waiters =
            al_primitive_get_deque(state, &al_primitive_CAST(op)->waiters);
        AL_UNLOCK();
    }
    return waiters;
}

int
al_primitive_set_waiters(PyObject *op, PyObject *value,
                         void *Py_UNUSED(closure))
{
    return al_primitive_store(op, &al_primitive_CAST(op)->waiters, value,
                              "_waiters");
}
