/* task_step.c - one step of a task: resumes the coroutine, and does what it
 * asks for.
 *
 *     ready queue --> al_task_run --> in its context, as the current task:
 *         send(None), or throw(exception of the awaited future)
 *             returns       -> result          raises -> exception, cancelled
 *             yields future -> wait for it     yields None -> queue again
 *             yields others -> throw RuntimeError into it, one turn later
 *
 * The short way is for our futures on our loops: the Task itself is in the
 * ready queue, and the future pushes it there. In debug mode, on a loop whose
 * call_soon() is overridden, and with loops and futures of other types, we
 * call the public methods with callables bound to the task, as asyncio does.
 *
 * Invariants
 *   (1) While a step runs, its caller owns a reference to the task.
 *   (2) A step, and a method of the loop or of a future of another type, may
 *       call __init__ on the task, which drops its loop, context and
 *       coroutine. So a function that needs them meanwhile or afterwards owns
 *       them. */
#include "task/task.h"

#include "base/call.h"
#include "base/coroutine.h"
#include "base/errors.h"
#include "cpython/current_task.h"
#include "sched/handle.h"
#include "sched/ready.h"
#include "sched/report.h"
#include "task/registry.h"

/* --- the callables that step a task -------------------------------------- */

static PyObject *
Task_step(PyObject *op, PyObject *const *args, Py_ssize_t nargs);

static PyMethodDef task_step_method = {
    "TaskStepMethWrapper", (PyCFunction)(void (*)(void))Task_step,
    METH_FASTCALL, "Run one step of a task, or throw an exception into it."};

static PyMethodDef task_wakeup_method = {
    AL_WAKEUP_NAME, al_task_wakeup, METH_O,
    "Run one step of a task, as the future that it awaits is done."};

/* Schedule a step by call_soon(). It throws `exc`, which may be NULL. */
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

PyObject *
al_task_make_callback(PyObject *op, PyObject **argument, PyObject **context)
{
    al_task *self = al_task_of(op);

    /* If it waits for a future, that future is done and has queued it. */
    AL_LOCK(op);
    *argument = Py_XNewRef(self->fut_waiter);
    *context = Py_NewRef(al_or_none(self->context));
    AL_UNLOCK();
    return PyCFunction_New(
        *argument == NULL ? &task_step_method : &task_wakeup_method, op);
}

/* --- the coroutine yields ----------------------------------------------- */

/* It must not yield this: throw RuntimeError into it, with a text as for
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

/* Reset must_cancel. -> whether it was set */
static inline bool
task_take_must_cancel(PyObject *op)
{
    bool must_cancel;

    AL_LOCK(op);
    must_cancel = AL_TASK_FLAGS(al_task_of(op))->must_cancel;
    if (AL_UNLIKELY(must_cancel)) {
        AL_TASK_FLAGS(al_task_of(op))->must_cancel = false;
    }
    AL_UNLOCK();
    return must_cancel;
}

/* The task was cancelled while the coroutine ran: cancel the future that it
 * now waits for. 0, or -1 with an exception set. */
static int
task_cancel_awaited(PyObject *op, al_state *state, PyObject *future)
{
    PyObject *message = al_future_cancel_message(op);
    int cancelled = al_task_cancel_waiter(state, future, message);

    Py_DECREF(message);
    if (cancelled > 0) {
        (void)task_take_must_cancel(op);
    }
    return cancelled < 0 ? -1 : 0;
}

/* Wait for a future that wakes the task. 0, or -1 with an exception set. */
static inline int
task_begin_wait(PyObject *op, al_state *state, PyObject *future)
{
    al_task *self = al_task_of(op);
    PyObject *old;
    bool must_cancel;

    AL_LOCK(op);
    old = self->fut_waiter;
    self->fut_waiter = Py_NewRef(future);
    must_cancel = AL_TASK_FLAGS(self)->must_cancel;
    AL_UNLOCK();
    Py_XDECREF(old);
    if (al_registry_begin_await(state, future, op) < 0) {
        return -1;
    }
    return AL_UNLIKELY(must_cancel) ? task_cancel_awaited(op, state, future)
                                    : 0;
}

/* Wait for one of our futures. 0, or -1 with an exception set. */
static inline int
task_wait(PyObject *op, al_state *state, PyObject *future)
{
    al_task *self = al_task_of(op);
    al_future *awaited = al_future_of(future);
    bool was_blocking;

    if (AL_UNLIKELY(awaited->loop != self->future.loop)) {
        return task_fail_foreign_loop(op, future);
    }
    AL_LOCK(future);
    was_blocking = awaited->blocking;
    awaited->blocking = false;
    AL_UNLOCK();
    if (AL_UNLIKELY(!was_blocking)) {
        return task_fail_not_awaited(op, future);
    }
    return al_future_iter_wait(future, op, state) < 0
               ? -1
               : task_begin_wait(op, state, future);
}

/* The loop of a future of any type. -> new reference, or NULL. */
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

/* Call future.add_done_callback(wakeup, context=self.context): 0, or -1. */
static int
task_add_wakeup(PyObject *op, al_state *state, PyObject *future)
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
    return al_call_finish(result);
}

/* Wait for a future of another type, whose _asyncio_future_blocking is
 * `blocking`. 0, or -1 with an exception set. */
static int
task_wait_foreign(PyObject *op, al_state *state, PyObject *future,
                  PyObject *blocking)
{
    PyObject *loop = task_loop_of(state, future);
    if (loop == NULL) {
        return -1;
    }
    Py_DECREF(loop); /* only compared */
    if (loop != al_task_of(op)->future.loop) {
        return task_fail_foreign_loop(op, future);
    }
    int is_blocking = PyObject_IsTrue(blocking);
    if (is_blocking <= 0) {
        return is_blocking < 0 ? -1 : task_fail_not_awaited(op, future);
    }
    if (PyObject_SetAttr(future, state->names._asyncio_future_blocking,
                         Py_False) < 0 ||
        task_add_wakeup(op, state, future) < 0)
    {
        return -1;
    }
    return task_begin_wait(op, state, future);
}

/* Wait for `result`, if it may be awaited. 0, or -1 with an exception set. */
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
    if (result == Py_None) { /* a bare yield lets other entries run */
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

/* --- the coroutine ends ------------------------------------------------- */

static int
task_returned(PyObject *op, PyObject *result)
{
    al_registry_remove(op);
    if (AL_UNLIKELY(task_take_must_cancel(op))) {
        /* Cancelled in its last step: there is no await to throw it into. */
        PyObject *message = al_future_cancel_message(op);
        int rc = al_future_cancel(op, message, NULL);
        Py_DECREF(message);
        return rc < 0 ? -1 : 0;
    }
    return al_future_set_result(op, result);
}

/* The coroutine raised the exception that is set. 0, or -1 with an exception
 * set that the step raises. */
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

/* The task has to be cancelled: set *exc, the exception to throw or NULL, to a
 * CancelledError unless it is one. 0, or -1 with an exception set. */
static int
task_make_cancelled_error(PyObject *op, al_state *state, PyObject **exc)
{
    if (*exc != NULL &&
        PyErr_GivenExceptionMatches(*exc, state->imports.CancelledError))
    {
        return 0;
    }
    Py_XSETREF(*exc, al_future_make_cancelled_error(op));
    return *exc == NULL ? -1 : 0;
}

/* Call coro.throw(exc). Sets and returns what PyIter_Send() does. */
static PySendResult
task_throw(al_state *state, PyObject *coro, PyObject *exc, PyObject **result)
{
    return al_step_thrown(
        PyObject_CallMethodOneArg(coro, state->names.throw, exc), result);
}

/* Resume the coroutine, or throw `exc` (stolen) into it if not NULL. The task
 * is the current one, its context is entered. 0, or -1 with an exception set.
 */
static int
task_step(PyObject *op, al_state *state, PyObject *exc)
{
    al_task *self = al_task_of(op);
    PyObject *result;
    PySendResult sent;
    int rc = -1;

    if (AL_UNLIKELY(al_future_is_done(op))) {
        PyErr_Format(state->imports.InvalidStateError,
                     AL_STEP_NAME "(): already done: %R %R", op,
                     al_or_none(exc));
        Py_XDECREF(exc);
        return -1;
    }
    PyObject *waiter = NULL, *coro;
    bool must_cancel = false;
    AL_LOCK(op);
    coro = Py_XNewRef(self->coro);
    if (AL_LIKELY(coro != NULL)) {
        must_cancel = AL_TASK_FLAGS(self)->must_cancel;
        if (AL_UNLIKELY(must_cancel)) {
            AL_TASK_FLAGS(self)->must_cancel = false;
        }
        waiter = self->fut_waiter; /* moved to `waiter` */
        self->fut_waiter = NULL;
    }
    AL_UNLOCK();
    if (AL_UNLIKELY(coro == NULL)) { /* a later __init__ has failed */
        PyErr_SetString(PyExc_RuntimeError, "uninitialized Task object");
        Py_XDECREF(exc);
        return -1;
    }
    if (AL_UNLIKELY(must_cancel) &&
        task_make_cancelled_error(op, state, &exc) < 0)
    {
        Py_XDECREF(waiter);
        Py_DECREF(coro);
        return -1;
    }
    if (waiter != NULL) {
        int ended = al_registry_end_await(state, waiter, op);
        Py_DECREF(waiter);
        if (ended < 0) {
            Py_DECREF(coro);
            Py_XDECREF(exc);
            return -1;
        }
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

/* One step when a callable of the task is called, in the task's context. `exc`
 * is stolen. Our loops leave the current task before they run a callback. So
 * if a task is current now, its step has called the callable. */
static int
task_step_in_call(PyObject *op, PyObject *exc)
{
    al_future *self = &al_task_of(op)->future;
    al_state *state = al_future_state_of(op);
    PyObject *outer;

    if (state == NULL || al_future_check_init(op) < 0) {
        Py_XDECREF(exc);
        return -1;
    }
    PyObject *loop = Py_NewRef(self->loop); /* by (2) */
    int rc = al_registry_enter_for_call(loop, op, &outer);
    if (rc < 0) {
        Py_XDECREF(exc);
    }
    else {
        rc = task_step(op, state, exc);
        PyObject *raised = PyErr_GetRaisedException();
        if (al_registry_leave_after_call(loop, op, outer) < 0) {
            rc = -1;
        }
        al_error_chain(raised);
    }
    Py_DECREF(loop);
    return rc;
}

/* A handle for the exception handler, as asyncio would have in its queue for
 * the step. -> new reference, or NULL with an exception set. */
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

/* The step raised: report it to the loop that has run it, as asyncio reports
 * the failure of the callback. (By (2) the task may have another loop now.) 0,
 * or -1 with a fatal exception set. */
static int
task_report(al_loop_head *loop, PyObject *op)
{
    al_state *state = loop->state;

    if (al_error_is_fatal()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (al_loop_leave_task(loop) < 0) { /* the loop reports, not a task */
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

/* The exception that result() of a future of any type raises: a new reference,
 * or NULL. A CancelledError is raised, and so gets a __context__: the
 * exception that the caller of the loop handles. Others are returned as they
 * are. */
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

/* The exception of our future that woke the task: a new reference, or NULL if
 * it has none, or the future is of another type. */
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
    Py_INCREF(waiter); /* by (2): dropping a traceback may run anything */
    PyObject *exc = task_exception_of(state, waiter);
    Py_DECREF(waiter);
    return exc;
}

/* The task could not be entered. If the exception is fatal, it came from
 * reports about the task that was left: queue the step again. 0, or -1 with a
 * fatal exception set. */
static int
task_report_or_requeue(al_loop_head *loop, PyObject *op)
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
        return task_report_or_requeue(loop, op);
    }
    if (PyContext_Enter(context) == 0) {
        PyObject *exc = task_waiter_exception(self, loop->state);
        rc = task_step(op, loop->state, exc);
        if (PyContext_Exit(context) < 0) {
            rc = -1;
        }
    }
    if (rc == 0) {
        AL_CHECK(al_task_check, op, loop);
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
    /* What the outer step wrote is sent first, as this is another step. */
    bool is_sent = ours == NULL || al_loop_send_held(ours) == 0;
    PyObject *previous =
        is_sent ? al_current_task_swap(state, loop, op) : NULL;
    if (previous == NULL) {
        Py_DECREF(loop);
        return -1;
    }
    /* `previous` is current again when we return, so loop->current_task does
     * not change. */
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
    if (ours != NULL && al_loop_send_held(ours) < 0) { /* the step ends */
        Py_XSETREF(raised, PyErr_GetRaisedException());
        rc = -1;
    }
    PyObject *current = al_current_task_swap(state, loop, previous);
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

/* --- Python: the callables ---------------------------------------------- */

static PyObject *
Task_step(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs > 1) {
        PyErr_SetString(PyExc_TypeError,
                        "function takes one positional argument at most");
        return NULL;
    }
    PyObject *exc = nargs == 1 ? Py_NewRef(args[0]) : NULL;
    return al_call_none(task_step_in_call(op, exc));
}

PyObject *
al_task_wakeup(PyObject *op, PyObject *future)
{
    al_state *state = al_future_state_of(op);

    return state == NULL ? NULL
                         : al_call_none(task_step_in_call(
                               op, task_exception_of(state, future)));
}
