/* future_chain.c - a Future of ours follows the future of an executor's job.
 *
 *     job (concurrent.futures.Future)             future (ours)
 *        | done, in a thread of the executor         | done
 *        v                                           v
 *     chain_job_done()                            chain_future_done()
 *        | ready queue, wake the loop                | if it was cancelled
 *        v                                           v
 *     chain_run(): future.set_result()            job.cancel()
 *
 * It does what asyncio's wrap_future() does in Python, at a lower cost.  If
 * anything is unusual (a subclass, an override, debug mode, a job that is done
 * in the loop's own thread), we call wrap_future() itself.  And if the job has
 * no result, we call asyncio's _copy_future_state().
 *
 * Invariant
 *   (1) job == NULL  <=>  future == NULL  <=>  the chain has done its work (or
 *       the garbage collector has cleared it). */
#include "loop/loop.h"

#include "base/call.h"

#include "io/reactor.h"
#include "sched/handle.h"
#include "sched/ready.h"
#include "sched/report.h"
#include "task/future.h"

#ifdef AL_DEBUG

static void
chain_check(const FutureChainObject *self)
{
    AL_HOLDS(1, (self->job == NULL) == (self->future == NULL));
}

#endif

/* Its job and its future, both at once, by (1): new references, or its
 * own ones. NULL: it has none any more. */
static inline void
chain_hold(FutureChainObject *self, PyObject **job, PyObject **future)
{
    AL_LOCK((PyObject *)self);
    AL_CHECK(chain_check, self);
    *job = Py_XNewRef(self->job);
    *future = Py_XNewRef(self->future);
    AL_UNLOCK();
}

static inline void
chain_take(FutureChainObject *self, PyObject **job, PyObject **future)
{
    AL_LOCK((PyObject *)self);
    AL_CHECK(chain_check, self);
    *job = self->job;
    *future = self->future;
    self->job = self->future = NULL;
    AL_UNLOCK();
}

/* Drop both futures: the chain has done its work. Also tp_clear. */
static int
FutureChain_clear(PyObject *op)
{
    FutureChainObject *self = FutureChainObject_CAST(op);
    PyObject *job, *future;

    chain_take(self, &job, &future);
    Py_XDECREF(job);
    Py_XDECREF(future);
    return 0;
}

/* Whether an entry may be queued without loop.call_soon_threadsafe(). */
static inline bool
chain_is_direct(al_loop_head *loop)
{
    return al_loop_may_push(loop) &&
           !(loop->overrides & AL_OVERRIDES_CALL_SOON_THREADSAFE);
}

/* --- from the job to the future ----------------------------------------- */

/* The result of a job that is done. -> new reference, or NULL without an
 * exception if there is no result: it failed, was cancelled, or its attributes
 * raise. */
static PyObject *
chain_result(al_state *state, PyObject *job)
{
    PyObject *status = PyObject_GetAttr(job, state->names._state);
    PyObject *exc = PyObject_GetAttr(job, state->names._exception);
    PyObject *result = NULL;

    if (status == state->names.FINISHED && exc == Py_None) {
        result = PyObject_GetAttr(job, state->names._result);
    }
    PyErr_Clear();
    Py_XDECREF(status);
    Py_XDECREF(exc);
    return result;
}

/* Run asyncio's _copy_future_state() as a callback, whose exception is
 * reported.
 * 0, or -1 with an exception set that ends the run. */
static int
chain_copy_state(al_loop_head *loop, PyObject *job, PyObject *future)
{
    PyObject *args[] = {job, future};
    PyObject *handle = al_handle_new(
        loop, loop->state->imports.copy_future_state, args, 2, NULL);

    if (handle == NULL) {
        return -1;
    }
    int rc = al_handle_run(loop, handle);
    Py_DECREF(handle);
    return rc;
}

/* 0, or -1 with an exception set that ends the run. */
static int
chain_report(al_loop_head *loop)
{
    const al_report_item items[] = {{NULL, NULL}};

    return al_report_exception(
        (PyObject *)loop, loop->state,
        PyUnicode_FromString("Error in run_in_executor()"), items);
}

/* al_run_fn: the job is done. */
static int
chain_run(al_loop_head *loop, PyObject *op)
{
    FutureChainObject *self = FutureChainObject_CAST(op);
    PyObject *job, *future;

    chain_take(self, &job, &future);
    if (job == NULL) {
        return 0;
    }
    PyObject *result = chain_result(loop->state, job);
    int rc;
    if (AL_LIKELY(result != NULL && !al_future_is_done(future))) {
        rc = al_future_set_result(future, result);
        if (AL_UNLIKELY(rc < 0)) {
            rc = chain_report(loop);
        }
    }
    else {
        rc = chain_copy_state(loop, job, future);
    }
    Py_XDECREF(result);
    Py_DECREF(job);
    Py_DECREF(future);
    return rc;
}

/* Called when the job is done, in any thread. */
static PyObject *
chain_job_done(PyObject *op, PyObject *Py_UNUSED(argument))
{
    FutureChainObject *self = FutureChainObject_CAST(op);
    PyObject *result = NULL;

    PyObject *job, *future;

    chain_hold(self, &job, &future);
    if (job == NULL) {
        Py_RETURN_NONE;
    }
    /* Ask the future for its loop: a second __init__() may have changed it. */
    al_loop_head *loop = al_future_our_loop(al_future_of(future));
    if (AL_LIKELY(loop != NULL && chain_is_direct(loop) &&
                  loop->thread_id != PyThread_get_thread_ident()))
    {
        if (al_ready_push(loop, chain_run, op) == 0) {
            al_reactor_wake_if_blocked(loop);
            result = Py_NewRef(Py_None);
        }
    }
    else {
        (void)FutureChain_clear(op); /* the job keeps its callbacks */
        al_state *state = al_future_state_of(future);
        result = loop != NULL && loop->is_closed
                     ? Py_NewRef(Py_None)
                     : PyObject_CallFunctionObjArgs(
                           state->imports.chain_future, job, future, NULL);
    }
    Py_DECREF(job);
    Py_DECREF(future);
    return result;
}

/* --- from the future to the job ------------------------------------------ */

/* Called by the loop when the future is done. */
static PyObject *
chain_future_done(PyObject *op, PyObject *Py_UNUSED(argument))
{
    FutureChainObject *self = FutureChainObject_CAST(op);

    PyObject *job, *future;
    int rc = 0;

    chain_hold(self, &job, &future);
    if (job != NULL && future != NULL &&
        AL_LOAD(al_future_of(future)->state) == AL_FUTURE_CANCELLED)
    {
        al_state *state = al_future_state_of(future);
        rc = al_call_finish(
            PyObject_CallMethodNoArgs(job, state->names.cancel));
    }
    Py_XDECREF(job);
    Py_XDECREF(future);
    return al_call_none(rc);
}

/* --- making ------------------------------------------------------------- */

static PyMethodDef chain_job_done_def = {"job_done", chain_job_done, METH_O,
                                         NULL};
static PyMethodDef chain_future_done_def = {"future_done", chain_future_done,
                                            METH_O, NULL};

static PyObject *
chain_new(al_state *state, PyObject *job, PyObject *future)
{
    PyTypeObject *type = state->FutureChainType;
    FutureChainObject *self = PyObject_GC_New(FutureChainObject, type);

    if (self == NULL) {
        return NULL;
    }
    AL_COUNT(type, 1);
    self->job = Py_NewRef(job);
    self->future = Py_NewRef(future);
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

/* Add the done callbacks to both futures: 0, or -1 with an exception set. */
static int
chain_connect(al_state *state, PyObject *chain, PyObject *job,
              PyObject *future)
{
    PyObject *context = NULL, *result = NULL;
    PyObject *job_done = PyCFunction_New(&chain_job_done_def, chain);
    PyObject *future_done = PyCFunction_New(&chain_future_done_def, chain);
    int rc = -1;

    if (job_done == NULL || future_done == NULL) {
        goto done;
    }
    context = PyContext_CopyCurrent();
    if (context == NULL ||
        al_future_add_callback(future, future_done, context) < 0)
    {
        goto done;
    }
    result = PyObject_CallMethodOneArg(job, state->names.add_done_callback,
                                       job_done);
    rc = result == NULL ? -1 : 0;

done:
    Py_XDECREF(result);
    Py_XDECREF(context);
    Py_XDECREF(future_done);
    Py_XDECREF(job_done);
    return rc;
}

/* Call asyncio's wrap_future(), for unusual cases. -> new reference, or
 * NULL. */
static PyObject *
chain_wrap_stock(al_loop_head *loop, PyObject *job)
{
    al_state *state = loop->state;
    PyObject *stack[] = {job, (PyObject *)loop};
    PyObject *kwnames = PyTuple_Pack(1, state->names.loop);

    if (kwnames == NULL) {
        return NULL;
    }
    PyObject *future =
        PyObject_Vectorcall(state->imports.wrap_future, stack, 1, kwnames);
    Py_DECREF(kwnames);
    return future;
}

PyDoc_STRVAR(Loop__wrap_future_doc,
             "_wrap_future($self, future, /)\n--\n\n"
             "Return a Future of this loop that follows the future of an "
             "executor, as\nasyncio.wrap_future() does.");

static PyObject *
Loop__wrap_future(PyObject *op, PyObject *job)
{
    al_loop_head *loop = al_loop_head_CAST(op);
    al_state *state = loop->state;

    if (!Py_IS_TYPE(job, (PyTypeObject *)state->imports.concurrent_Future) ||
        state->FutureType == NULL || !chain_is_direct(loop) ||
        state->imports.chain_future == Py_None ||
        state->imports.copy_future_state == Py_None ||
        (loop->overrides & AL_OVERRIDES_CREATE_FUTURE))
    {
        return chain_wrap_stock(loop, job);
    }
    PyObject *future = al_future_make(loop);
    PyObject *chain = future == NULL ? NULL : chain_new(state, job, future);
    if (chain == NULL || chain_connect(state, chain, job, future) < 0) {
        Py_CLEAR(future);
    }
    Py_XDECREF(chain);
    return future;
}

PyMethodDef al_loop_future_chain_methods[] = {
    {"_wrap_future", Loop__wrap_future, METH_O, Loop__wrap_future_doc},
    {NULL, NULL, 0, NULL}};

/* --- lifetime ----------------------------------------------------------- */

static int
FutureChain_traverse(PyObject *op, visitproc visit, void *arg)
{
    FutureChainObject *self = FutureChainObject_CAST(op);

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->job);
    Py_VISIT(self->future);
    return 0;
}

static void
FutureChain_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    (void)FutureChain_clear(op);
    AL_COUNT(type, -1);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static PyType_Slot FutureChain_slots[] = {
    {Py_tp_dealloc, FutureChain_dealloc},
    {Py_tp_traverse, FutureChain_traverse},
    {Py_tp_clear, FutureChain_clear},
    {0, NULL},
};

static PyType_Spec FutureChain_spec = {
    .name = "asyncloop._core.FutureChain",
    .basicsize = sizeof(FutureChainObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
             Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = FutureChain_slots,
};

int
al_future_chain_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->FutureChainType =
        al_state_add_type(module, &FutureChain_spec, NULL);
    return state->FutureChainType == NULL ? -1 : 0;
}
