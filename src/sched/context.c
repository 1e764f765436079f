/* context.c - finding out where a context keeps its variables, preparing a
 * context for a callback, and letting go of contexts. */
#include "sched/context.h"

static inline PyObject *
context_word(PyObject *context, Py_ssize_t offset)
{
    return *(PyObject **)((char *)context + offset);
}

void
al_context_settle(al_loop_head *loop)
{
    PyObject *snapshot = loop->snapshot;
    PyObject *scratch = loop->scratch;

    if (snapshot != NULL && Py_REFCNT(snapshot) == 1) {
        PyObject *vars = al_context_vars(loop->state, snapshot);
        bool is_shared =
            scratch != NULL && al_context_vars(loop->state, scratch) == vars;
        if (Py_REFCNT(vars) == 1 + is_shared) {
            loop->snapshot = NULL;
            Py_DECREF(snapshot);
        }
    }
    scratch = loop->scratch; /* that may have run anything */
    if (scratch != NULL &&
        Py_REFCNT(al_context_vars(loop->state, scratch)) == 1)
    {
        loop->scratch = NULL;
        Py_DECREF(scratch);
    }
}

int
al_context_prepare(al_loop_head *loop, PyObject *snapshot)
{
    PyObject *old = loop->scratch;

    Py_INCREF(snapshot); /* the finalisers may take it from its handle */
    loop->scratch = NULL;
    Py_XDECREF(old);
    PyObject *copy = PyContext_Copy(snapshot);
    Py_DECREF(snapshot);
    if (copy == NULL) {
        return -1;
    }
    Py_XSETREF(loop->scratch, copy); /* a callback may have left another */
    return 0;
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
