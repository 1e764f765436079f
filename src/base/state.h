/* state.h - what one interpreter's asyncloop._core owns. */
#ifndef AL_BASE_STATE_H
#define AL_BASE_STATE_H

#include "base/compat.h"

#include <stdbool.h>

#include "base/list.h"
#include "base/names.h"

/* Objects of one type that wait to be used again, linked through their first
 * pointer field: dead to Python, not tracked by the garbage collector. */
typedef struct {
    void *head; /* owned memory, NULL <=> empty */
    int size;
} al_freelist;

#define AL_FREELIST_MAX 256

#define AL_RECV_BUFFER ((size_t)64 * 1024)

/* What asyncio and the standard library lend us, each fetched once at import:
 * X(field, module, attribute). */
#define AL_IMPORTS(X)                                                         \
    X(CancelledError, "asyncio.exceptions", "CancelledError")                 \
    X(InvalidStateError, "asyncio.exceptions", "InvalidStateError")           \
    X(asyncio_Future, "_asyncio", "Future")                                   \
    X(asyncio_Task, "_asyncio", "Task")                                       \
    X(asyncio_Handle, "asyncio.events", "Handle")                             \
    X(asyncio_TimerHandle, "asyncio.events", "TimerHandle")                   \
    X(asyncio_ThreadSafeHandle, "asyncio.events", AL_THREADSAFE_HANDLE)       \
    X(asyncio_Transport, "asyncio.transports", "Transport")                   \
    X(asyncio_ReadTransport, "asyncio.transports", "ReadTransport")           \
    X(asyncio_FlowControlMixin, "asyncio.transports", "_FlowControlMixin")    \
    X(asyncio_DatagramTransport, "asyncio.transports", "DatagramTransport")   \
    X(asyncio_SSLProtocol, "asyncio.sslproto", "SSLProtocol")                 \
    X(asyncio_SSLProtocolState, "asyncio.sslproto", "SSLProtocolState")       \
    X(asyncio_SSLTransport, "asyncio.sslproto", "_SSLProtocolTransport")      \
    X(asyncio_Protocol, "asyncio.protocols", "Protocol")                      \
    X(asyncio_BufferedProtocol, "asyncio.protocols", "BufferedProtocol")      \
    X(asyncio_StreamReaderProtocol, "asyncio.streams",                        \
      "StreamReaderProtocol")                                                 \
    X(streams_globals, "asyncio.streams", "__dict__")                         \
    X(get_event_loop, "asyncio.events", "get_event_loop")                     \
    X(get_running_loop, "asyncio.events", "_get_running_loop")                \
    X(iscoroutine, "asyncio.coroutines", "iscoroutine")                       \
    X(future_repr, "asyncio.base_futures", "_future_repr")                    \
    X(task_repr, "asyncio.base_tasks", "_task_repr")                          \
    X(task_get_stack, "asyncio.base_tasks", "_task_get_stack")                \
    X(task_print_stack, "asyncio.base_tasks", "_task_print_stack")            \
    X(extract_stack, "asyncio.format_helpers", "extract_stack")               \
    X(extract_whole_stack, "traceback", "extract_stack")                      \
    X(format_callback_source, "asyncio.format_helpers",                       \
      "_format_callback_source")                                              \
    X(BaseEventLoop, "asyncio.base_events", "BaseEventLoop")                  \
    X(check_ssl_socket, "asyncio.base_events", "_check_ssl_socket")           \
    X(format_handle, "asyncio.base_events", "_format_handle")                 \
    X(logger, "asyncio.log", "logger")                                        \
    X(wrap_future, "asyncio.futures", "wrap_future")                          \
    X(chain_future, "asyncio.futures", "_chain_future")                       \
    X(copy_future_state, "asyncio.futures", "_copy_future_state")             \
    X(concurrent_Future, "concurrent.futures", "Future")                      \
    X(TransportSocket, "asyncio.trsock", "TransportSocket")                   \
    X(ShownSocket, "asyncloop._socket", "TransportSocket")                    \
    X(socket_fileno, "asyncloop._socket", "fileno")                           \
    X(strays, "asyncloop._socket", "strays")                                  \
    X(checkpoint, "asyncloop._signals", "checkpoint")                         \
    X(socket_socket, "socket", "socket")                                      \
    X(deque, "collections", "deque")                                          \
    X(sys_getframe, "sys", "_getframe")                                       \
    X(GenericAlias, "types", "GenericAlias")

typedef struct al_state {
    PyObject *module; /* borrowed: the module owns this state */

    /* Our types; owned. */
    PyTypeObject *FutureType;
    PyTypeObject *FutureIterType;
    PyTypeObject *TaskType;
    PyTypeObject *HandleType;
    PyTypeObject *TimerHandleType;
    PyTypeObject *LoopType;
    PyMethodDef *loop_methods; /* owned; LoopType's, freed with the state */
    PyTypeObject *SocketTransportType;
    PyTypeObject *ReadPipeTransportType;
    PyTypeObject *WritePipeTransportType;
    PyTypeObject *DatagramTransportType;
    PyTypeObject *SSLProtocolType;
    PyTypeObject *SSLTransportType;
    PyTypeObject *ListenerType;
    PyTypeObject *SockOpType;
    PyTypeObject *FutureChainType;

    PyGetSetDef *cancel_message; /* asyncio's own; borrowed: future.h */

    /* What task/registry.c keeps about the interpreter's books; owned. */
    PyObject *current_tasks;     /* dict {loop: task}; NULL from 3.14 */
    PyObject *swap_current_task; /* function; NULL before 3.14 */
    al_list pending_tasks;       /* head; each node is inside its task */
    /* Where in asyncio's own part of a Task these fields are, 0 <=> unknown. */
    Py_ssize_t base_coro_offset;
    /* From 3.14, else NULL: functions of _asyncio; owned. register_task is
     * NULL too where the layout of asyncio's part is not as expected. */
    PyObject *register_task;
    PyObject *add_awaiter;
    PyObject *discard_awaiter;
    bool base_is_known;      /* that layout is as expected: registry.h */
    Py_ssize_t books_offset; /* in a thread state: registry.c; 0 <=> unknown */
    Py_ssize_t base_context_offset;
    Py_ssize_t context_vars_offset; /* in a Context: sched/context.h */

    /* Of asyncio's SSLProtocolState; owned. */
    PyObject *tls_unwrapped;
    PyObject *tls_do_handshake;
    PyObject *tls_wrapped;
    PyObject *tls_flushing;
    PyObject *tls_shutdown;
    /* Of the ssl module, from the first connection on; owned. */
    PyObject *tls_again; /* tuple of the exceptions that mean: not now */
    PyObject *tls_error; /* ssl.SSLError */
    PyObject *tls_plain_object; /* ssl.SSLObject */

    /* Types whose instances asyncio.iscoroutine() has called coroutines. */
    PyObject *coroutine_types; /* owned set */
    PyObject *context_kwnames; /* owned tuple ("context",) */
    uint64_t task_name_counter;

    char *recv_buffer; /* owned, net/transport.h: filled, copied, forgotten */
    char *datagram_buffer; /* owned, net/dgram_read.c, in the same way */

    al_freelist handles;
    al_freelist timer_handles;
    al_freelist future_iters;
    al_freelist futures;
    al_freelist tasks;

    struct {
#define X(field, module, attribute) PyObject *field;
        AL_IMPORTS(X)
#undef X
    } imports; /* owned */

    struct {
#define X(name) PyObject *name;
        AL_NAMES(X)
#undef X
    } names; /* owned, interned */
} al_state;

extern struct PyModuleDef al_module_def; /* defined in module.c */

static inline al_state *
al_state_from_module(PyObject *module)
{
    return (al_state *)PyModule_GetState(module);
}

/* The state of the module that defined the type of `type` or one of its
 * bases; for objects of our types and of Python classes derived from them. */
static inline al_state *
al_state_from_type(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &al_module_def);

    assert(module != NULL);
    return al_state_from_module(module);
}

/* Fill names and imports. 0, or -1 with an exception set. */
AL_NODISCARD int
al_state_init(PyObject *module);

int
al_state_traverse(PyObject *module, visitproc visit, void *arg);

int
al_state_clear(PyObject *module);

/* Create a heap type of this module and add it to the module under its name.
 * `bases` as in PyType_FromModuleAndSpec().
 * -> new reference for the state to own, or NULL with an exception set. */
AL_NODISCARD PyTypeObject *
al_state_add_type(PyObject *module, PyType_Spec *spec, PyObject *bases);

/* Take a dead object off a free list and bring it to life: refcount 1, its
 * type referenced, not tracked.  NULL (no exception) when the list is empty. */
static inline PyObject *
al_freelist_pop(al_freelist *list, PyTypeObject *type)
{
    PyObject *op = (PyObject *)list->head;

    if (op == NULL) {
        return NULL;
    }
    list->head = *(void **)(op + 1);
    list->size--;
    return PyObject_Init(op, type);
}

/* Keep the memory of a dead, untracked object whose references are all let
 * go; 0 when the list is full and the caller has to free it. The caller still
 * releases the type. */
static inline int
al_freelist_push(al_freelist *list, PyObject *op)
{
    if (list->size >= AL_FREELIST_MAX) {
        return 0;
    }
    *(void **)(op + 1) = list->head;
    list->head = op;
    list->size++;
    return 1;
}

#endif
