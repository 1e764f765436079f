/* context.c - finding out where a context keeps its variables. */
#include "sched/context.h"

static inline PyObject *
context_word(PyObject *context, Py_ssize_t offset)
{
    return *(PyObject **)((char *)context + offset);
}

PyObject *
al_context_learn_layout(PyObject *module, PyObject *args)
{
    al_state *state = al_state_from_module(module);
    PyObject *empty, *context;
    Py_ssize_t found = 0;

    if (!PyArg_ParseTuple(args, "O!O!:_learn_context_layout", &PyContext_Type,
                          &empty, &PyContext_Type, &context))
    {
        return NULL;
    }
    PyObject *copy = PyContext_Copy(context);
    if (copy == NULL) {
        return NULL;
    }
    /* The mapping is the one word that a copy shares and another context has
     * of its own. */
    for (Py_ssize_t offset = (Py_ssize_t)sizeof(PyObject);
         offset + (Py_ssize_t)sizeof(PyObject *) <=
         PyContext_Type.tp_basicsize;
         offset += (Py_ssize_t)sizeof(PyObject *))
    {
        PyObject *word = context_word(context, offset);
        if (word != NULL && word == context_word(copy, offset) &&
            word != context_word(empty, offset))
        {
            if (found != 0) { /* twice: nothing we know */
                found = 0;
                break;
            }
            found = offset;
        }
    }
    Py_DECREF(copy);
    state->context_vars_offset = found;
    Py_RETURN_NONE;
}
