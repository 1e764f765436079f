/* future_iter.c - what `await future` iterates: yields the future once, then
 * returns its result.
 *
 * The interpreter's SEND calls am_send on some versions and tp_iternext on
 * others; both are filled and neither builds a StopIteration it can avoid. */
#include "task/future.h"

typedef struct {
    PyObject_HEAD
    PyObject *future; /* owned; NULL <=> closed, or exhausted (before 3.14) */
    al_state *module_state; /* owned: the future may be gone */
} FutureIterObject;

#define FutureIterObject_CAST(op) ((FutureIterObject *)(op))

PyObject *
al_future_iter_new(PyObject *future)
{
    if (al_future_check_init(future) < 0) {
        return NULL;
    }
    al_state *state = al_future_state_of(future);
    PyObject *op =
        al_freelist_pop(&state->future_iters, state->FutureIterType);
    if (op == NULL) {
        op = (PyObject *)PyObject_GC_New(FutureIterObject,
                                         state->FutureIterType);
        if (op == NULL) {
            return NULL;
        }
    }
    FutureIterObject_CAST(op)->future = Py_NewRef(future);
    FutureIterObject_CAST(op)->module_state = al_state_own(state);
    PyObject_GC_Track(op);
    return op;
}

static PySendResult
FutureIter_am_send(PyObject *op, PyObject *Py_UNUSED(value), PyObject **result)
{
    PyObject *future = FutureIterObject_CAST(op)->future;

    if (future == NULL) {
        *result = Py_NewRef(Py_None);
        return PYGEN_RETURN;
    }
    if (!al_future_is_done(future)) {
        al_future *self = al_future_of(future);
        if (self->is_blocking) {
            PyErr_SetString(PyExc_RuntimeError,
                            "await wasn't used with future");
            *result = NULL;
            return PYGEN_ERROR;
        }
        self->is_blocking = true;
        *result = Py_NewRef(future);
        return PYGEN_NEXT;
    }
    if (AL_ITERATES_AGAIN) {
        Py_INCREF(future); /* close() may come meanwhile */
    }
    else {
        FutureIterObject_CAST(op)->future = NULL; /* moved to here */
    }
    int rc = al_future_take(future, result);
    Py_DECREF(future);
    if (AL_LIKELY(rc == 0)) {
        return PYGEN_RETURN;
    }
    if (rc > 0) {
        PyErr_SetObject((PyObject *)Py_TYPE(*result), *result);
        Py_CLEAR(*result);
    }
    *result = NULL;
    return PYGEN_ERROR;
}

static PyObject *
FutureIter_iternext(PyObject *op)
{
    PyObject *result;

    switch (FutureIter_am_send(op, Py_None, &result)) {
    case PYGEN_NEXT:
        return result;
    case PYGEN_RETURN:
        if (result != Py_None) {
            PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
            if (stop != NULL) {
                PyErr_SetObject(PyExc_StopIteration, stop);
                Py_DECREF(stop);
            }
        }
        Py_DECREF(result);
        return NULL;
    case PYGEN_ERROR:
        break;
    }
    return NULL;
}

static PyObject *
FutureIter_send(PyObject *op, PyObject *Py_UNUSED(value))
{
    /* Like a generator that ignores what is sent; its end is always told by
     * StopIteration, even for None. */
    PyObject *result = FutureIter_iternext(op);

    if (result == NULL && !PyErr_Occurred()) {
        PyErr_SetNone(PyExc_StopIteration);
    }
    return result;
}

/* The exception that (type, value) mean, or the one that making it raised: a new
 * reference. PyErr_SetObject() would chain it to what is handled around the
 * one who throws, which it has nothing to do with. */
static PyObject *
iter_normalize(PyObject *type, PyObject *value)
{
    PyObject *traceback = NULL;

    Py_INCREF(type);
    Py_XINCREF(value);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) { /* of the one that making it raised */
        (void)PyException_SetTraceback(value, traceback);
        Py_DECREF(traceback);
    }
    Py_DECREF(type);
    return value;
}

static PyObject *
FutureIter_throw(PyObject *op, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs < 1 || nargs > 3) {
        PyErr_Format(PyExc_TypeError,
                     "throw expected at %s %d argument%s, got %zd",
                     nargs < 1 ? "least" : "most", nargs < 1 ? 1 : 3,
                     nargs < 1 ? "" : "s", nargs);
        return NULL;
    }
    if (AL_THROW_TRIPLE_IS_DEPRECATED && nargs > 1 &&
        PyErr_WarnEx(PyExc_DeprecationWarning,
                     "the (type, exc, tb) signature of throw() is "
                     "deprecated, use the single-arg signature instead.",
                     1) < 0)
    {
        return NULL;
    }
    PyObject *type = args[0];
    PyObject *value = nargs > 1 && args[1] != Py_None ? args[1] : NULL;
    PyObject *traceback = nargs > 2 && args[2] != Py_None ? args[2] : NULL;

    if (traceback != NULL && !PyTraceBack_Check(traceback)) {
        PyErr_SetString(PyExc_TypeError,
                        "throw() third argument must be a traceback");
        return NULL;
    }
    if (PyExceptionInstance_Check(type)) {
        if (value != NULL) {
            PyErr_SetString(PyExc_TypeError,
                            "instance exception may not have a separate "
                            "value");
            return NULL;
        }
        value = type;
        type = (PyObject *)Py_TYPE(value);
    }
    else if (!PyExceptionClass_Check(type)) {
        PyErr_SetString(PyExc_TypeError,
                        "exceptions must be classes deriving BaseException "
                        "or instances of such a class");
        return NULL;
    }
    PyObject *exc = iter_normalize(type, value);
    if (traceback != NULL) {
        (void)PyException_SetTraceback(exc, traceback);
    }
    Py_CLEAR(FutureIterObject_CAST(op)->future);
    PyErr_SetRaisedException(exc);
    return NULL;
}

static PyObject *
FutureIter_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    Py_CLEAR(FutureIterObject_CAST(op)->future);
    Py_RETURN_NONE;
}

/* --- Python: lifetime --------------------------------------------------- */

static int
FutureIter_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(FutureIterObject_CAST(op)->future);
    return 0;
}

static int
FutureIter_clear(PyObject *op)
{
    Py_CLEAR(FutureIterObject_CAST(op)->future);
    return 0;
}

static void
FutureIter_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    al_state *state = FutureIterObject_CAST(op)->module_state;

    PyObject_GC_UnTrack(op);
    Py_CLEAR(FutureIterObject_CAST(op)->future);
    if (!al_freelist_push(&state->future_iters, op)) {
        PyObject_GC_Del(op);
    }
    Py_DECREF(type);
    al_state_disown(state);
}

/* --- type --------------------------------------------------------------- */

static PyMethodDef FutureIter_methods[] = {
    {"send", FutureIter_send, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))FutureIter_throw, METH_FASTCALL,
     NULL},
    {"close", FutureIter_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL}};

static PyType_Slot FutureIter_slots[] = {{Py_tp_iter, PyObject_SelfIter},
                                         {Py_tp_iternext, FutureIter_iternext},
                                         {Py_am_send, FutureIter_am_send},
                                         {Py_tp_methods, FutureIter_methods},
                                         {Py_tp_traverse, FutureIter_traverse},
                                         {Py_tp_clear, FutureIter_clear},
                                         {Py_tp_dealloc, FutureIter_dealloc},
                                         {0, NULL}};

static PyType_Spec FutureIter_spec = {
    .name = "asyncloop._core.FutureIter",
    .basicsize = sizeof(FutureIterObject),
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
