/* sock_op.c - one call of a sock_* method: a coroutine without a frame.
 *
 *     await loop.sock_recv(s, 100)
 *        |  send()     ^ result
 *        v             |
 *     begin: recv() ---+ usually succeeds
 *        | EAGAIN
 *        v
 *     a future, yielded as `await future` does
 *        ^
 *        | result
 *     retry: recv() <--- ready queue <--- al_fdwatch <--- the kernel
 *
 * While the operation waits, it is the reader (writer) entry of its
 * descriptor.  It replaces another entry, as add_reader() does.  In the same
 * way another call may replace it without telling it.  So before it acts, it
 * checks that it still is the entry.
 *
 * The entry stays until the waiting task has the result, which is one turn
 * after the future has it.  The next poll tells the kernel that the entry was
 * cleared.  So if the task goes on receiving, the kernel need not be told
 * anything.
 *
 * Invariants
 *   (1) sock == NULL <=> the call is over (returned, failed, closed): then we
 *       own nothing.
 *   (2) future != NULL => is_started, sock != NULL, and we are the entry in
 *       the watch of fd, unless another call has replaced us.
 */
#include "loop/sock_op.h"

#include "base/coroutine.h"
#include "base/errors.h"
#include "loop/loop_fds.h"
#include "net/claim.h"
#include "sched/report.h"
#include "task/future.h"

#ifdef AL_DEBUG

static void
sock_op_check_fields(const SockOpObject *self)
{
    AL_HOLDS(1, self->sock != NULL ||
                    (self->argument == NULL && self->argument2 == NULL &&
                     self->buffer.obj == NULL && self->iterator == NULL));
    AL_HOLDS(2,
             self->future == NULL || (self->is_started && self->sock != NULL));
}

#endif

/* --- waiting ------------------------------------------------------------ */

/* The watch of our descriptor if we are its entry, else NULL. */
static al_fdwatch *
sock_op_watch(SockOpObject *self)
{
    al_fdwatch *watch = al_fdwatch_find(self->loop, self->fd);

    if (watch == NULL) {
        return NULL;
    }
    PyObject *holder = self->call->event == EV_READ ? watch->reader.object
                                                    : watch->writer.object;
    return holder == (PyObject *)self ? watch : NULL;
}

/* Whether the future is pending: 1 or 0, or -1 with an exception set. */
static int
sock_op_is_pending(al_state *state, PyObject *future)
{
    if (AL_LIKELY(al_future_check(state, future))) {
        return !al_future_is_done(future);
    }
    PyObject *done = PyObject_CallMethodNoArgs(future, state->names.done);
    int is_done = done == NULL ? -1 : PyObject_IsTrue(done);
    Py_XDECREF(done);
    return is_done < 0 ? -1 : !is_done;
}

/* Call retry() and set its result or exception on the future, which is
 * pending.
 * 0, or -1 with an exception set; that of retry() only if it is fatal. */
static int
sock_op_retry(SockOpObject *self, PyObject *future)
{
    int rc = 0;

    self->is_running = true;
    PyObject *result = self->call->retry(self);
    self->is_running = false;
    if (result != NULL) {
        rc = al_future_resolve(future, result);
        Py_DECREF(result);
    }
    else if (PyErr_Occurred()) {
        if (al_error_is_fatal()) {
            return -1;
        }
        PyObject *exc = PyErr_GetRaisedException();
        rc = al_future_fail(future, exc);
        Py_DECREF(exc);
    }
    return rc;
}

/* al_run_fn: the descriptor is ready. */
static int
sock_op_run(al_loop_head *loop, PyObject *op)
{
    SockOpObject *self = SockOpObject_CAST(op);
    PyObject *future = self->future;

    AL_CHECK(sock_op_check_fields, self);
    /* After this was queued, the operation may have been replaced or
     * cancelled. Or it has its result already, and its task is about to
     * run. */
    if (future == NULL || self->is_running || sock_op_watch(self) == NULL) {
        return 0;
    }
    Py_INCREF(future);
    int rc = sock_op_is_pending(loop->state, future);
    if (rc > 0) {
        rc = sock_op_retry(self, future);
    }
    Py_DECREF(future);
    if (rc == 0) {
        return 0;
    }
    const al_report_item items[] = {{NULL, NULL}};
    return al_report_exception(
        (PyObject *)loop, loop->state,
        PyUnicode_FromFormat("Error in %s()", self->call->name), items);
}

/* Watch the descriptor: 0, or -1 with an exception set. */
static int
sock_op_wait(SockOpObject *self)
{
    al_loop_head *loop = self->loop;
    PyObject *op = (PyObject *)self;

    PyObject *future = al_future_new(loop);
    if (future == NULL) {
        return -1;
    }
    PyObject *number =
        PyObject_CallMethodNoArgs(self->sock, loop->state->names.fileno);
    if (number == NULL) {
        goto error;
    }
    self->fd = PyObject_AsFileDescriptor(number);
    if (self->fd < 0 || al_claim_check_free(loop, self->fd, number) < 0 ||
        al_loop_check_closed(loop) < 0)
    {
        goto error;
    }
    al_fdwatch *watch = self->is_exact
                            ? al_fdwatch_get_socket(loop, self->fd, self->sock)
                            : al_fdwatch_get(loop, self->fd, number);
    if (watch == NULL) {
        goto error;
    }
    Py_DECREF(number);
    self->future = future;
    return al_loop_fds_set(watch, self->call->event, sock_op_run, op);

error:
    Py_XDECREF(number);
    Py_DECREF(future);
    return -1;
}

/* Releasing the buffer may run code of its owner, which may end us once more:
 * take the buffer out first. */
static void
sock_op_release_buffer(SockOpObject *self)
{
    Py_buffer buffer = self->buffer;

    self->buffer.obj = NULL;
    PyBuffer_Release(&buffer);
}

/* The call is over: clear the entry, drop everything. */
static void
sock_op_finish(SockOpObject *self)
{
    PyObject *op = Py_NewRef(self); /* the entry may be our last owner */
    al_fdwatch *watch = self->future != NULL ? sock_op_watch(self) : NULL;

    if (watch != NULL && self->call->event == EV_READ) {
        al_fdwatch_clear_reader_lazily(watch);
    }
    else if (watch != NULL) {
        al_fdwatch_clear_writer_lazily(watch);
    }
    sock_op_release_buffer(self);
    Py_CLEAR(self->future);
    Py_CLEAR(self->iterator);
    Py_CLEAR(self->argument);
    Py_CLEAR(self->argument2);
    Py_CLEAR(self->sock); /* by (1) */
    Py_DECREF(op);
}

/* --- stepping ----------------------------------------------------------- */

/* Return a result (stolen), or the exception that is set. */
static PySendResult
sock_op_return(SockOpObject *self, PyObject *value, PyObject **result)
{
    PyObject *exc = value == NULL ? PyErr_GetRaisedException() : NULL;

    sock_op_finish(self);
    if (value == NULL) {
        PyErr_SetRaisedException(exc);
    }
    *result = value;
    return value != NULL ? PYGEN_RETURN : PYGEN_ERROR;
}

static PySendResult
sock_op_delegate(SockOpObject *self, PyObject *sent, PyObject **result);

/* A function of the method has returned: return, fail or wait. */
static PySendResult
sock_op_proceed(SockOpObject *self, PyObject *value, PyObject **result)
{
    if (value != NULL || PyErr_Occurred()) {
        return sock_op_return(self, value, result);
    }
    if (self->iterator != NULL) {
        return sock_op_delegate(self, Py_None, result);
    }
    if (sock_op_wait(self) < 0) {
        return sock_op_return(self, NULL, result);
    }
    if (AL_LIKELY(al_future_check_exact(self->loop->state, self->future))) {
        PySendResult step = al_future_step_wait(self->future, result);
        return AL_LIKELY(step == PYGEN_NEXT)
                   ? step
                   : sock_op_return(self, NULL, result);
    }
    /* An overridden create_future() has made the future: call its
     * __await__(). */
    self->iterator = PyObject_CallMethodNoArgs(
        self->future, self->loop->state->names.__await__);
    if (self->iterator == NULL) {
        return sock_op_return(self, NULL, result);
    }
    return sock_op_delegate(self, Py_None, result);
}

/* The iterator has made a step: go on with its result. */
static PySendResult
sock_op_delegated(SockOpObject *self, PySendResult step, PyObject **result)
{
    if (step == PYGEN_NEXT) {
        return PYGEN_NEXT;
    }
    if (step == PYGEN_ERROR || self->future != NULL) {
        return sock_op_return(self, *result, result);
    }
    PyObject *value = *result;
    Py_CLEAR(self->iterator);
    PyObject *outcome = self->call->resolved(self, value);
    Py_DECREF(value);
    return sock_op_proceed(self, outcome, result);
}

static PySendResult
sock_op_delegate(SockOpObject *self, PyObject *sent, PyObject **result)
{
    return sock_op_delegated(self, PyIter_Send(self->iterator, sent, result),
                             result);
}

/* The future is done, or send() was called too early, which fails as in `await
 * future`. */
static PySendResult
sock_op_resume(SockOpObject *self, PyObject **result)
{
    PyObject *outcome = NULL;

    if (!al_future_is_done(self->future)) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        return sock_op_return(self, NULL, result);
    }
    (void)al_future_step_done(self->future, &outcome); /* NULL: it raised */
    return sock_op_return(self, outcome, result);
}

/* Check that send() or throw() is allowed now: 0, or -1 with an exception
 * set. */
static int
sock_op_check(SockOpObject *self)
{
    if (self->is_running) {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
        return -1;
    }
    if (self->sock == NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot reuse already awaited coroutine");
        return -1;
    }
    return 0;
}

static PySendResult
SockOp_am_send(PyObject *op, PyObject *sent, PyObject **result)
{
    SockOpObject *self = SockOpObject_CAST(op);
    PySendResult step;

    *result = NULL;
    if (sock_op_check(self) < 0) {
        return PYGEN_ERROR;
    }
    if (!self->is_started && sent != Py_None) {
        PyErr_SetString(PyExc_TypeError,
                        "can't send non-None value to a just-started "
                        "coroutine");
        return PYGEN_ERROR;
    }
    /* User code may run: it may drop us, and must not step us meanwhile. */
    Py_INCREF(op);
    self->is_running = true;
    if (!self->is_started) {
        self->is_started = true;
        al_loop_note_event(self->loop);
        step = al_loop_send_held(self->loop) < 0
                   ? sock_op_return(self, NULL, result)
                   : sock_op_proceed(self, self->call->begin(self), result);
    }
    else if (self->iterator != NULL) {
        step = sock_op_delegate(self, sent, result);
    }
    else {
        step = sock_op_resume(self, result);
    }
    self->is_running = false;
    Py_DECREF(op);
    return step;
}

static PyObject *
SockOp_iternext(PyObject *op)
{
    PyObject *result;
    PySendResult step = SockOp_am_send(op, Py_None, &result);

    return al_step_next(step, result);
}

static PyObject *
SockOp_am_await(PyObject *op)
{
    SockOpObject *self = SockOpObject_CAST(op);

    if (self->future != NULL || self->iterator != NULL) {
        PyErr_SetString(PyExc_RuntimeError,
                        "coroutine is being awaited already");
        return NULL;
    }
    return Py_NewRef(op);
}

/* --- Python: methods ---------------------------------------------------- */

PyDoc_STRVAR(SockOp_send_doc, "send($self, value, /)\n--\n\n"
                              "Go on to the next wait; value is ignored.");

/* Throw into the iterator. */
static PySendResult
sock_op_throw_on(SockOpObject *self, PyObject *exc, PyObject **result)
{
    PySendResult step = al_step_thrown(
        PyObject_CallMethodOneArg(self->iterator,
                                  self->loop->state->names.throw, exc),
        result);
    return sock_op_delegated(self, step, result);
}

PyDoc_STRVAR(SockOp_throw_doc,
             "throw($self, type, value=None, traceback=None, /)\n--\n\n"
             "Stop waiting, with an exception.");

static PyObject *
SockOp_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    SockOpObject *self = SockOpObject_CAST(op);
    PyObject *exc = al_throw_parse(args, nargs);

    if (exc == NULL) {
        return NULL;
    }
    if (sock_op_check(self) < 0) {
        Py_DECREF(exc);
        return NULL;
    }
    PyObject *result = NULL;
    Py_INCREF(op);
    self->is_running = true;
    self->is_started = true;
    if (self->iterator != NULL) {
        PySendResult step = sock_op_throw_on(self, exc, &result);
        result = al_step_sent(step, result);
    }
    else {
        sock_op_finish(self);
        PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    }
    self->is_running = false;
    Py_DECREF(exc);
    Py_DECREF(op);
    return result;
}

PyDoc_STRVAR(SockOp_close_doc, "close($self, /)\n--\n\n"
                               "Stop waiting, for good.");

static PyObject *
SockOp_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    SockOpObject *self = SockOpObject_CAST(op);
    PyObject *closed = Py_NewRef(Py_None);

    if (self->sock == NULL) {
        return closed;
    }
    if (sock_op_check(self) < 0) {
        Py_DECREF(closed);
        return NULL;
    }
    self->is_running = true;
    if (self->iterator != NULL && self->future == NULL) {
        Py_SETREF(closed, PyObject_CallMethodNoArgs(
                              self->iterator, self->loop->state->names.close));
    }
    self->is_running = false;
    PyObject *exc = PyErr_GetRaisedException();
    sock_op_finish(self);
    PyErr_SetRaisedException(exc);
    return closed;
}

static PyObject *
SockOp_get_name(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(SockOpObject_CAST(op)->call->name);
}

static PyObject *
SockOp_get_qualname(PyObject *op, void *Py_UNUSED(closure))
{
    return PyUnicode_FromFormat("Loop.%s", SockOpObject_CAST(op)->call->name);
}

static PyObject *
SockOp_repr(PyObject *op)
{
    return PyUnicode_FromFormat("<coroutine object Loop.%s at %p>",
                                SockOpObject_CAST(op)->call->name, op);
}

/* --- Python: lifetime --------------------------------------------------- */

PyObject *
al_sock_op_new(al_loop_head *loop, const al_sock_call *call,
               PyObject *const *args, int nargs)
{
    SockOpObject *self =
        PyObject_GC_New(SockOpObject, loop->state->SockOpType);
    if (self == NULL) {
        return NULL;
    }
    AL_COUNT(loop->state->SockOpType, 1);
    self->call = call;
    self->loop = (al_loop_head *)Py_NewRef(loop);
    self->sock = Py_NewRef(args[0]);
    self->argument = nargs > 1 ? Py_XNewRef(args[1]) : NULL;
    self->argument2 = nargs > 2 ? Py_XNewRef(args[2]) : NULL;
    self->buffer.obj = NULL;
    self->size = 0;
    self->future = NULL;
    self->iterator = NULL;
    self->fd = -1;
    self->weakrefs = NULL;
    self->is_started = self->is_running = false;
    self->is_exact = Py_IS_TYPE(
        args[0], (PyTypeObject *)loop->state->imports.socket_socket);
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int
SockOp_traverse(PyObject *op, visitproc visit, void *arg)
{
    SockOpObject *self = SockOpObject_CAST(op);

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->sock);
    Py_VISIT(self->argument);
    Py_VISIT(self->argument2);
    Py_VISIT(self->buffer.obj);
    Py_VISIT(self->future);
    Py_VISIT(self->iterator);
    return 0;
}

static int
SockOp_clear(PyObject *op)
{
    SockOpObject *self = SockOpObject_CAST(op);

    sock_op_release_buffer(self);
    Py_CLEAR(self->future);
    Py_CLEAR(self->iterator);
    Py_CLEAR(self->argument);
    Py_CLEAR(self->argument2);
    Py_CLEAR(self->sock); /* by (1) */
    return 0;
}

static void
SockOp_finalize(PyObject *op)
{
    SockOpObject *self = SockOpObject_CAST(op);

    if (self->is_started || self->sock == NULL) {
        return;
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1,
                         "coroutine 'Loop.%s' was never awaited",
                         self->call->name) < 0)
    {
        PyErr_WriteUnraisable(op);
    }
    PyErr_SetRaisedException(exc);
}

static void
SockOp_dealloc(PyObject *op)
{
    SockOpObject *self = SockOpObject_CAST(op);
    PyTypeObject *type = Py_TYPE(op);

    if (!self->is_started && self->sock != NULL &&
        PyObject_CallFinalizerFromDealloc(op) < 0)
    {
        return;
    }
    PyObject_GC_UnTrack(op);
    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)SockOp_clear(op);
    Py_CLEAR(self->loop);
    AL_COUNT(type, -1);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

/* --- type --------------------------------------------------------------- */

/* What a method of an operation locks. */
static inline PyObject *
sock_op_lock(PyObject *op)
{
    return (PyObject *)SockOpObject_CAST(op)->loop;
}

AL_LOCKS(al_step_send, sock_op_lock)
AL_LOCKS_FAST(SockOp_throw, sock_op_lock)
AL_LOCKS(SockOp_close, sock_op_lock)

static PyMethodDef SockOp_methods[] = {
    {"send", AL_LOCKED(al_step_send), METH_O, SockOp_send_doc},
    {"throw", (PyCFunction)(void (*)(void))AL_LOCKED(SockOp_throw),
     METH_FASTCALL, SockOp_throw_doc},
    {"close", AL_LOCKED(SockOp_close), METH_NOARGS, SockOp_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef SockOp_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(SockOpObject, weakrefs),
     READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef SockOp_getset[] = {
    {"__name__", SockOp_get_name, NULL, NULL, NULL},
    {"__qualname__", SockOp_get_qualname, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(SockOp_doc, "What a sock_* method of the loop returns.\n\n"
                         "To be awaited once, like a coroutine.");

static PyType_Slot SockOp_slots[] = {
    {Py_tp_doc, (void *)SockOp_doc},   {Py_tp_dealloc, SockOp_dealloc},
    {Py_tp_finalize, SockOp_finalize}, {Py_tp_traverse, SockOp_traverse},
    {Py_tp_clear, SockOp_clear},       {Py_tp_repr, SockOp_repr},
    {Py_tp_iter, PyObject_SelfIter},   {Py_tp_iternext, SockOp_iternext},
    {Py_tp_methods, SockOp_methods},   {Py_tp_members, SockOp_members},
    {Py_tp_getset, SockOp_getset},     {Py_am_await, SockOp_am_await},
    {Py_am_send, SockOp_am_send},      {0, NULL},
};

static PyType_Spec SockOp_spec = {
    .name = "asyncloop._core.SockOp",
    .basicsize = sizeof(SockOpObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = SockOp_slots,
};

int
al_sock_op_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->SockOpType = al_state_add_type(module, &SockOp_spec, NULL);
    return state->SockOpType == NULL ? -1 : 0;
}
