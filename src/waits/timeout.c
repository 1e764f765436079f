/* timeout.c - asyncio.Timeout: cancels the task in it when the time is over.
 *
 *     CREATED --enter--> ENTERED --leave--> EXITED
 *                           |
 *            timer: cancels the task
 *                           v
 *                        EXPIRING --leave--> EXPIRED: raises TimeoutError
 *
 * What happens to most of them is here: they are entered and left in time.  A
 * timeout that expires is asyncio's own Python code, on the attributes of the C
 * struct: _on_timeout(), and __aexit__() in state EXPIRING. So what becomes of
 * an exception in it is what the running Python does. */
#include "waits/timeout.h"

#include "base/args.h"
#include "base/call.h"
#include "base/errors.h"
#include "primitives/field.h"
#include "task/future.h"
#include "task/task_object.h"
#include "waits/clock.h"

/* In the order of asyncloop/_overrides.py: TIMEOUT_STATES. */
typedef enum {
    TIMEOUT_CREATED,
    TIMEOUT_ENTERED,
    TIMEOUT_EXPIRING,
    TIMEOUT_EXPIRED,
    TIMEOUT_EXITED,
    TIMEOUT_STATES,
} timeout_phase;

typedef struct {
    al_primitive head;    /* without a loop and waiters */
    PyObject *when;       /* owned deadline, NULL <=> None */
    PyObject *handler;    /* owned handle, NULL <=> none is armed */
    PyObject *task;       /* owned, NULL <=> it was not entered */
    PyObject *cancelling; /* owned int: task.cancelling() then, or NULL */
    timeout_phase phase;
} TimeoutObject;

#define TimeoutObject_CAST(op) ((TimeoutObject *)(op))

/* --- making ---------------------------------------------------------------- */

static int
Timeout_init(PyObject *op, PyObject *args, PyObject *kwargs);

/* Timeout(when); `when` is borrowed. -> new reference, or NULL. */
static PyObject *
timeout_new(al_state *state, PyObject *when)
{
    PyTypeObject *type = (PyTypeObject *)state->timeout_class;

    if (AL_UNLIKELY(type == NULL || type->tp_init != Timeout_init ||
                    type->tp_new != state->TimeoutType->tp_new))
    {
        return PyObject_CallOneArg(
            type == NULL ? (PyObject *)state->TimeoutType : (PyObject *)type,
            when);
    }
    PyObject *op = type->tp_alloc(type, 0);
    if (op != NULL && when != Py_None) {
        TimeoutObject_CAST(op)->when = Py_NewRef(when);
    }
    return op;
}

PyObject *
al_timeout_after(al_state *state, PyObject *delay)
{
    PyObject *loop = al_clock_running_loop(state);

    if (loop == NULL) {
        return NULL;
    }
    PyObject *when = delay == Py_None ? Py_NewRef(Py_None)
                                      : al_clock_after(state, loop, delay);
    Py_DECREF(loop);
    if (when == NULL) {
        return NULL;
    }
    PyObject *op = timeout_new(state, when);
    Py_DECREF(when);
    return op;
}

int
al_timeout_is_plain(PyObject *op)
{
    return al_primitive_is_plain(op, AL_TIMEOUT);
}

/* --- the timer --------------------------------------------------------------- */

/* Cancel the timer, if there is one. 0, or -1 with an exception set. */
static int
timeout_disarm(const TimeoutObject *self)
{
    if (self->handler == NULL) {
        return 0;
    }
    PyObject *handler = Py_NewRef(self->handler);
    int rc = al_clock_disarm(self->head.state, handler);
    Py_DECREF(handler);
    return rc;
}

/* reschedule() of one that is entered: 0, or -1 with an exception set. */
static int
timeout_reschedule(TimeoutObject *self, PyObject *when)
{
    al_state *state = self->head.state;
    PyObject *handler = NULL;

    Py_INCREF(when);
    Py_XSETREF(self->when, when == Py_None ? NULL : Py_NewRef(when));
    int rc = timeout_disarm(self);
    if (rc == 0 && when != Py_None) {
        PyObject *loop = al_clock_running_loop(state);
        PyObject *expire = loop == NULL
                               ? NULL
                               : PyMethod_New(state->imports.timeout_expire,
                                              (PyObject *)self);
        if (expire != NULL) {
            handler = al_clock_arm(state, loop, when, expire);
            Py_DECREF(expire);
        }
        Py_XDECREF(loop);
        rc = handler == NULL ? -1 : 0;
    }
    if (rc == 0) {
        Py_XSETREF(self->handler, handler);
    }
    Py_DECREF(when);
    return rc;
}

/* --- entering and leaving ------------------------------------------------------ */

/* task.cancelling(). -> new reference, or NULL with an exception set. */
static PyObject *
timeout_count_requests(al_state *state, PyObject *task)
{
    if (AL_LIKELY(Py_IS_TYPE(task, state->TaskType))) {
        return PyLong_FromLong(AL_LOAD(al_task_of(task)->cancel_requests));
    }
    return PyObject_CallMethodNoArgs(task, state->names.cancelling);
}

int
al_timeout_enter(PyObject *op)
{
    TimeoutObject *self = TimeoutObject_CAST(op);
    al_state *state = self->head.state;

    if (self->phase != TIMEOUT_CREATED) {
        return 0;
    }
    PyObject *task = al_clock_current_task(state, NULL);
    if (task == NULL || task == Py_None) {
        Py_XDECREF(task);
        return task == NULL ? -1 : 0;
    }
    self->phase = TIMEOUT_ENTERED;
    Py_XSETREF(self->task, Py_NewRef(task));
    PyObject *cancelling = timeout_count_requests(state, task);
    Py_DECREF(task);
    if (cancelling == NULL) {
        return -1;
    }
    Py_XSETREF(self->cancelling, cancelling);
    return timeout_reschedule(self, al_or_none(self->when)) < 0 ? -1 : 1;
}

int
al_timeout_leave(PyObject *op)
{
    TimeoutObject *self = TimeoutObject_CAST(op);

    if (self->phase != TIMEOUT_ENTERED) {
        return 0;
    }
    if (self->handler != NULL) {
        if (timeout_disarm(self) < 0) {
            return -1;
        }
        Py_CLEAR(self->handler);
    }
    if (AL_LIKELY(self->phase == TIMEOUT_ENTERED)) {
        self->phase = TIMEOUT_EXITED;
    }
    return 1;
}

/* asyncio's coroutine __aexit__(type, exc, traceback). */
static PyObject *
timeout_stock_exit(PyObject *op, PyObject *exc)
{
    PyObject *args[3] = {Py_None, Py_None, Py_None};
    PyObject *traceback = NULL;

    if (exc != NULL) {
        traceback = PyException_GetTraceback(exc);
        args[0] = (PyObject *)Py_TYPE(exc);
        args[1] = exc;
        args[2] = al_or_none(traceback);
    }
    PyObject *coro =
        al_primitive_call_stock(op, AL_TIMEOUT, "__aexit__", args, 3);
    Py_XDECREF(traceback);
    return coro;
}

/* It does not wait, so one step is all. `exc` is the context of what it
 * raises. */
int
al_timeout_leave_as_stock(PyObject *op, PyObject *exc)
{
    PyObject *result = NULL;
    PyObject *coro = timeout_stock_exit(op, exc);

    if (coro == NULL) {
        return -1;
    }
    PySendResult sent = PyIter_Send(coro, Py_None, &result);
    Py_DECREF(coro);
    if (sent == PYGEN_RETURN) {
        return al_call_is_true(result);
    }
    if (sent == PYGEN_NEXT) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_RuntimeError, "Timeout.__aexit__() waits");
    }
    if (exc != NULL) {
        al_error_chain(Py_NewRef(exc));
    }
    return -1;
}

/* --- __aenter__(), __aexit__() --------------------------------------------------- */

static al_outcome
timeout_enter_start(al_awaitable *await, PyObject **result)
{
    int rc = al_timeout_enter(await->owner);

    if (AL_LIKELY(rc > 0)) {
        return al_awaitable_return(await->owner, result);
    }
    return rc < 0
               ? AL_RAISES
               : al_awaitable_wait_stolen(
                     await, al_primitive_call_stock(await->owner, AL_TIMEOUT,
                                                    "__aenter__", NULL, 0));
}

static al_outcome
timeout_exit_start(al_awaitable *await, PyObject **result)
{
    int rc = al_timeout_leave(await->owner);

    if (AL_LIKELY(rc > 0)) {
        return al_awaitable_return(Py_None, result);
    }
    if (rc < 0) {
        return AL_RAISES;
    }
    /* The arguments are a tuple, or NULL: None, None, None. */
    PyObject *none[3] = {Py_None, Py_None, Py_None};
    return al_awaitable_wait_stolen(
        await,
        al_primitive_call_stock(await->owner, AL_TIMEOUT, "__aexit__",
                                await->argument == NULL
                                    ? none
                                    : &PyTuple_GET_ITEM(await->argument, 0),
                                3));
}

static const al_operation timeout_enter_operation = {
    "Timeout.__aenter__", timeout_enter_start, al_awaitable_hand_on};
static const al_operation timeout_exit_operation = {
    "Timeout.__aexit__", timeout_exit_start, al_awaitable_hand_on};

PyDoc_STRVAR(Timeout_aenter_doc,
             "__aenter__($self, /)\n--\n\n"
             "Begin: the current task is cancelled when the time is over.");

static PyObject *
Timeout_aenter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_await(op, AL_TIMEOUT, &timeout_enter_operation,
                              "__aenter__", NULL);
}

PyDoc_STRVAR(Timeout_aexit_doc,
             "__aexit__($self, exc_type, exc, tb, /)\n--\n\n"
             "End. Raises TimeoutError if the time is over.");

static PyObject *
Timeout_aexit(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    return al_primitive_aexit_with(op, AL_TIMEOUT, &timeout_exit_operation,
                                   args, nargs);
}

/* --- Python: other methods --------------------------------------------------------- */

PyDoc_STRVAR(Timeout_when_doc,
             "when($self, /)\n--\n\n"
             "Return the deadline, by the loop's clock, or None.");

static PyObject *
Timeout_when(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(al_or_none(TimeoutObject_CAST(op)->when));
}

PyDoc_STRVAR(Timeout_expired_doc,
             "expired($self, /)\n--\n\n"
             "Return whether the time was over before the block ended.");

static PyObject *
Timeout_expired(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    timeout_phase phase = TimeoutObject_CAST(op)->phase;

    return PyBool_FromLong(phase == TIMEOUT_EXPIRING ||
                           phase == TIMEOUT_EXPIRED);
}

PyDoc_STRVAR(Timeout_reschedule_doc,
             "reschedule($self, /, when)\n--\n\n"
             "Set another deadline, or none if `when` is None. Raises "
             "RuntimeError if the\ntimeout is not active.");

static PyObject *
Timeout_reschedule(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    static const al_signature signature = {"reschedule", AL_ARGS("when"), 1, 1,
                                           0};
    TimeoutObject *self = TimeoutObject_CAST(op);
    PyObject *when = al_args_one(&signature, args, nargs, kwnames);
    int is_plain = when == NULL ? -1 : al_timeout_is_plain(op);

    if (is_plain < 0) {
        return NULL;
    }
    if (!is_plain || self->phase != TIMEOUT_ENTERED) {
        return al_primitive_call_stock(op, AL_TIMEOUT, "reschedule", &when, 1);
    }
    return al_call_none(timeout_reschedule(self, when));
}

/* --- Python: attributes -------------------------------------------------------------- */

static PyObject *
Timeout_get_state(PyObject *op, void *Py_UNUSED(closure))
{
    al_state *state = al_primitive_state(op);

    return state == NULL ? NULL
                         : PySequence_GetItem(state->imports.timeout_states,
                                              TimeoutObject_CAST(op)->phase);
}

static int
Timeout_set_state(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    al_state *state = al_primitive_state(op);

    if (state == NULL) {
        return -1;
    }
    Py_ssize_t phase =
        value == NULL ? -1
                      : PySequence_Index(state->imports.timeout_states, value);
    if (phase < 0 || phase >= TIMEOUT_STATES) {
        if (value == NULL) {
            PyErr_SetString(PyExc_AttributeError,
                            "cannot delete attribute '_state'");
        }
        return -1;
    }
    TimeoutObject_CAST(op)->phase = (timeout_phase)phase;
    return 0;
}

static const al_field timeout_when = {offsetof(TimeoutObject, when), "_when"};
static const al_field timeout_handler = {offsetof(TimeoutObject, handler),
                                         "_timeout_handler"};
static const al_field timeout_task = {offsetof(TimeoutObject, task), "_task"};

static PyObject *
Timeout_get_cancelling(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *cancelling = TimeoutObject_CAST(op)->cancelling;

    if (cancelling == NULL) {
        PyErr_Format(PyExc_AttributeError,
                     "'%.100s' object has no attribute '_cancelling'",
                     Py_TYPE(op)->tp_name);
        return NULL;
    }
    return Py_NewRef(cancelling);
}

static int
Timeout_set_cancelling(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(TimeoutObject_CAST(op)->cancelling, Py_XNewRef(value));
    return 0;
}

/* --- Python: lifetime ------------------------------------------------------------------ */

static int
Timeout_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {"Timeout.__init__", AL_ARGS("when"),
                                           1, 1, 0};
    TimeoutObject *self = TimeoutObject_CAST(op);
    PyObject *when;

    if (al_args_parse_tuple(&signature, args, kwargs, &when) < 0) {
        return -1;
    }
    self->phase = TIMEOUT_CREATED;
    Py_CLEAR(self->handler);
    Py_CLEAR(self->task);
    Py_XSETREF(self->when, when == Py_None ? NULL : Py_NewRef(when));
    return 0;
}

static int
Timeout_traverse(PyObject *op, visitproc visit, void *arg)
{
    TimeoutObject *self = TimeoutObject_CAST(op);

    Py_VISIT(self->when);
    Py_VISIT(self->handler);
    Py_VISIT(self->task);
    Py_VISIT(self->cancelling);
    return al_primitive_traverse(op, visit, arg);
}

static int
Timeout_clear(PyObject *op)
{
    TimeoutObject *self = TimeoutObject_CAST(op);

    Py_CLEAR(self->when);
    Py_CLEAR(self->handler);
    Py_CLEAR(self->task);
    Py_CLEAR(self->cancelling);
    return al_primitive_clear(op);
}

/* --- type ---------------------------------------------------------------------------- */

AL_LOCKS_KEYWORDS(Timeout_reschedule, al_primitive_lock)

static PyMethodDef Timeout_methods[] = {
    {"when", Timeout_when, METH_NOARGS, Timeout_when_doc},
    {"expired", Timeout_expired, METH_NOARGS, Timeout_expired_doc},
    {"reschedule", AL_KEYWORDS(AL_LOCKED(Timeout_reschedule)),
     Timeout_reschedule_doc},
    {"__aenter__", Timeout_aenter, METH_NOARGS, Timeout_aenter_doc},
    {"__aexit__", (PyCFunction)(void (*)(void))Timeout_aexit, METH_FASTCALL,
     Timeout_aexit_doc},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef Timeout_getset[] = {
    {"_state", Timeout_get_state, Timeout_set_state, NULL, NULL},
    AL_FIELD("_when", timeout_when),
    AL_FIELD("_timeout_handler", timeout_handler),
    AL_FIELD("_task", timeout_task),
    {"_cancelling", Timeout_get_cancelling, Timeout_set_cancelling, NULL,
     NULL},
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(Timeout_doc,
             "Timeout(when)\n--\n\n"
             "Cancels the task in it when the loop's clock says `when`: "
             "asyncio.Timeout,\nof which C does what happens if the time is "
             "not over.");

static PyType_Slot Timeout_slots[] = {{Py_tp_doc, (void *)Timeout_doc},
                                      {Py_tp_init, Timeout_init},
                                      {Py_tp_dealloc, al_primitive_dealloc},
                                      {Py_tp_traverse, Timeout_traverse},
                                      {Py_tp_clear, Timeout_clear},
                                      {Py_tp_setattro, al_primitive_setattro},
                                      {Py_tp_methods, Timeout_methods},
                                      {Py_tp_getset, Timeout_getset},
                                      {0, NULL}};

static PyType_Spec Timeout_spec = {
    .name = "asyncloop._core.Timeout",
    .basicsize = sizeof(TimeoutObject),
    .flags = AL_PRIMITIVE_FLAGS,
    .slots = Timeout_slots,
};

PyObject *
al_timeout_set_class(PyObject *module, PyObject *type)
{
    al_state *state = al_state_from_module(module);

    if (!PyType_Check(type) ||
        !PyType_IsSubtype((PyTypeObject *)type, state->TimeoutType))
    {
        PyErr_SetString(PyExc_TypeError, "not a class of timeouts");
        return NULL;
    }
    Py_XSETREF(state->timeout_class, Py_NewRef(type));
    Py_RETURN_NONE;
}

/* --- Python: functions ----------------------------------------------------------------- */

PyDoc_STRVAR(timeout_doc,
             "timeout(delay)\n--\n\n"
             "Return a Timeout that expires after `delay` seconds, or never "
             "if that is None:\nasyncio.timeout().");

static PyObject *
timeout_py_timeout(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    static const al_signature signature = {"timeout", AL_ARGS("delay"), 1, 1,
                                           0};
    PyObject *delay = al_args_one(&signature, args, nargs, kwnames);

    return delay == NULL
               ? NULL
               : al_timeout_after(al_state_from_module(module), delay);
}

PyDoc_STRVAR(
    timeout_at_doc,
    "timeout_at(when)\n--\n\n"
    "Return a Timeout that expires when the loop's clock says `when`, "
    "or never if\nthat is None: asyncio.timeout_at().");

static PyObject *
timeout_py_timeout_at(PyObject *module, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *kwnames)
{
    static const al_signature signature = {"timeout_at", AL_ARGS("when"), 1, 1,
                                           0};
    PyObject *when = al_args_one(&signature, args, nargs, kwnames);

    return when == NULL ? NULL
                        : timeout_new(al_state_from_module(module), when);
}

bool
al_timeout_is_function(PyObject *function)
{
    return PyCFunction_Check(function) &&
           PyCFunction_GET_FUNCTION(function) ==
               (PyCFunction)(void (*)(void))timeout_py_timeout;
}

static PyMethodDef timeout_functions[] = {
    {"timeout", AL_KEYWORDS(timeout_py_timeout), timeout_doc},
    {"timeout_at", AL_KEYWORDS(timeout_py_timeout_at), timeout_at_doc},
    {NULL, NULL, 0, NULL}};

int
al_timeout_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->TimeoutType = al_state_add_type(module, &Timeout_spec, NULL);
    return state->TimeoutType == NULL
               ? -1
               : PyModule_AddFunctions(module, timeout_functions);
}
