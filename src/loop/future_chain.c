/* future_chain.c - a Future of ours follows one of an executor.
 *
 *     source (concurrent.futures.Future)          destination (our Future)
 *        | done, in a thread of the executor         | done
 *        v                                           v
 *     chain_source_done()                         chain_destination_done()
 *        | ready queue, wake the loop                | if it was cancelled
 *        v                                           v
 *     chain_run(): destination.set_result()       source.cancel()
 *
 * It does what asyncio's wrap_future() does in some hundreds of lines of
 * bytecode.  That is called itself where anything is unusual (a subclass, an
 * override, debug mode, a source done in the loop's own thread), and so is its
 * _copy_future_state() for all but a result.
 *
 * Invariant
 *   (1) source == NULL  <=>  destination == NULL  <=>  over (or cleared by the
 *       garbage collector). */
#include "loop/loop.h"

#include "io/reactor.h"
#include "sched/handle.h"
#include "sched/ready.h"
#include "sched/report.h"
#include "task/future.h"

typedef struct {
    PyObject_HEAD
    PyObject *source;      /* owned, exactly a concurrent.futures.Future */
    PyObject *destination; /* owned, exactly a Future of ours */
} FutureChainObject;

#define FutureChainObject_CAST(op) ((FutureChainObject *)(op))

/* It is over. Also tp_clear. */
static int
FutureChain_clear(PyObject *op)
{
    FutureChainObject *self = FutureChainObject_CAST(op);
    PyObject *source = self->source;
    PyObject *destination = self->destination;

    self->source = self->destination = NULL; /* by (1) at once */
    Py_XDECREF(source);
    Py_XDECREF(destination);
    return 0;
}

/* Whether an entry may be queued without loop.call_soon_threadsafe(). */
static inline bool
chain_is_direct(const al_loop_head *loop)
{
    return loop->is_direct &&
           !(loop->overrides & AL_OVERRIDES_CALL_SOON_THREADSAFE);
}

/* --- source to destination ---------------------------------------------- */

/* The result of a source that is done and has one. -> new reference, or NULL
 * without an exception: it failed, was cancelled, or cannot be looked at. */
static PyObject *
chain_result(al_state *state, PyObject *source)
{
    PyObject *status = PyObject_GetAttr(source, state->names._state);
    PyObject *exc = PyObject_GetAttr(source, state->names._exception);
    PyObject *result = NULL;

    if (status == state->names.FINISHED && exc == Py_None) {
        result = PyObject_GetAttr(source, state->names._result);
    }
    PyErr_Clear();
    Py_XDECREF(status);
    Py_XDECREF(exc);
    return result;
}

/* asyncio's own way, as a callback of the loop, which reports its failure.
 * 0, or -1 with an exception set that ends the run. */
static int
chain_copy_state(al_loop_head *loop, PyObject *source, PyObject *destination)
{
    PyObject *args[] = {source, destination};
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

/* al_run_fn: the source is done. */
static int
chain_run(al_loop_head *loop, PyObject *op)
{
    FutureChainObject *self = FutureChainObject_CAST(op);
    PyObject *source = self->source;
    PyObject *destination = self->destination;

    if (source == NULL) {
        return 0;
    }
    self->source = self->destination = NULL; /* both are ours now, by (1) */
    PyObject *result = chain_result(loop->state, source);
    int rc;
    if (AL_LIKELY(result != NULL && !al_future_is_done(destination))) {
        rc = al_future_set_result(destination, result);
        if (AL_UNLIKELY(rc < 0)) {
            rc = chain_report(loop);
        }
    }
    else {
        rc = chain_copy_state(loop, source, destination);
    }
    Py_XDECREF(result);
    Py_DECREF(source);
    Py_DECREF(destination);
    return rc;
}

/* Called when the source is done, in any thread. */
static PyObject *
chain_source_done(PyObject *op, PyObject *Py_UNUSED(argument))
{
    FutureChainObject *self = FutureChainObject_CAST(op);
    PyObject *result = NULL;

    if (self->source == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *source = Py_NewRef(self->source);
    PyObject *destination = Py_NewRef(self->destination);
    /* Its __init__ may have been called again, with any loop. */
    al_future *future = al_future_of(destination);
    al_loop_head *loop = al_future_our_loop(future);
    if (AL_LIKELY(loop != NULL && chain_is_direct(loop) &&
                  loop->thread_id != PyThread_get_thread_ident()))
    {
        if (al_ready_push(loop, chain_run, op) == 0) {
            al_reactor_wake_if_blocked(loop);
            result = Py_NewRef(Py_None);
        }
    }
    else {
        (void)FutureChain_clear(op); /* the source keeps its callbacks */
        al_state *state = al_future_state_of(destination);
        result =
            loop != NULL && loop->is_closed
                ? Py_NewRef(Py_None)
                : PyObject_CallFunctionObjArgs(state->imports.chain_future,
                                               source, destination, NULL);
    }
    Py_DECREF(source);
    Py_DECREF(destination);
    return result;
}

/* --- destination to source ---------------------------------------------- */

/* Called by the loop when the destination is done. */
static PyObject *
chain_destination_done(PyObject *op, PyObject *Py_UNUSED(argument))
{
    FutureChainObject *self = FutureChainObject_CAST(op);

    if (self->source == NULL ||
        al_future_of(self->destination)->state != AL_FUTURE_CANCELLED)
    {
        Py_RETURN_NONE;
    }
    al_state *state = al_future_state_of(self->destination);
    PyObject *source = Py_NewRef(self->source);
    PyObject *result = PyObject_CallMethodNoArgs(source, state->names.cancel);
    Py_DECREF(source);
    if (result == NULL) {
        return NULL;
    }
    Py_DECREF(result);
    Py_RETURN_NONE;
}

/* --- making ------------------------------------------------------------- */

static PyMethodDef chain_source_done_def = {"source_done", chain_source_done,
                                            METH_O, NULL};
static PyMethodDef chain_destination_done_def = {
    "destination_done", chain_destination_done, METH_O, NULL};

static PyObject *
chain_new(al_state *state, PyObject *source, PyObject *destination)
{
    PyTypeObject *type = state->FutureChainType;
    FutureChainObject *self = PyObject_GC_New(FutureChainObject, type);

    if (self == NULL) {
        return NULL;
    }
    AL_COUNT(type, 1);
    self->source = Py_NewRef(source);
    self->destination = Py_NewRef(destination);
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

/* Have the chain called when either is done: 0, or -1 with an exception. */
static int
chain_connect(al_state *state, PyObject *chain, PyObject *source,
              PyObject *destination)
{
    PyObject *context = NULL, *result = NULL;
    PyObject *source_done = PyCFunction_New(&chain_source_done_def, chain);
    PyObject *destination_done =
        PyCFunction_New(&chain_destination_done_def, chain);
    int rc = -1;

    if (source_done == NULL || destination_done == NULL) {
        goto done;
    }
    context = PyContext_CopyCurrent();
    if (context == NULL ||
        al_future_add_callback(destination, destination_done, context) < 0)
    {
        goto done;
    }
    result = PyObject_CallMethodOneArg(source, state->names.add_done_callback,
                                       source_done);
    rc = result == NULL ? -1 : 0;

done:
    Py_XDECREF(result);
    Py_XDECREF(context);
    Py_XDECREF(destination_done);
    Py_XDECREF(source_done);
    return rc;
}

/* asyncio's own, for what is not as we know it. -> new reference, or NULL. */
static PyObject *
chain_wrap_stock(al_loop_head *loop, PyObject *source)
{
    al_state *state = loop->state;
    PyObject *stack[] = {source, (PyObject *)loop};
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
Loop__wrap_future(PyObject *op, PyObject *source)
{
    al_loop_head *loop = al_loop_head_CAST(op);
    al_state *state = loop->state;

    if (!Py_IS_TYPE(source,
                    (PyTypeObject *)state->imports.concurrent_Future) ||
        state->FutureType == NULL || !chain_is_direct(loop) ||
        state->imports.chain_future == Py_None ||
        state->imports.copy_future_state == Py_None ||
        (loop->overrides & AL_OVERRIDES_CREATE_FUTURE))
    {
        return chain_wrap_stock(loop, source);
    }
    PyObject *destination = al_future_make(loop);
    PyObject *chain =
        destination == NULL ? NULL : chain_new(state, source, destination);
    if (chain == NULL || chain_connect(state, chain, source, destination) < 0)
    {
        Py_CLEAR(destination);
    }
    Py_XDECREF(chain);
    return destination;
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
    Py_VISIT(self->source);
    Py_VISIT(self->destination);
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
