/* task_step.c - one step of a task: resume the coroutine, look at what it
 * yields.
 *
 *     ready queue --> al_task_run --> in its context, as the current task:
 *         send(None) or throw(exception of what it waited for)
 *             returns     -> result         raises  -> exception, cancelled
 *             a future    -> wait for it    None    -> queue again
 *             else        -> RuntimeError is thrown into it, one turn later
 *
 * The short way serves our futures on our loops: the Task itself is what the
 * ready queue holds and what the future wakes.  In debug mode, on a loop whose
 * call_soon() is overridden, on anybody else's loop and with anybody else's
 * futures everything goes through the public methods, with callables bound to
 * the task, as asyncio does it.
 *
 * Invariants
 *   (1) While a step runs nobody else holds the only reference to the task:
 *       its caller has one.
 *   (2) While it runs, or a method of the loop or of somebody else's future is
 *       looked up, __init__ may come again and drop loop, context and coroutine
 *       of the task: who uses them during or after it holds them. */
#include "task/task.h"

#include "base/errors.h"
#include "sched/handle.h"
#include "sched/ready.h"
#include "sched/report.h"
#include "task/registry.h"

/* --- the callables that stand for a task --------------------------------- */

static PyObject *
Task_step(PyObject *op, PyObject *const *args, Py_ssize_t nargs);

static PyMethodDef task_step_method = {
    "TaskStepMethWrapper", (PyCFunction)(void (*)(void))Task_step,
    METH_FASTCALL, "The next step of a task, an exception to throw at most."};

static PyMethodDef task_wakeup_method = {
    AL_WAKEUP_NAME, al_task_wakeup, METH_O,
    "Tells a task that a future is done."};

/* Schedule a step by call_soon(): with `exc` to throw, if not NULL. */
static int
task_call_step_soon(PyObject *op, PyObject *exc)
{
    PyObject *step = PyCFunction_New(&task_step_method, op);
    if (step == NULL) {
        return -1;
    }
    PyObject *context = Py_NewRef(al_task_of(op)->context); /* by (2) */
    int rc = al_future_call_soon(op, step, exc, context);
    Py_DECREF(context);
    Py_DECREF(step);
    return rc;
}

int
al_task_step_soon(PyObject *op)
{
    al_loop_head *loop = al_future_direct_loop(al_future_of(op));

    return AL_LIKELY(loop != NULL) ? al_ready_push(loop, al_task_run, op)
                                   : task_call_step_soon(op, NULL);
}

/* --- what the coroutine yielded ------------------------------------------ */

/* Something that it must not: throw RuntimeError into it, with a text as of
 * PyErr_Format(). 0, or -1 with an exception set. */
static int
task_fail_soon(PyObject *op, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    PyObject *message = PyUnicode_FromFormatV(format, arguments);
    va_end(arguments);
    PyObject *exc = message == NULL
                        ? NULL
                        : PyObject_CallOneArg(PyExc_RuntimeError, message);
    Py_XDECREF(message);
    if (exc == NULL) {
        return -1;
    }
    int rc = task_call_step_soon(op, exc);
    Py_DECREF(exc);
    return rc;
}

static int
task_fail_foreign_loop(PyObject *op, PyObject *future)
{
    return task_fail_soon(
        op, "Task %R got Future %R attached to a different loop", op, future);
}

static int
task_fail_not_awaited(PyObject *op, PyObject *future)
{
    return task_fail_soon(
        op, "yield was used instead of yield from in task %R with %R", op,
        future);
}

/* A cancellation came while the coroutine ran: pass it on to the future that
 * the task now waits for, if that takes it. 0, or -1 with an exception set. */
static int
task_hand_on_cancel(PyObject *op, al_state *state, PyObject *future)
{
    PyObject *message = al_future_cancel_msg(op);
    int cancelled = al_task_cancel_waiter(state, future, message);

    Py_DECREF(message);
    if (cancelled > 0) {
        AL_TASK_FLAGS(al_task_of(op))->must_cancel = false;
    }
    return cancelled < 0 ? -1 : 0;
}

/* Wait for a future of ours: 0, or -1 with an exception set. */
static inline int
task_wait(PyObject *op, al_state *state, PyObject *future)
{
    al_task *self = al_task_of(op);
    al_future *awaited = al_future_of(future);

    if (AL_UNLIKELY(awaited->loop != self->future.loop)) {
        return task_fail_foreign_loop(op, future);
    }
    if (AL_UNLIKELY(!awaited->blocking)) {
        return task_fail_not_awaited(op, future);
    }
    awaited->blocking = false;
    if (al_future_iter_wait(future, op, state) < 0) {
        return -1;
    }
    Py_XSETREF(self->fut_waiter, Py_NewRef(future));
    if (al_registry_begin_await(state, future, op) < 0) {
        return -1;
    }
    if (AL_UNLIKELY(AL_TASK_FLAGS(self)->must_cancel)) {
        return task_hand_on_cancel(op, state, future);
    }
    return 0;
}

/* The loop of a future of any make. -> new reference, or NULL. */
static PyObject *
task_loop_of(al_state *state, PyObject *future)
{
    PyObject *get_loop;

    if (PyObject_GetOptionalAttr(future, state->names.get_loop, &get_loop) < 0)
    {
        return NULL;
    }
    if (get_loop == NULL) {
        return PyObject_GetAttr(future, state->names._loop);
    }
    PyObject *loop = PyObject_CallNoArgs(get_loop);
    Py_DECREF(get_loop);
    return loop;
}

/* future.add_done_callback(wakeup, context=self.context): 0, or -1. */
static int
task_add_to_foreign(PyObject *op, al_state *state, PyObject *future)
{
    PyObject *wakeup = PyCFunction_New(&task_wakeup_method, op);
    if (wakeup == NULL) {
        return -1;
    }
    PyObject *context = Py_NewRef(al_task_of(op)->context); /* by (2) */
    PyObject *stack[3] = {future, wakeup, context};
    PyObject *result = PyObject_VectorcallMethod(
        state->names.add_done_callback, stack, 2, state->context_kwnames);
    Py_DECREF(context);
    Py_DECREF(wakeup);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Wait for a future of another make. `blocking` is its
 * _asyncio_future_blocking. 0, or -1 with an exception set. */
static int
task_wait_foreign(PyObject *op, al_state *state, PyObject *future,
                  PyObject *blocking)
{
    al_task *self = al_task_of(op);
    PyObject *loop = task_loop_of(state, future);
    if (loop == NULL) {
        return -1;
    }
    Py_DECREF(loop); /* only compared */
    if (loop != self->future.loop) {
        return task_fail_foreign_loop(op, future);
    }
    int is_blocking = PyObject_IsTrue(blocking);
    if (is_blocking <= 0) {
        return is_blocking < 0 ? -1 : task_fail_not_awaited(op, future);
    }
    if (PyObject_SetAttr(future, state->names._asyncio_future_blocking,
                         Py_False) < 0 ||
        task_add_to_foreign(op, state, future) < 0)
    {
        return -1;
    }
    Py_XSETREF(self->fut_waiter, Py_NewRef(future));
    if (al_registry_begin_await(state, future, op) < 0) {
        return -1;
    }
    return AL_TASK_FLAGS(self)->must_cancel
               ? task_hand_on_cancel(op, state, future)
               : 0;
}

/* 0, or -1 with an exception set. */
static int
task_yielded(PyObject *op, al_state *state, PyObject *result)
{
    PyObject *blocking;

    if (AL_UNLIKELY(result == op)) {
        return task_fail_soon(op, "Task cannot await on itself: %R", op);
    }
    if (AL_LIKELY(al_future_check_exact(state, result))) {
        return task_wait(op, state, result);
    }
    if (result == Py_None) { /* a bare yield: let the others run */
        return al_task_step_soon(op);
    }
    if (PyObject_GetOptionalAttr(result, state->names._asyncio_future_blocking,
                                 &blocking) < 0)
    {
        return -1;
    }
    if (blocking != NULL && blocking != Py_None) {
        int rc = task_wait_foreign(op, state, result, blocking);
        Py_DECREF(blocking);
        return rc;
    }
    Py_XDECREF(blocking);
    if (PyGen_CheckExact(result)) {
        return task_fail_soon(op,
                              "yield was used instead of yield from for "
                              "generator in task %R with %R",
                              op, result);
    }
    return task_fail_soon(op, "Task got bad yield: %R", result);
}

/* --- how the coroutine ended --------------------------------------------- */

static int
task_returned(PyObject *op, PyObject *result)
{
    al_task *self = al_task_of(op);

    al_registry_remove(op);
    if (AL_UNLIKELY(AL_TASK_FLAGS(self)->must_cancel)) {
        /* Cancelled in its last step: nothing was there to throw it into. */
        AL_TASK_FLAGS(self)->must_cancel = false;
        PyObject *message = al_future_cancel_msg(op);
        int rc = al_future_cancel(op, message, NULL);
        Py_DECREF(message);
        return rc < 0 ? -1 : 0;
    }
    return al_future_set_result(op, result);
}

/* The coroutine raised what is now set: 0, or -1 with an exception set. */
static int
task_raised(PyObject *op, al_state *state)
{
    PyObject *exc = PyErr_GetRaisedException();

    if (PyErr_GivenExceptionMatches(exc, state->imports.CancelledError)) {
        al_registry_remove(op);
        return al_future_cancel(op, NULL, exc) < 0 ? -1 : 0;
    }
    if (al_future_set_exception(op, exc) < 0) {
        Py_DECREF(exc);
        return -1;
    }
    al_registry_remove(op);
    if (PyErr_GivenExceptionMatches(exc, PyExc_KeyboardInterrupt) ||
        PyErr_GivenExceptionMatches(exc, PyExc_SystemExit))
    {
        PyErr_SetRaisedException(exc);
        return -1;
    }
    Py_DECREF(exc);
    return 0;
}

/* --- the step ------------------------------------------------------------ */

/* What to throw: `exc` (stolen, may be NULL), or a CancelledError if one is
 * due. 0, or -1 with an exception set. */
static int
task_choose_exception(PyObject *op, al_state *state, PyObject **exc)
{
    al_task *self = al_task_of(op);

    AL_TASK_FLAGS(self)->must_cancel = false;
    if (*exc != NULL &&
        PyErr_GivenExceptionMatches(*exc, state->imports.CancelledError))
    {
        return 0;
    }
    Py_XSETREF(*exc, al_future_make_cancelled_error(op));
    return *exc == NULL ? -1 : 0;
}

/* coro.throw(exc): as PyIter_Send(). */
static PySendResult
task_throw(al_state *state, PyObject *coro, PyObject *exc, PyObject **result)
{
    *result = PyObject_CallMethodOneArg(coro, state->names.throw, exc);
    if (*result != NULL) {
        return PYGEN_NEXT;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyObject *stop = PyErr_GetRaisedException();
    if (!PyErr_GivenExceptionMatches(stop, PyExc_StopIteration)) {
        PyErr_SetRaisedException(stop); /* it could not be made */
        return PYGEN_ERROR;
    }
    PyObject *value = ((PyStopIterationObject *)stop)->value;
    *result = Py_NewRef(al_or_none(value));
    Py_DECREF(stop);
    return PYGEN_RETURN;
}

/* Resume the coroutine, with `exc` (stolen) if not NULL; the context is
 * entered, the task is the current one. 0, or -1 with an exception set. */
static int
task_step(PyObject *op, al_state *state, PyObject *exc)
{
    al_task *self = al_task_of(op);
    PyObject *result;
    PySendResult sent;
    int rc = -1;

    if (AL_UNLIKELY(self->future.state != AL_FUTURE_PENDING)) {
        PyErr_Format(state->imports.InvalidStateError,
                     AL_STEP_NAME "(): already done: %R %R", op,
                     al_or_none(exc));
        Py_XDECREF(exc);
        return -1;
    }
    if (AL_UNLIKELY(self->coro == NULL)) { /* an __init__ has failed since */
        PyErr_SetString(PyExc_RuntimeError, "uninitialized Task object");
        Py_XDECREF(exc);
        return -1;
    }
    if (AL_UNLIKELY(AL_TASK_FLAGS(self)->must_cancel) &&
        task_choose_exception(op, state, &exc) < 0)
    {
        return -1;
    }
    PyObject *waiter = self->fut_waiter;
    PyObject *coro = Py_NewRef(self->coro);
    self->fut_waiter = NULL;
    if (waiter != NULL) {
        rc = al_registry_end_await(state, waiter, op);
        Py_DECREF(waiter);
        if (rc < 0) {
            Py_DECREF(coro);
            Py_XDECREF(exc);
            return -1;
        }
        rc = -1;
    }
    if (AL_LIKELY(exc == NULL)) {
        sent = PyIter_Send(coro, Py_None, &result);
    }
    else {
        sent = task_throw(state, coro, exc, &result);
        Py_DECREF(exc);
    }
    Py_DECREF(coro);
    switch (sent) {
    case PYGEN_NEXT:
        rc = task_yielded(op, state, result);
        Py_DECREF(result);
        break;
    case PYGEN_RETURN:
        rc = task_returned(op, result);
        Py_DECREF(result);
        break;
    case PYGEN_ERROR:
        rc = task_raised(op, state);
        break;
    }
    return rc;
}

/* The step of a callable, as the current task; the context is entered. `exc` is
 * stolen. A loop of ours has left whatever task stepped last before it runs a
 * callable: if there is a current one now, it is that one which calls. */
static int
task_step_as_current(PyObject *op, PyObject *exc)
{
    al_future *self = &al_task_of(op)->future;
    al_state *state = al_future_state_of(op);
    PyObject *outer;

    if (state == NULL || al_future_check_init(op) < 0) {
        Py_XDECREF(exc);
        return -1;
    }
    PyObject *loop = Py_NewRef(self->loop); /* by (2) */
    int rc = al_registry_enter_alone(loop, op, &outer);
    if (rc < 0) {
        Py_XDECREF(exc);
    }
    else {
        rc = task_step(op, state, exc);
        PyObject *raised = PyErr_GetRaisedException();
        if (al_registry_leave_alone(loop, op, outer) < 0) {
            rc = -1;
            if (raised != NULL) { /* what the step raised is its context */
                PyObject *failure = PyErr_GetRaisedException();
                PyException_SetContext(failure, raised); /* steals */
                raised = failure;
            }
        }
        if (raised != NULL) {
            PyErr_SetRaisedException(raised);
        }
    }
    Py_DECREF(loop);
    return rc;
}

/* The handle that the step would have had in the queue of asyncio's loop, for
 * an exception handler to see. -> new reference, or NULL. */
static PyObject *
task_make_handle(al_loop_head *loop, PyObject *op)
{
    PyObject *step = PyCFunction_New(&task_step_method, op);
    if (step == NULL) {
        return NULL;
    }
    PyObject *handle =
        al_handle_new(loop, step, NULL, 0, al_task_of(op)->context);
    Py_DECREF(step);
    if (handle != NULL) {
        al_handle_expose(loop->state, handle);
    }
    return handle;
}

/* The step itself failed, or SystemExit came: report it to the loop that has
 * run it (the task's own may be another by now) as asyncio reports the failure
 * of the callback. 0, or -1 with a fatal exception set. */
static int
task_report(al_loop_head *loop, PyObject *op)
{
    al_state *state = loop->state;

    if (al_error_is_fatal()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (al_loop_leave_task(loop) < 0) { /* it is the loop that reports */
        Py_DECREF(exc);
        return -1;
    }
    PyObject *message = PyUnicode_FromFormat("Exception in callback %s of %R",
                                             task_step_method.ml_name, op);
    if (message == NULL) {
        PyErr_Clear();
        message = PyUnicode_FromString("Exception in callback");
    }
    PyObject *handle = task_make_handle(loop, op);
    PyErr_Clear();
    PyErr_SetRaisedException(exc);
    const al_report_item items[] = {{state->names.handle, handle},
                                    {NULL, NULL}};
    int rc = al_report_exception((PyObject *)loop, state, message, items);
    Py_XDECREF(handle);
    return rc;
}

/* What a future of any make raises, to be thrown: a new reference, or NULL. A
 * cancelled future raises its error, as result() would, so that this knows what
 * is being handled around the loop; the exception of a failed one is passed on
 * as it is. */
static PyObject *
task_exception_of(al_state *state, PyObject *future)
{
    PyObject *result;

    if (al_future_check_exact(state, future)) {
        int rc = al_future_take(future, &result);
        if (rc > 0) {
            if (al_future_of(future)->state != AL_FUTURE_CANCELLED) {
                return result;
            }
            PyErr_SetObject((PyObject *)Py_TYPE(result), result);
        }
        if (rc >= 0) {
            Py_DECREF(result);
        }
    }
    else {
        result = PyObject_CallMethod(future, "result", NULL);
        Py_XDECREF(result);
    }
    return PyErr_GetRaisedException();
}

/* The exception of the future of ours that woke the task, if it failed: a new
 * reference, or NULL. */
static inline PyObject *
task_waiter_exception(al_task *self, al_state *state)
{
    PyObject *waiter = self->fut_waiter;

    if (waiter == NULL || !al_future_check_exact(state, waiter) ||
        al_future_of(waiter)->state == AL_FUTURE_PENDING ||
        (al_future_of(waiter)->state == AL_FUTURE_FINISHED &&
         AL_LIKELY(al_future_of(waiter)->exception == NULL)))
    {
        return NULL;
    }
    Py_INCREF(waiter); /* by (2): a traceback goes, which may run anything */
    PyObject *exc = task_exception_of(state, waiter);
    Py_DECREF(waiter);
    return exc;
}

/* A task could not be entered. If what is to end the run came from reports about
 * the one that was left, its step is still to come. 0, or -1 with an exception
 * set. */
static int
task_put_off(al_loop_head *loop, PyObject *op)
{
    if (!al_error_is_fatal()) {
        return task_report(loop, op);
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (al_ready_push(loop, loop->step, op) < 0) {
        PyErr_Clear();
    }
    PyErr_SetRaisedException(exc);
    return -1;
}

int
al_task_run(al_loop_head *loop, PyObject *op)
{
    al_task *self = al_task_of(op);
    PyObject *context = Py_NewRef(self->context);
    int rc = -1;

    if (AL_UNLIKELY(al_registry_enter(loop, op) < 0)) {
        Py_DECREF(context);
        return task_put_off(loop, op);
    }
    if (PyContext_Enter(context) == 0) {
        PyObject *exc = task_waiter_exception(self, loop->state);
        rc = task_step(op, loop->state, exc);
        if (PyContext_Exit(context) < 0) {
            rc = -1;
        }
    }
    if (rc == 0) {
        AL_CHECK(al_task_check, op, loop->state);
    }
    Py_DECREF(context);
    return AL_LIKELY(rc == 0) ? 0 : task_report(loop, op);
}

int
al_task_start_eagerly(PyObject *op)
{
    al_task *self = al_task_of(op);
    al_state *state = al_future_state_of(op);
    if (state == NULL) {
        return -1;
    }
    PyObject *loop = Py_NewRef(self->future.loop); /* by (2) */
    al_loop_head *ours = al_future_our_loop(&self->future);
    /* A step of its own begins. */
    if (ours != NULL && al_loop_send_held(ours) < 0) {
        Py_DECREF(loop);
        return -1;
    }
    PyObject *previous = al_registry_swap(state, loop, op);
    if (previous == NULL) {
        Py_DECREF(loop);
        return -1;
    }
    /* The current task is the same again when we return, so loop->current_task
     * needs no change. */
    PyObject *context = Py_NewRef(self->context);
    int rc = -1;
    if (al_registry_add(state, op) == 0 && PyContext_Enter(context) == 0) {
        rc = task_step(op, state, NULL);
        if (PyContext_Exit(context) < 0) {
            rc = -1;
        }
    }
    Py_DECREF(context);
    PyObject *raised = PyErr_GetRaisedException();
    if (ours != NULL && al_loop_send_held(ours) < 0) { /* it is over */
        Py_XSETREF(raised, PyErr_GetRaisedException());
        rc = -1;
    }
    PyObject *current = al_registry_swap(state, loop, previous);
    Py_DECREF(previous);
    Py_DECREF(loop);
    if (current == NULL) {
        Py_XDECREF(raised);
        return -1;
    }
    Py_DECREF(current);
    if (self->future.state != AL_FUTURE_PENDING) {
        Py_CLEAR(self->coro);
    }
    PyErr_SetRaisedException(raised);
    return rc;
}

/* --- Python: the callables ----------------------------------------------- */

static PyObject *
Task_step(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs > 1) {
        PyErr_SetString(PyExc_TypeError,
                        "function takes one positional argument at most");
        return NULL;
    }
    PyObject *exc = nargs == 1 ? Py_NewRef(args[0]) : NULL;
    if (task_step_as_current(op, exc) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *
al_task_wakeup(PyObject *op, PyObject *future)
{
    al_state *state = al_future_state_of(op);

    if (state == NULL ||
        task_step_as_current(op, task_exception_of(state, future)) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}
