/* fd_transport.h - what is the same for sockets, datagrams and pipes: the
 * start, pause and resume, the writer entry, repr, the end. */
#ifndef AL_NET_FD_TRANSPORT_H
#define AL_NET_FD_TRANSPORT_H

#include "base/args.h"
#include "io/fdwatch.h"
#include "net/transport.h"

#define AL_FD_TRANSPORT_READ_MAX ((size_t)256 * 1024) /* asyncio's max_size */

/* In the next turn, call connection_made(), start reading and wake `waiter` (a
 * future, borrowed; NULL or None: none). 0, or -1 with an exception set
 * (RuntimeError on a closed loop). */
AL_NODISCARD int
al_fd_transport_start(TransportObject *self, PyObject *waiter);

/* For kind->start_reading() of a socket: queue `run` whenever the descriptor
 * is readable. 0, or -1 with an exception set. */
AL_NODISCARD int
al_fd_transport_watch_reader(TransportObject *self, al_fdwatch *watch,
                             al_run_fn run);

/* Queue `run` whenever the descriptor is writable. Call this before bytes are
 * queued; it may end the connection. 0, or -1 with an exception set. */
AL_NODISCARD int
al_fd_transport_watch_writer(TransportObject *self, al_fdwatch *watch,
                             al_run_fn run);

/* A read got `n` bytes of `size`: adapt the size of the next read. 0: read
 * into the shared buffer; else read directly into an object of that many
 * bytes. */
static inline void
al_fd_transport_adapt(size_t *read_size, size_t n, size_t size)
{
    if (n == size) {
        *read_size = Py_MIN(size * 2, AL_FD_TRANSPORT_READ_MAX);
    }
    else if (n <= AL_RECV_BUFFER / 2) {
        *read_size = 0;
    }
}

/* The kernel has taken bytes of the queue: call resume_writing() if the queue
 * is short enough. If it is empty, call kind->drained(), and end a transport
 * that was closed. 0, or -1 with an exception set. */
AL_NODISCARD int
al_fd_transport_resume_writing(TransportObject *self);

/* repr() of a socket's transport with `size` bytes queued. */
PyObject *
al_fd_transport_repr(TransportObject *self, const al_fdwatch *watch,
                     size_t size);

/* tp_finalize; and tp_dealloc, which calls the type's tp_clear and then
 * free(self) (NULL: none) for memory that tp_clear does not free. */
void
al_fd_transport_finalize(PyObject *op);
void
al_fd_transport_dealloc(PyObject *op, inquiry clear, void (*free)(PyObject *));

/* What kind of transport `op` is, so that a layer between transport and user
 * learns what it may do. -> NULL: `op` is none of ours, so call its methods;
 * or it is NULL. */
static inline const al_transport_kind *
al_fd_transport_kind(PyObject *op)
{
    /* All of our types have this tp_finalize, and none can be derived from. */
    return op != NULL && Py_TYPE(op)->tp_finalize == al_fd_transport_finalize
               ? TransportObject_CAST(op)->kind
               : NULL;
}

/* The buffer that such a transport fills at once: its loop's. -> NULL: it has no
 * loop any more, or (MemoryError is set) there is no memory. */
static inline char *
al_fd_transport_recv_buffer(PyObject *op)
{
    al_loop_head *loop = TransportObject_CAST(op)->loop;

    return loop != NULL ? al_transport_recv_buffer(loop) : NULL;
}

/* --- methods for the tables of the types ---------------------------------- */

PyObject *AL_LOCKED(al_fd_transport_py_is_reading)(PyObject *op,
                                                   PyObject *ignored);
PyObject *AL_LOCKED(al_fd_transport_py_pause_reading)(PyObject *op,
                                                      PyObject *ignored);
PyObject *AL_LOCKED(al_fd_transport_py_resume_reading)(PyObject *op,
                                                       PyObject *ignored);
PyObject *AL_LOCKED(al_fd_transport_py_begin)(PyObject *op, PyObject *ignored);

extern const char al_fd_transport_is_closing_doc[];
extern const char al_fd_transport_get_protocol_doc[];
extern const char al_fd_transport_set_protocol_doc[];
extern const char al_fd_transport_get_extra_info_doc[];
extern const char al_fd_transport_is_reading_doc[];
extern const char al_fd_transport_pause_reading_doc[];
extern const char al_fd_transport_resume_reading_doc[];
extern const char al_fd_transport_abort_doc[];
extern const char al_fd_transport_can_write_eof_doc[];
extern const char al_fd_transport_get_write_buffer_size_doc[];
extern const char al_fd_transport_get_write_buffer_limits_doc[];
extern const char al_fd_transport_set_write_buffer_limits_doc[];

/* All transports have these. The last two are not for users: we pass them to a
 * call_soon() that is overridden. */
#define AL_FD_TRANSPORT_METHODS                                               \
    {"is_closing", AL_LOCKED(al_transport_py_is_closing), METH_NOARGS,        \
     al_fd_transport_is_closing_doc},                                         \
        {"get_protocol", AL_LOCKED(al_transport_py_get_protocol),             \
         METH_NOARGS, al_fd_transport_get_protocol_doc},                      \
        {"set_protocol",                                                      \
         AL_KEYWORDS(AL_LOCKED(al_transport_py_set_protocol)),                \
         al_fd_transport_set_protocol_doc},                                   \
        {"get_extra_info",                                                    \
         AL_KEYWORDS(AL_LOCKED(al_transport_py_get_extra_info)),              \
         al_fd_transport_get_extra_info_doc},                                 \
        {"_begin", AL_LOCKED(al_fd_transport_py_begin), METH_NOARGS, NULL},   \
    {                                                                         \
        "_call_connection_lost",                                              \
            AL_LOCKED(al_transport_py_call_connection_lost), METH_NOARGS,     \
            NULL                                                              \
    }

/* Transports that read have these, */
#define AL_FD_TRANSPORT_READ_METHODS                                          \
    {"is_reading", AL_LOCKED(al_fd_transport_py_is_reading), METH_NOARGS,     \
     al_fd_transport_is_reading_doc},                                         \
        {"pause_reading", AL_LOCKED(al_fd_transport_py_pause_reading),        \
         METH_NOARGS, al_fd_transport_pause_reading_doc},                     \
    {                                                                         \
        "resume_reading", AL_LOCKED(al_fd_transport_py_resume_reading),       \
            METH_NOARGS, al_fd_transport_resume_reading_doc                   \
    }

/* and transports that write have these. */
#define AL_FD_TRANSPORT_WRITE_METHODS                                         \
    {"abort", AL_LOCKED(al_transport_py_abort), METH_NOARGS,                  \
     al_fd_transport_abort_doc},                                              \
        {"get_write_buffer_size",                                             \
         AL_LOCKED(al_transport_py_get_write_buffer_size), METH_NOARGS,       \
         al_fd_transport_get_write_buffer_size_doc},                          \
        {"get_write_buffer_limits",                                           \
         AL_LOCKED(al_transport_py_get_write_buffer_limits), METH_NOARGS,     \
         al_fd_transport_get_write_buffer_limits_doc},                        \
    {                                                                         \
        "set_write_buffer_limits",                                            \
            AL_KEYWORDS(AL_LOCKED(al_transport_py_set_write_buffer_limits)),  \
            al_fd_transport_set_write_buffer_limits_doc                       \
    }

#endif
