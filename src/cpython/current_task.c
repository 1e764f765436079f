/* current_task.c - the current task of a loop, by asyncio's own function or of a
 * loop of any type. */
#include "cpython/current_task.h"

#include "base/call.h"

#if AL_HAS_AWAITED_BY

static PyObject *
current_task_swap_as_stock(al_state *state, PyObject *loop, PyObject *task)
{
    PyObject *stack[2] = {loop, al_or_none(task)};

    return PyObject_Vectorcall(state->swap_current_task, stack, 2, NULL);
}

int
al_current_task_set_as_stock(al_state *state, PyObject *loop, PyObject *task)
{
    return al_call_finish(current_task_swap_as_stock(state, loop, task));
}

int
al_current_task_get_as_stock(al_state *state, PyObject *loop, PyObject **task)
{
    PyObject *current = current_task_swap_as_stock(state, loop, NULL);

    *task = current == Py_None ? NULL : current;
    int rc = current == NULL
                 ? -1
                 : al_current_task_set_as_stock(state, loop, current);
    Py_XDECREF(current); /* the thread state owns it */
    return rc;
}

#endif

PyObject *
al_current_task_swap(al_state *state, PyObject *loop, PyObject *task)
{
    al_current_task_place *place = al_current_task_find(state, loop);
    PyObject *previous;

    if (al_current_task_get(place, state, loop, &previous) < 0) {
        return NULL;
    }
    previous = Py_NewRef(al_or_none(previous));
    if (al_current_task_set(place, state, loop,
                            task != Py_None ? task : NULL) < 0)
    {
        Py_CLEAR(previous);
    }
    return previous;
}

PyObject *
al_current_task_of(al_state *state, PyObject *loop)
{
    al_current_task_place *place = al_current_task_find(state, loop);
    PyObject *task;

    if (AL_UNLIKELY(place == NULL)) { /* its place is unknown */
        return PyObject_CallOneArg(state->imports.current_task, loop);
    }
    return al_current_task_get(place, state, loop, &task) < 0
               ? NULL
               : Py_NewRef(al_or_none(task));
}
