/* state.h - what one interpreter's asyncloop._core owns. */
#ifndef AL_BASE_STATE_H
#define AL_BASE_STATE_H

#include "base/check.h"
#include "base/compat.h"

#include <stdbool.h>

#include "base/cycles.h"
#include "base/list.h"
#include "base/names.h"
#include "base/threads.h"

/* Memory of freed objects of one type, to be used again: a list that is linked
 * through their first pointer field. Free-threaded builds use none: the
 * interpreter's allocator has lists of its own for each thread. */
typedef struct {
    void *head; /* owned memory, NULL <=> empty */
    int size;
} al_freelist;

#define AL_FREELIST_MAX 256

/* The buffer of a loop that small messages are received into, and all of TLS:
 * its records are decrypted out of it, so it has room for many. */
#define AL_RECV_BUFFER ((size_t)64 * 1024)
#define AL_RECV_RECORDS ((size_t)256 * 1024) /* asyncio's max_size */

/* The objects of asyncio and the standard library that we use, fetched once at
 * import: X(field, module, attribute). */
#define AL_IMPORTS(X)                                                         \
    X(CancelledError, "asyncio.exceptions", "CancelledError")                 \
    X(InvalidStateError, "asyncio.exceptions", "InvalidStateError")           \
    X(asyncio_Handle, "asyncio.events", "Handle")                             \
    X(asyncio_TimerHandle, "asyncio.events", "TimerHandle")                   \
    X(asyncio_ReadTransport, "asyncio.transports", "ReadTransport")           \
    X(asyncio_DatagramTransport, "asyncio.transports", "DatagramTransport")   \
    X(asyncio_SSLProtocol, "asyncio.sslproto", "SSLProtocol")                 \
    X(asyncio_SSLProtocolState, "asyncio.sslproto", "SSLProtocolState")       \
    X(asyncio_SSLTransport, "asyncio.sslproto", "_SSLProtocolTransport")      \
    X(asyncio_BufferedProtocol, "asyncio.protocols", "BufferedProtocol")      \
    X(asyncio_StreamReaderProtocol, "asyncio.streams",                        \
      "StreamReaderProtocol")                                                 \
    X(streams_globals, "asyncio.streams", "__dict__")                         \
    X(iscoroutine, "asyncio.coroutines", "iscoroutine")                       \
    X(BaseEventLoop, "asyncio.base_events", "BaseEventLoop")                  \
    X(logger, "asyncio.log", "logger")                                        \
    X(wrap_future, "asyncio.futures", "wrap_future")                          \
    X(concurrent_Future, "concurrent.futures", "Future")                      \
    X(TransportSocket, "asyncio.trsock", "TransportSocket")                   \
    X(ShownSocket, "asyncloop._socket", "TransportSocket")                    \
    X(socket_fileno, "asyncloop._socket", "fileno")                           \
    X(strays, "asyncloop._socket", "strays")                                  \
    X(checkpoint, "asyncloop._signals", "checkpoint")                         \
    X(find_patches, "asyncloop._patches", "find")                             \
    X(stock_get_extra_info, "asyncloop._patches", "GET_EXTRA_INFO")           \
    X(stock_writelines, "asyncloop._patches", "WRITELINES")                   \
    X(stock_places, "asyncloop._patches", "PLACES")                           \
    X(stock_codes, "asyncloop._patches", "CODES")                             \
    X(arm_late, "asyncloop._patches", "arm_late")                             \
    X(run_late, "asyncloop._patches", "run_late")                             \
    X(forget_late, "asyncloop._patches", "forget_late")                       \
    X(IncompleteReadError, "asyncio.exceptions", "IncompleteReadError")       \
    X(LimitOverrunError, "asyncio.exceptions", "LimitOverrunError")           \
    X(is_plain, "asyncloop._overrides", "is_plain")                           \
    X(stock_primitives, "asyncloop._overrides", "STOCK")                      \
    X(QueueEmpty, "asyncio.queues", "QueueEmpty")                             \
    X(QueueFull, "asyncio.queues", "QueueFull")                               \
    X(heappush, "heapq", "heappush")                                          \
    X(heappop, "heapq", "heappop")                                            \
    X(semaphore_fills, "asyncloop._overrides", "SEMAPHORE_FILLS")             \
    X(condition_passes_on, "asyncloop._overrides", "CONDITION_PASSES_ON")     \
    X(events_globals, "asyncio.events", "__dict__")                           \
    X(tasks_globals, "asyncio.tasks", "__dict__")                             \
    X(timeouts_globals, "asyncio.timeouts", "__dict__")                       \
    X(timeout_states, "asyncloop._overrides", "TIMEOUT_STATES")               \
    X(timeout_expire, "asyncloop._overrides", "TIMEOUT_EXPIRE")               \
    X(stock_gather, "asyncloop._overrides", "GATHER")                         \
    X(gather_forgets_all, "asyncloop._overrides", "GATHER_FORGETS_ALL")       \
    X(ensure_future, "asyncio.tasks", "ensure_future")                        \
    X(get_event_loop, "asyncio.events", "get_event_loop")                     \
    X(stock_shield, "asyncloop._overrides", "SHIELD")                         \
    X(shield_is_known, "asyncloop._overrides", "SHIELD_IS_KNOWN")             \
    X(shield_retrieves, "asyncloop._overrides", "SHIELD_RETRIEVES")           \
    X(shield_ends_await, "asyncloop._overrides", "SHIELD_ENDS_AWAIT")         \
    X(shield_log, "asyncloop._overrides", "SHIELD_LOG")                       \
    X(shield_ensures, "asyncloop._overrides", "SHIELD_ENSURES")               \
    X(shield_ensure_future, "asyncloop._overrides", "SHIELD_ENSURE_FUTURE")   \
    X(stock_task_group, "asyncio.taskgroups", "TaskGroup")                    \
    X(task_group_forgets, "asyncloop._overrides", "TASK_GROUP_FORGETS")       \
    X(stock_timeout, "asyncloop._overrides", "TIMEOUT")                       \
    X(stock_sleep, "asyncloop._overrides", "SLEEP")                           \
    X(stock_wait_for, "asyncloop._overrides", "WAIT_FOR")                     \
    X(stock_wait, "asyncloop._overrides", "WAIT")                             \
    X(wait_is_known, "asyncloop._overrides", "WAIT_IS_KNOWN")                 \
    X(ALL_COMPLETED, "asyncio.tasks", "ALL_COMPLETED")                        \
    X(socket_socket, "socket", "socket")                                      \
    X(deque, "collections", "deque")

/* The same for private objects of asyncio, each with another one that is used if
 * it is missing: X(field, module, attribute, module, attribute). */
#define AL_PRIVATE_IMPORTS(X)                                                 \
    X(asyncio_Future, "_asyncio", "Future", "asyncio.futures", "Future")      \
    X(asyncio_Task, "_asyncio", "Task", "asyncio.tasks", "Task")              \
    X(asyncio_ThreadSafeHandle, "asyncio.events", AL_THREADSAFE_HANDLE,       \
      "asyncio.events", "Handle")                                             \
    X(asyncio_FlowControlMixin, "asyncio.transports", "_FlowControlMixin",    \
      "asyncio.transports", "Transport")                                      \
    X(extract_stack, "asyncio.format_helpers", "extract_stack", "traceback",  \
      "extract_stack")                                                        \
    X(format_callback_source, "asyncio.format_helpers",                       \
      "_format_callback_source", "asyncloop._layout", "describe_callback")    \
    X(check_ssl_socket, "asyncio.base_events", "_check_ssl_socket",           \
      "builtins", "bool")                                                     \
    X(format_handle, "asyncio.base_events", "_format_handle", "builtins",     \
      "repr")                                                                 \
    X(QueueShutDown, "asyncio.queues", "QueueShutDown", "asyncio.queues",     \
      "QueueEmpty")                                                           \
    X(get_running_loop, "_asyncio", "get_running_loop", "asyncio.events",     \
      "get_running_loop")                                                     \
    X(current_task, "_asyncio", "current_task", "asyncio.tasks",              \
      "current_task")                                                         \
    X(GatheringFuture, "asyncio.tasks", "_GatheringFuture", "builtins",       \
      "None")                                                                 \
    X(release_waiter, "asyncio.tasks", "_release_waiter", "builtins", "None") \
    X(set_result_unless_cancelled, "asyncio.futures",                         \
      "_set_result_unless_cancelled", "builtins", "None")                     \
    X(chain_future, "asyncio.futures", "_chain_future", "builtins", "None")   \
    X(copy_future_state, "asyncio.futures", "_copy_future_state", "builtins", \
      "None")

/* Other objects that the state owns and the collector visits: X(type, field). */
#define AL_OWNED(X)                                                              \
    /* Our types. */                                                             \
    X(PyTypeObject, FutureType)                                                  \
    X(PyTypeObject, FutureIterType)                                              \
    X(PyTypeObject, TaskType)                                                    \
    X(PyTypeObject, HandleType)                                                  \
    X(PyTypeObject, TimerHandleType)                                             \
    X(PyTypeObject, LoopType)                                                    \
    X(PyTypeObject, ReadyQueueType)                                              \
    X(PyTypeObject, EntryType)                                                   \
    X(PyObject, ready_queue) /* the class of loop._ready, in Python */           \
    X(PyTypeObject, SocketTransportType)                                         \
    X(PyTypeObject, ReadPipeTransportType)                                       \
    X(PyTypeObject, WritePipeTransportType)                                      \
    X(PyTypeObject, DatagramTransportType)                                       \
    X(PyTypeObject, SSLProtocolType)                                             \
    X(PyTypeObject, SSLTransportType)                                            \
    X(PyTypeObject, ListenerType)                                                \
    X(PyTypeObject, SockOpType)                                                  \
    X(PyTypeObject, FutureChainType)                                             \
    X(PyTypeObject, StreamReaderType)                                            \
    X(PyTypeObject, StreamWriterType)                                            \
    X(PyObject, newline)       /* b"\n" */                                       \
    X(PyObject, default_limit) /* of a StreamReader, in bytes */                 \
    X(PyTypeObject, AwaitableType)                                               \
    X(PyTypeObject, LockType)                                                    \
    X(PyTypeObject, EventType)                                                   \
    X(PyTypeObject, ConditionType)                                               \
    X(PyTypeObject, SemaphoreType)                                               \
    X(PyTypeObject, BoundedSemaphoreType)                                        \
    X(PyTypeObject, QueueType)                                                   \
    X(PyTypeObject, GatheringType)                                               \
    X(PyTypeObject, ShieldingType)                                               \
    X(PyTypeObject, WaitingType)                                                 \
    X(PyTypeObject, TaskGroupType)                                               \
    X(PyTypeObject, TimeoutType)                                                 \
    X(PyTypeObject, CoroutineFunctionType)                                       \
    X(PyObject, timeout_class) /* asyncloop.Timeout, in Python */                \
    X(PyTypeObject, WatchdogType)                                                \
    /* Of _asyncio, NULL where they are not used (cpython/layout.c). Up to     \
     * 3.13 a dict {loop: task}; from 3.14 functions; the module. */ \
    X(PyObject, current_tasks)                                                   \
    X(PyObject, swap_current_task)                                               \
    X(PyObject, register_task)                                                   \
    X(PyObject, add_awaiter)                                                     \
    X(PyObject, discard_awaiter)                                                 \
    X(PyObject, asyncio_module) /* whose memory has the counter of tasks */      \
    /* Of asyncio's SSLProtocolState. */                                         \
    X(PyObject, tls_unwrapped)                                                   \
    X(PyObject, tls_do_handshake)                                                \
    X(PyObject, tls_wrapped)                                                     \
    X(PyObject, tls_flushing)                                                    \
    X(PyObject, tls_shutdown)                                                    \
    /* Of the ssl module, from the first connection on: a tuple of the        \
     * exceptions that mean "not now", ssl.SSLError, ssl.SSLObject. */  \
    X(PyObject, tls_again)                                                       \
    X(PyObject, tls_error)                                                       \
    X(PyObject, tls_SSLObject)                                                   \
    /* Of _ssl, if its layout is known (cpython/openssl.c). */                   \
    X(PyTypeObject, tls_SSLSocket)                                               \
    X(PyTypeObject, tls_MemoryBIO)                                               \
    /* A set: types whose instances asyncio.iscoroutine() called coroutines. */  \
    X(PyObject, coroutine_types)                                                 \
    X(PyObject, context_kwnames) /* the tuple ("context",) */                    \
    X(PyObject, loop_kwnames)    /* the tuple ("loop",) */                       \
    X(PyObject, wait_kwnames)    /* the tuple ("timeout", "return_when") */

/* System calls that an old kernel or a sandbox refuses. After the first refusal
 * sys/sock.c uses older calls. */
typedef struct {
    bool accept4;
    bool recvmmsg;
    bool sendmmsg;
} al_refusals;

/* The parts of this CPython that have no API, as cpython/layout.c has learned
 * them. Zero: unknown, do without. */
typedef struct {
    bool futures; /* asyncio's Future and Task are as in cpython/layout.h */
    Py_ssize_t thread_tasks; /* offset of al_thread_tasks in a thread state */
    Py_ssize_t context_vars; /* offset of the variables in a Context */
    uint64_t *task_counter;  /* the number of the last "Task-<number>": in the
                              * memory of asyncio_module, or the next field */
    uint64_t own_task_counter;
    bool is_allowed; /* a listed version, and nobody has turned it off */
    bool openssl_is_learned;          /* by the first TLS connection */
    const struct al_openssl *openssl; /* or NULL: cpython/openssl.h */
} al_layout;

/* What primitives/primitive.c tells apart. */
typedef enum {
    AL_STREAM_READER,
    AL_STREAM_WRITER,
    AL_LOCK,
    AL_EVENT,
    AL_CONDITION,
    AL_SEMAPHORE,
    AL_BOUNDED_SEMAPHORE,
    AL_QUEUE,
    AL_TIMEOUT,
    AL_TASK_GROUP,
    AL_PRIMITIVE_KINDS,
} al_primitive_kind;

/* What was found when a type of a kind was looked at last. */
typedef struct {
    const PyTypeObject *type; /* to compare */
    uint64_t tag;             /* al_type_tag() */
    char is_plain;
} al_primitive_look_result;

/* The methods of collections.deque: primitives/deque.h. NULL: unknown. */
typedef struct {
    PyCFunction append;
    PyCFunction popleft;
    PyCFunction remove;
} al_deque_methods;

/* The state lives until the module and the last object that uses it are freed.
 * At the end of the interpreter the module and the types may be cleared before
 * the objects. So an object that uses the state owns it, or owns an object that
 * does (a handle owns its loop). */
typedef struct al_state {
    size_t owners;

#define X(type, field) type *field;
    AL_OWNED(X) /* owned */
#undef X

    al_list pending_tasks;     /* head; each node is inside its task */
    bool cancel_is_overridden; /* on an instance of Future or Task, ever */

    al_layout layout;

    al_refusals refused;

    const struct al_receiver *tls_receiver; /* of an SSLProtocolType */

    /* Of a loop about which nothing was found that is replaced
     * (loop/loop_patches.c): its type, to compare; the tags of it and of
     * asyncio's handles then. Who has locked LoopType may use them. */
    const PyTypeObject *unpatched_type;
    uint64_t unpatched_tag;
    uint64_t unpatched_handles;

    /* Of all loops: sched/metrics_sum.c. Owned memory. */
    struct al_metrics_all *metrics;
    al_cycles_pair first_cycles; /* when the module was imported */
    double cycle_length;         /* in seconds; 0: nobody has asked yet */

    al_freelist handles;
    al_freelist timer_handles;
    al_freelist future_iters;
    al_freelist awaitables;

    al_primitive_look_result looked[AL_PRIMITIVE_KINDS];
    al_deque_methods deque;

    struct {
#define X(field, module, attribute) PyObject *field;
        AL_IMPORTS(X)
#undef X
#define X(field, module, attribute, other_module, other) PyObject *field;
        AL_PRIVATE_IMPORTS(X)
#undef X
    } imports; /* owned */

    struct {
#define X(name) PyObject *name;
        AL_NAMES(X)
#undef X
    } names; /* owned, interned */
} al_state;

extern struct PyModuleDef al_module_def; /* defined in module.c */

/* The state of our module: the module owns it until it is freed itself. */
static inline al_state *
al_state_from_module(PyObject *module)
{
    return *(al_state **)PyModule_GetState(module);
}

/* The state of the module that defined `type` or one of its bases, NULL if that
 * is not ours or the type was cleared by the garbage collector. Borrowed from
 * the module. */
al_state *
al_state_find(PyTypeObject *type);

/* The same with RuntimeError set for NULL: for constructors. Objects that exist
 * have better ways to the state. */
AL_NODISCARD al_state *
al_state_from_type(PyTypeObject *type);

static inline al_state *
al_state_own(al_state *state)
{
    (void)AL_ADD(state->owners, 1);
    return state;
}

/* Drop everything and free the memory; al_state_disown() calls it. */
void
al_state_free(al_state *state);

/* To be the last act of an object's tp_dealloc. `state` may be NULL. */
static inline void
al_state_disown(al_state *state)
{
    if (state != NULL && AL_ADD(state->owners, -1) == 0) {
        al_state_free(state);
    }
}

/* Make the state of a module. 0, or -1 with an exception set. */
AL_NODISCARD int
al_state_init(PyObject *module);

/* m_traverse and m_free of the module. */
int
al_state_traverse(PyObject *module, visitproc visit, void *arg);
void
al_state_leave_module(void *module);

/* Create a heap type of this module and add it to the module under its name.
 * `bases` as in PyType_FromModuleAndSpec().
 * -> new reference for the state to own, or NULL with an exception set. */
AL_NODISCARD PyTypeObject *
al_state_add_type(PyObject *module, PyType_Spec *spec, PyObject *bases);

/* Add the methods of a table to a type of ours that nobody has used yet. Their
 * `self` may be any instance of `receiver`. 0, or -1 with an exception set. */
AL_NODISCARD int
al_state_add_methods(PyTypeObject *type, PyTypeObject *receiver,
                     PyMethodDef *methods);

/* Make an object of a type with a garbage collector, in memory of a dead one if
 * the list has any. Only its head is initialised; it is not tracked. -> new
 * reference, or NULL with MemoryError set. */
AL_NODISCARD static inline PyObject *
al_freelist_new(al_freelist *list, PyTypeObject *type)
{
    PyObject *op = (PyObject *)list->head;

    if (op != NULL) {
        list->head = *(void **)(op + 1);
        list->size--;
        (void)PyObject_Init(op, type);
    }
    else {
        op = PyObject_GC_New(PyObject, type);
    }
    if (op != NULL) {
        AL_COUNT(type, 1);
    }
    return op;
}

/* Keep the memory of a dead, untracked object whose references are all let
 * go; 0 when the list is full and the caller has to free it. The caller still
 * releases the type. */
static inline int
al_freelist_push(al_freelist *list, PyObject *op)
{
    if (AL_FREE_THREADED || list->size >= AL_FREELIST_MAX) {
        return 0;
    }
    *(void **)(op + 1) = list->head;
    list->head = op;
    list->size++;
    return 1;
}

#endif
