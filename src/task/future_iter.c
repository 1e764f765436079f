/* future_iter.c - the iterator of `await future`: it yields the future, then
 * returns its result. In between it is the callback that wakes the task.
 *
 *     coroutine --> iterator --> future      await: the iterator yields future
 *                      |  ^        |
 *         task <-------+  +--------+         al_future_iter_wait()
 *
 * A future's callback has to be a callable, so that asyncio's code can wake
 * the task, too. The iterator exists already, and nobody else uses it until
 * the task steps again.
 *
 * The interpreter's SEND calls am_send on some versions and tp_iternext on
 * others. Both are filled, and make a StopIteration only if they must.
 *
 * Invariant
 *   (1) loop->yielded is the iterator that has yielded last in a step of the
 *       loop, until it has become a callback, or the loop waits. */
#include "base/args.h"
#include "base/coroutine.h"
#include "task/task.h"

#define FutureIterObject_CAST(op) ((al_future_iter *)(op))

/* -> new reference, or NULL with MemoryError set. `task` may be NULL. */
static PyObject *
future_iter_make(PyObject *future, PyObject *task, al_state *state)
{
    al_future_iter *self = (al_future_iter *)al_freelist_new(
        &state->future_iters, state->FutureIterType);

    if (self == NULL) {
        return NULL;
    }
    self->future = Py_NewRef(future);
    self->task = Py_XNewRef(task);
    self->is_ended = false;
#if !AL_FREE_THREADED
    self->module_state = al_state_own(state);
#endif
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

PyObject *
al_future_iter_new(PyObject *future)
{
    al_state *state = al_future_state_of(future);

    return state == NULL || al_future_check_init(future) < 0
               ? NULL
               : future_iter_make(future, NULL, state);
}

int
al_future_iter_wait(PyObject *future, PyObject *task, al_state *state)
{
    al_loop_head *loop = al_future_our_loop(al_future_of(future));
    PyObject *op = AL_LIKELY(loop != NULL && al_loop_is_mine(loop))
                       ? loop->yielded
                       : NULL;

    if (AL_LIKELY(op != NULL && FutureIterObject_CAST(op)->future == future &&
                  FutureIterObject_CAST(op)->task == NULL))
    {
        loop->yielded = NULL; /* moved to here, by (1) */
        FutureIterObject_CAST(op)->task = Py_NewRef(task);
    }
    else { /* another object has yielded the future */
        op = future_iter_make(future, task, state);
        if (op == NULL) {
            return -1;
        }
    }
    int rc = al_future_add_callback(future, op, al_task_of(task)->context);
    Py_DECREF(op);
    return rc;
}

/* Yield the future, by (1). */
static inline PySendResult
future_iter_yield(PyObject *op, PyObject *future, PyObject **result)
{
    al_loop_head *loop = al_future_our_loop(al_future_of(future));

    if (al_future_step_wait(future, result) == PYGEN_ERROR) {
        return PYGEN_ERROR;
    }
    if (AL_LIKELY(loop != NULL && loop->is_in_turn && al_loop_is_mine(loop))) {
        Py_XSETREF(loop->yielded, Py_NewRef(op));
    }
    return PYGEN_NEXT;
}

/* The iterator is at its end. Without a GIL another thread may be reading the
 * future: it goes with the iterator. */
static inline void
future_iter_end(PyObject *op)
{
    AL_STORE(FutureIterObject_CAST(op)->is_ended, true);
    if (!AL_FREE_THREADED) {
        Py_CLEAR(FutureIterObject_CAST(op)->future);
    }
}

static PySendResult
FutureIter_am_send(PyObject *op, PyObject *Py_UNUSED(value), PyObject **result)
{
    PyObject *future = FutureIterObject_CAST(op)->future;

    if (AL_UNLIKELY(AL_LOAD(FutureIterObject_CAST(op)->is_ended) ||
                    future == NULL))
    {
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    if (!al_future_is_done(future)) {
        return future_iter_yield(op, future, result);
    }
    Py_INCREF(future); /* the iterator may let go of it */
    if (!AL_ITERATES_AGAIN) {
        future_iter_end(op);
    }
    PySendResult step = al_future_step_done(future, result);
    Py_DECREF(future);
    return step;
}

static PyObject *
FutureIter_iternext(PyObject *op)
{
    PyObject *result;
    PySendResult step = FutureIter_am_send(op, Py_None, &result);

    return al_step_next(step, result);
}

static PyObject *
FutureIter_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *exc = al_throw_parse(args, nargs);

    if (exc != NULL) {
        future_iter_end(op);
        PyErr_SetRaisedException(exc);
    }
    return NULL;
}

static PyObject *
FutureIter_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    future_iter_end(op);
    Py_RETURN_NONE;
}

/* --- the iterator as a callback ------------------------------------------ */

/* asyncio's code calls it when the future is done. */
static PyObject *
FutureIter_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {AL_WAKEUP_NAME, AL_ARGS("future"),
                                           1, 1, 1};
    PyObject *task = FutureIterObject_CAST(op)->task;
    PyObject *future;

    if (al_args_parse_tuple(&signature, args, kwargs, &future) < 0) {
        return NULL;
    }
    if (task == NULL) {
        Py_RETURN_NONE; /* no task waits, or it was collected */
    }
    Py_INCREF(task);
    PyObject *result = al_task_wakeup(task, future);
    Py_DECREF(task);
    return result;
}

/* The name of the callable that wakes a stock task: repr(future) shows it. */
static PyObject *
FutureIter_get_qualname(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *task = FutureIterObject_CAST(op)->task;
    PyObject *owner = PyType_GetQualName(Py_TYPE(task != NULL ? task : op));
    if (owner == NULL || task == NULL) {
        return owner;
    }
    PyObject *name = PyUnicode_FromFormat("%U." AL_WAKEUP_NAME, owner);
    Py_DECREF(owner);
    return name;
}

static PyObject *
FutureIter_get_self(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *task = FutureIterObject_CAST(op)->task;

    return Py_NewRef(al_or_none(task));
}

/* --- Python: lifetime --------------------------------------------------- */

static int
FutureIter_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(FutureIterObject_CAST(op)->future);
    Py_VISIT(FutureIterObject_CAST(op)->task);
    return 0;
}

static int
FutureIter_clear(PyObject *op)
{
    Py_CLEAR(FutureIterObject_CAST(op)->future);
    Py_CLEAR(FutureIterObject_CAST(op)->task);
    return 0;
}

static void
FutureIter_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);

    PyObject_GC_UnTrack(op);
    (void)FutureIter_clear(op);
    AL_COUNT(type, -1);
#if AL_FREE_THREADED
    PyObject_GC_Del(op);
    Py_DECREF(type);
#else
    al_state *state = FutureIterObject_CAST(op)->module_state;
    if (!al_freelist_push(&state->future_iters, op)) {
        PyObject_GC_Del(op);
    }
    Py_DECREF(type);
    al_state_disown(state);
#endif
}

/* --- type --------------------------------------------------------------- */

static PyMethodDef FutureIter_methods[] = {
    {"send", al_step_send, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))FutureIter_throw, METH_FASTCALL,
     NULL},
    {"close", FutureIter_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef FutureIter_getset[] = {
    {"__qualname__", FutureIter_get_qualname, NULL, NULL, NULL},
    {"__self__", FutureIter_get_self, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot FutureIter_slots[] = {{Py_tp_iter, PyObject_SelfIter},
                                         {Py_tp_call, FutureIter_call},
                                         {Py_tp_getset, FutureIter_getset},
                                         {Py_tp_iternext, FutureIter_iternext},
                                         {Py_am_send, FutureIter_am_send},
                                         {Py_tp_methods, FutureIter_methods},
                                         {Py_tp_traverse, FutureIter_traverse},
                                         {Py_tp_clear, FutureIter_clear},
                                         {Py_tp_dealloc, FutureIter_dealloc},
                                         {0, NULL}};

static PyType_Spec FutureIter_spec = {
    .name = "asyncloop._core.FutureIter",
    .basicsize = sizeof(al_future_iter),
    .flags = (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC |
              Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION),
    .slots = FutureIter_slots,
};

int
al_future_iter_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->FutureIterType = al_state_add_type(module, &FutureIter_spec, NULL);
    return state->FutureIterType == NULL ? -1 : 0;
}
