/* future_methods.c - Future to Python: the methods that are ours, the type. */
#include "base/args.h"
#include "task/future.h"

PyDoc_STRVAR(
    Future_doc,
    "Future(*, loop=None)\n--\n\n"
    "An awaitable whose result somebody else sets: asyncio.Future.\n\n"
    "`loop` is the event loop it belongs to, by default the current "
    "one.");

static int
Future_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    al_state *state = al_state_from_type(Py_TYPE(op));

    return state == NULL ? -1 : al_future_init(op, args, kwargs, state);
}

PyDoc_STRVAR(Future_set_result_doc,
             "set_result($self, result, /)\n--\n\n"
             "Mark the future done and set its result.\n\n"
             "Raises InvalidStateError if it is done already.");

static PyObject *
Future_set_result(PyObject *op, PyObject *result)
{
    if (al_future_set_result(op, result) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Future_set_exception_doc,
             "set_exception($self, exception, /)\n--\n\n"
             "Mark the future done and set an exception (a class or an "
             "instance).\n\n"
             "Raises InvalidStateError if it is done already, TypeError for "
             "what is no\nexception.");

static PyObject *
Future_set_exception(PyObject *op, PyObject *exception)
{
    if (al_future_set_exception(op, exception) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Future_cancel_doc,
             "cancel($self, /, msg=None)\n--\n\n"
             "Cancel the future and schedule its callbacks.\n\n"
             "Returns False if it is done already, else True. `msg` becomes "
             "the\nargument of the CancelledError.");

static PyObject *
Future_cancel(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    static const al_signature signature = {"cancel", AL_ARGS("msg"), 0, 1, 0};
    PyObject *message;

    if (al_args_parse(&signature, args, nargs, kwnames, &message) < 0 ||
        al_future_check_init(op) < 0)
    {
        return NULL;
    }
    int rc = al_future_cancel(op, message != NULL ? message : Py_None);
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

/* --- lifetime ----------------------------------------------------------- */

static void
Future_dealloc(PyObject *op)
{
    if (AL_UNLIKELY(al_future_of(op)->log_tb) &&
        PyObject_CallFinalizerFromDealloc(op) < 0)
    {
        return; /* resurrected */
    }
    al_future_dealloc(op, Future_dealloc);
}

static void
Future_finalize(PyObject *op)
{
    al_future_finalize(op, Future_dealloc);
}

#if !AL_FUTURE_BASE_IS_HEAP

static int
Future_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    return al_future_base(op, Future_dealloc)->tp_traverse(op, visit, arg);
}

static int
Future_clear(PyObject *op)
{
    return al_future_base(op, Future_dealloc)->tp_clear(op);
}

#endif

/* --- type --------------------------------------------------------------- */

static PyMethodDef Future_methods[] = {
    {"set_result", Future_set_result, METH_O, Future_set_result_doc},
    {"set_exception", Future_set_exception, METH_O, Future_set_exception_doc},
    {"cancel", (PyCFunction)(void (*)(void))Future_cancel,
     METH_FASTCALL | METH_KEYWORDS, Future_cancel_doc},
    {NULL, NULL, 0, NULL}};

static PyType_Slot Future_slots[] = {{Py_tp_doc, (void *)Future_doc},
                                     {Py_tp_init, Future_init},
                                     {Py_tp_setattro, al_future_setattro},
                                     {Py_tp_iter, al_future_iter_new},
                                     {Py_am_await, al_future_iter_new},
                                     {Py_tp_methods, Future_methods},
#if !AL_FUTURE_BASE_IS_HEAP
                                     {Py_tp_traverse, Future_traverse},
                                     {Py_tp_clear, Future_clear},
#endif
                                     {Py_tp_finalize, Future_finalize},
                                     {Py_tp_dealloc, Future_dealloc},
                                     {0, NULL}};

static const PyType_Spec Future_spec = {
    .name = "asyncloop._core.Future",
    .flags = AL_FUTURE_FLAGS,
    .slots = Future_slots,
};

int
al_future_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    if (!state->layout.futures) {
        return PyModule_AddObjectRef(module, "Future",
                                     state->imports.asyncio_Future);
    }
    state->FutureType =
        al_future_add_type(module, &Future_spec, state->imports.asyncio_Future,
                           NULL, sizeof(al_future));
    return state->FutureType == NULL ? -1 : 0;
}
