/* state.c - filling, visiting and clearing the module's state.
 *
 * Invariant
 *   (1) Everything in al_state that Python can see is visited by traverse and
 *       dropped by clear; a free list holds memory, never references. */
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
    al_state *state = al_state_from_module(module);

    state->module = module;
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
    return (PyTypeObject *)type;
}

int
al_state_traverse(PyObject *module, visitproc visit, void *arg)
{
    al_state *state = al_state_from_module(module);

    Py_VISIT(state->FutureType);
    Py_VISIT(state->FutureIterType);
    Py_VISIT(state->TaskType);
    Py_VISIT(state->HandleType);
    Py_VISIT(state->TimerHandleType);
    Py_VISIT(state->LoopType);
    Py_VISIT(state->SocketTransportType);
    Py_VISIT(state->ReadPipeTransportType);
    Py_VISIT(state->WritePipeTransportType);
    Py_VISIT(state->DatagramTransportType);
    Py_VISIT(state->SSLProtocolType);
    Py_VISIT(state->SSLTransportType);
    Py_VISIT(state->ListenerType);
    Py_VISIT(state->SockOpType);
    Py_VISIT(state->FutureChainType);
    Py_VISIT(state->tls_unwrapped);
    Py_VISIT(state->tls_do_handshake);
    Py_VISIT(state->tls_wrapped);
    Py_VISIT(state->tls_flushing);
    Py_VISIT(state->tls_shutdown);
    Py_VISIT(state->tls_again);
    Py_VISIT(state->tls_error);
    Py_VISIT(state->tls_plain_object);
    Py_VISIT(state->current_tasks);
    Py_VISIT(state->swap_current_task);
    Py_VISIT(state->register_task);
    Py_VISIT(state->add_awaiter);
    Py_VISIT(state->discard_awaiter);
    Py_VISIT(state->coroutine_types);
#define X(field, module_name, attribute) Py_VISIT(state->imports.field);
    AL_IMPORTS(X)
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

int
al_state_clear(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    freelist_free(&state->handles);
    freelist_free(&state->timer_handles);
    freelist_free(&state->future_iters);
    PyMem_Free(state->recv_buffer);
    state->recv_buffer = NULL;
    PyMem_Free(state->datagram_buffer);
    state->datagram_buffer = NULL;
    Py_CLEAR(state->FutureType);
    Py_CLEAR(state->FutureIterType);
    Py_CLEAR(state->TaskType);
    Py_CLEAR(state->HandleType);
    Py_CLEAR(state->TimerHandleType);
    Py_CLEAR(state->LoopType);
    Py_CLEAR(state->SocketTransportType);
    Py_CLEAR(state->ReadPipeTransportType);
    Py_CLEAR(state->WritePipeTransportType);
    Py_CLEAR(state->DatagramTransportType);
    Py_CLEAR(state->SSLProtocolType);
    Py_CLEAR(state->SSLTransportType);
    Py_CLEAR(state->ListenerType);
    Py_CLEAR(state->SockOpType);
    Py_CLEAR(state->FutureChainType);
    Py_CLEAR(state->tls_unwrapped);
    Py_CLEAR(state->tls_do_handshake);
    Py_CLEAR(state->tls_wrapped);
    Py_CLEAR(state->tls_flushing);
    Py_CLEAR(state->tls_shutdown);
    Py_CLEAR(state->tls_again);
    Py_CLEAR(state->tls_error);
    Py_CLEAR(state->tls_plain_object);
    Py_CLEAR(state->current_tasks);
    Py_CLEAR(state->swap_current_task);
    Py_CLEAR(state->register_task);
    Py_CLEAR(state->add_awaiter);
    Py_CLEAR(state->discard_awaiter);
    Py_CLEAR(state->coroutine_types);
    Py_CLEAR(state->context_kwnames);
#define X(field, module_name, attribute) Py_CLEAR(state->imports.field);
    AL_IMPORTS(X)
#undef X
#define X(name) Py_CLEAR(state->names.name);
    AL_NAMES(X)
#undef X
    return 0;
}
