/* deque.c - finds the C functions behind the methods of collections.deque. */
#include "primitives/deque.h"

/* The function of a method that takes its arguments so; NULL if there is no
 * such method. 0, or -1 with an exception set. */
static int
deque_find(PyObject *type, const char *name, int flags, PyCFunction *function)
{
    PyObject *method = PyObject_GetAttrString(type, name);

    if (method == NULL) {
        return -1;
    }
    PyMethodDef *found = Py_IS_TYPE(method, &PyMethodDescr_Type)
                             ? ((PyMethodDescrObject *)method)->d_method
                             : NULL;
    *function =
        found != NULL && found->ml_flags == flags ? found->ml_meth : NULL;
    Py_DECREF(method); /* the type has it, too */
    return 0;
}

int
al_deque_init(PyObject *module)
{
    al_state *state = al_state_from_module(module);
    PyObject *type = state->imports.deque;
    al_deque_methods found;

    if (deque_find(type, "append", METH_O, &found.append) < 0 ||
        deque_find(type, "popleft", METH_NOARGS, &found.popleft) < 0 ||
        deque_find(type, "remove", METH_O, &found.remove) < 0)
    {
        return -1;
    }
    if (found.append != NULL && found.popleft != NULL && found.remove != NULL)
    {
        state->deque = found;
    }
    return 0;
}
