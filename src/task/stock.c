/* stock.c - asyncio's own futures and tasks, for a loop of ours. */
#include "task/stock.h"

/* type(arg, **{name: value, ...}); an `arg` and values that are NULL are left
 * out. -> new reference, or NULL with an exception set. */
static PyObject *
stock_call(PyObject *type, PyObject *arg, const char *const names[],
           PyObject *const values[], size_t count)
{
    PyObject *kwargs = PyDict_New();
    PyObject *args = arg != NULL ? PyTuple_Pack(1, arg) : PyTuple_New(0);
    PyObject *result = NULL;

    if (kwargs == NULL || args == NULL) {
        goto done;
    }
    for (size_t i = 0; i < count; i++) {
        if (values[i] != NULL &&
            PyDict_SetItemString(kwargs, names[i], values[i]) < 0)
        {
            goto done;
        }
    }
    result = PyObject_Call(type, args, kwargs);
done:
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return result;
}

PyObject *
al_stock_make_future(al_loop_head *loop)
{
    static const char *const names[] = {"loop"};
    PyObject *const values[] = {(PyObject *)loop};

    return stock_call(loop->state->imports.asyncio_Future, NULL, names, values,
                      Py_ARRAY_LENGTH(values));
}

PyObject *
al_stock_make_task(al_loop_head *loop, PyObject *coro, PyObject *name,
                   PyObject *context, bool eager_start)
{
    static const char *const names[] = {"loop", "name", "context",
                                        "eager_start"};
    PyObject *const values[] = {(PyObject *)loop, name, context,
                                eager_start ? Py_True : NULL};

    return stock_call(loop->state->imports.asyncio_Task, coro, names, values,
                      Py_ARRAY_LENGTH(values));
}
