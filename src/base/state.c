/* state.c - makes, visits and frees the module's state.
 *
 *     module ---> state <--- loops, futures, transports, iterators ...
 *       ^           |
 *       +-- types <-+
 *
 * Only the module visits the objects of the state for the garbage collector.
 * It has no m_clear: clearing the types drops their references to the module,
 * and that breaks the cycle of module, state and types.
 *
 * Invariants
 *   (1) Everything in al_state that Python can see is in AL_OWNED, in the
 *       lists of imports or in AL_NAMES; a free list holds memory, never
 *       references.
 *   (2) An object goes to a free list only while it, or its loop, owns the
 *       state: so none goes there after the lists are freed. */
#include "base/state.h"

static int
state_import(PyObject **field, const char *module_name, const char *attribute)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL) {
        return -1;
    }
    *field = PyObject_GetAttrString(module, attribute);
    Py_DECREF(module);
    return *field == NULL ? -1 : 0;
}

int
al_state_init(PyObject *module)
{
    al_state *state = PyMem_Calloc(1, sizeof(al_state));
    if (state == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    *(al_state **)PyModule_GetState(module) = al_state_own(state);
    al_list_init(&state->pending_tasks);
#define X(name)                                                               \
    if ((state->names.name = PyUnicode_InternFromString(#name)) == NULL) {    \
        return -1;                                                            \
    }
    AL_NAMES(X)
#undef X
#define X(field, module_name, attribute)                                      \
    if (state_import(&state->imports.field, module_name, attribute) < 0) {    \
        return -1;                                                            \
    }
    AL_IMPORTS(X)
#undef X
#define X(field, module_name, attribute, other_module, other)                 \
    if (state_import(&state->imports.field, module_name, attribute) < 0) {    \
        PyErr_Clear();                                                        \
        if (state_import(&state->imports.field, other_module, other) < 0) {   \
            return -1;                                                        \
        }                                                                     \
    }
    AL_PRIVATE_IMPORTS(X)
#undef X
    state->context_kwnames = PyTuple_Pack(1, state->names.context);
    if (state->context_kwnames == NULL) {
        return -1;
    }
    state->coroutine_types = PySet_New(NULL);
    return state->coroutine_types == NULL ? -1 : 0;
}

PyTypeObject *
al_state_add_type(PyObject *module, PyType_Spec *spec, PyObject *bases)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, bases);
    if (type == NULL) {
        return NULL;
    }
    if (PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_DECREF(type);
        return NULL;
    }
    AL_CHECK(al_check_count_type, (PyTypeObject *)type);
    return (PyTypeObject *)type;
}

int
al_state_add_methods(PyTypeObject *type, PyTypeObject *receiver,
                     PyMethodDef *methods)
{
    for (PyMethodDef *def = methods; def->ml_name != NULL; def++) {
        PyObject *method = PyDescr_NewMethod(receiver, def);
        if (method == NULL) {
            return -1;
        }
        int rc = PyDict_SetItemString(type->tp_dict, def->ml_name, method);
        Py_DECREF(method);
        if (rc < 0) {
            return -1;
        }
    }
    PyType_Modified(type);
    return 0;
}

al_state *
al_state_find(PyTypeObject *type)
{
    /* A type that the collector has cleared has no MRO, which
     * PyType_GetModuleByDef() does not expect. */
    if (type->tp_mro == NULL) {
        return NULL;
    }
    PyObject *module = PyType_GetModuleByDef(type, &al_module_def);
    if (module == NULL) {
        PyErr_Clear();
        return NULL;
    }
    return al_state_from_module(module);
}

al_state *
al_state_from_type(PyTypeObject *type)
{
    al_state *state = al_state_find(type);
    if (state == NULL) {
        PyErr_Format(PyExc_RuntimeError, "the module of %s is gone",
                     type->tp_name);
    }
    return state;
}

/* --- lifetime ----------------------------------------------------------- */

int
al_state_traverse(PyObject *module, visitproc visit, void *arg)
{
    al_state *state = al_state_from_module(module);

    if (state == NULL) {
        return 0;
    }
#define X(type, field) Py_VISIT(state->field);
    AL_OWNED(X)
#undef X
#define X(field, ...) Py_VISIT(state->imports.field);
    AL_IMPORTS(X)
    AL_PRIVATE_IMPORTS(X)
#undef X
    return 0;
}

static void
freelist_free(al_freelist *list)
{
    while (list->head != NULL) {
        PyObject *op = (PyObject *)list->head;
        list->head = *(void **)(op + 1);
        PyObject_GC_Del(op);
    }
    list->size = 0;
}

void
al_state_free(al_state *state)
{
    while (state->pending_tasks.next != &state->pending_tasks) {
        al_list_remove(state->pending_tasks.next); /* they may die later */
    }
    freelist_free(&state->handles);
    freelist_free(&state->timer_handles);
    freelist_free(&state->future_iters);
    freelist_free(&state->awaitables);
#define X(type, field) Py_CLEAR(state->field);
    AL_OWNED(X)
#undef X
#define X(field, ...) Py_CLEAR(state->imports.field);
    AL_IMPORTS(X)
    AL_PRIVATE_IMPORTS(X)
#undef X
#define X(name) Py_CLEAR(state->names.name);
    AL_NAMES(X)
#undef X
    PyMem_Free(state->metrics);
    PyMem_Free(state);
}

void
al_state_leave_module(void *module)
{
    al_state **place = PyModule_GetState((PyObject *)module);

    if (place != NULL) { /* it was executed */
        al_state_disown(*place);
    }
}
