/* context.c - makes the contexts that callbacks run in, and drops them. */
#include "sched/context.h"

void
al_context_drop_unused(al_loop_head *loop)
{
    PyObject *snapshot = loop->snapshot;
    PyObject *scratch = loop->scratch;

    if (snapshot != NULL && Py_REFCNT(snapshot) == 1) {
        PyObject *vars = al_layout_context_vars(loop->state, snapshot);
        bool is_shared = scratch != NULL &&
                         al_layout_context_vars(loop->state, scratch) == vars;
        if (Py_REFCNT(vars) == 1 + is_shared) {
            loop->snapshot = NULL;
            Py_DECREF(snapshot);
        }
    }
    scratch = loop->scratch; /* Py_DECREF() may have run anything */
    if (scratch != NULL &&
        Py_REFCNT(al_layout_context_vars(loop->state, scratch)) == 1)
    {
        loop->scratch = NULL;
        Py_DECREF(scratch);
    }
}

int
al_context_prepare(al_loop_head *loop, PyObject *snapshot)
{
    PyObject *old = loop->scratch;

    Py_INCREF(snapshot); /* a finaliser may make its handle drop it */
    loop->scratch = NULL;
    Py_XDECREF(old);
    PyObject *copy = PyContext_Copy(snapshot);
    Py_DECREF(snapshot);
    if (copy == NULL) {
        return -1;
    }
    Py_XSETREF(loop->scratch, copy); /* a finaliser may have set another one */
    return 0;
}
