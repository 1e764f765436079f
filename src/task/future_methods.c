/* future_methods.c - the type Future: methods that are not asyncio's. */
#include "base/args.h"
#include "base/call.h"
#include "task/type.h"

PyDoc_STRVAR(Future_doc,
             "Future(*, loop=None)\n--\n\n"
             "A result that will be set later, and can be awaited: "
             "asyncio.Future.\n\n"
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
    return al_call_none(al_future_set_result(op, result));
}

PyDoc_STRVAR(Future_set_exception_doc,
             "set_exception($self, exception, /)\n--\n\n"
             "Mark the future done and set an exception (a class or an "
             "instance).\n\n"
             "Raises InvalidStateError if it is done already, TypeError if "
             "`exception` is not\nan exception.");

static PyObject *
Future_set_exception(PyObject *op, PyObject *exception)
{
    return al_call_none(al_future_set_exception(op, exception));
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
    int rc = al_future_cancel(op, al_or_none(message), NULL);
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

/* --- type --------------------------------------------------------------- */

static PyMethodDef Future_methods[] = {
    {"set_result", Future_set_result, METH_O, Future_set_result_doc},
    {"set_exception", Future_set_exception, METH_O, Future_set_exception_doc},
    {"cancel", AL_KEYWORDS(Future_cancel), Future_cancel_doc},
    {NULL, NULL, 0, NULL}};

static const PyType_Slot Future_slots[] = {{Py_tp_doc, (void *)Future_doc},
                                           {Py_tp_init, Future_init},
                                           {Py_tp_methods, Future_methods},
                                           {0, NULL}};

int
al_future_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    return al_type_add(module, "asyncloop.Future",
                       state->imports.asyncio_Future, NULL, sizeof(al_future),
                       Future_slots, &state->FutureType);
}
