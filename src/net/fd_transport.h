/* fd_transport.h - what is the same for sockets, datagrams and pipes: the
 * start, pause and resume, the writer entry, repr, the end. */
#ifndef AL_NET_FD_TRANSPORT_H
#define AL_NET_FD_TRANSPORT_H

#include "base/args.h"
#include "io/fdwatch.h"
#include "net/transport.h"

#define AL_FD_TRANSPORT_READ_MAX ((size_t)256 * 1024) /* asyncio's max_size */

/* Fills a new, zeroed object from its kind's `parts`, and takes over the
 * descriptor. 0, or -1 with an exception set. */
typedef int (*al_fd_transport_init)(TransportObject *self, al_loop_head *loop,
                                    const void *parts);

/* Make a transport. In the next turn it calls connection_made(), starts
 * reading and wakes `waiter` (a future, borrowed; NULL or None: none). -> new
 * reference, or NULL with an exception set (RuntimeError on a closed loop):
 * then the caller still owns the descriptor. */
AL_NODISCARD PyObject *
al_fd_transport_new(PyTypeObject *type, al_loop_head *loop,
                    al_fd_transport_init init, const void *parts,
                    PyObject *waiter);

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

/* Create a transport type in *type and add it to the module. It derives from
 * asyncio's `bases`: a class, or a tuple of classes whose first one has the
 * slots (borrowed). An object has `size` bytes; `slots` come before those of
 * fd_transport.c. 0, or -1 with an exception set. */
AL_NODISCARD int
al_fd_transport_add_type(PyObject *module, const char *name, size_t size,
                         const PyType_Slot *slots, PyObject *bases,
                         PyTypeObject **type);

/* repr() of a socket's transport with `size` bytes queued. */
PyObject *
al_fd_transport_repr(TransportObject *self, const al_fdwatch *watch,
                     size_t size);

/* tp_finalize of all these types, and of no other type. */
void
al_fd_transport_finalize(PyObject *op);

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

AL_METHOD(al_fd_transport_py_is_reading);
AL_METHOD(al_fd_transport_py_pause_reading);
AL_METHOD(al_fd_transport_py_resume_reading);
AL_METHOD(al_fd_transport_py_begin);
PyObject *
al_fd_transport_py_can_write_eof(PyObject *op, PyObject *ignored);

/* All transports have these. The last two are not for users: we pass them to a
 * call_soon() that is overridden. */
#define AL_FD_TRANSPORT_METHODS                                               \
    {"is_closing", AL_LOCKED(al_transport_py_is_closing), METH_NOARGS,        \
     "is_closing($self, /)\n--\n\n"                                           \
     "Return whether the transport is closing or closed."},                   \
        {"get_protocol", AL_LOCKED(al_transport_py_get_protocol),             \
         METH_NOARGS,                                                         \
         "get_protocol($self, /)\n--\n\n"                                     \
         "Return the protocol, None after connection_lost()."},               \
        {"set_protocol",                                                      \
         AL_KEYWORDS(AL_LOCKED(al_transport_py_set_protocol)),                \
         "set_protocol($self, /, protocol)\n--\n\n"                           \
         "Talk to another protocol from now on; its connection_made() is "    \
         "not called."},                                                      \
        {"get_extra_info",                                                    \
         AL_KEYWORDS(AL_LOCKED(al_transport_py_get_extra_info)),              \
         "get_extra_info($self, name, default=None)\n--\n\n"                  \
         "Return what is known under a name: \"socket\", \"sockname\" and "   \
         "\"peername\" of a socket,\n\"pipe\" of a pipe; else the default."}, \
        {"_begin", AL_LOCKED(al_fd_transport_py_begin), METH_NOARGS, NULL},   \
        {"_force_close", AL_LOCKED(al_transport_py_force_close), METH_O,      \
         NULL},                                                               \
    {                                                                         \
        "_call_connection_lost",                                              \
            AL_LOCKED(al_transport_py_call_connection_lost), METH_NOARGS,     \
            NULL                                                              \
    }

/* Transports that read have these, */
#define AL_FD_TRANSPORT_READ_METHODS                                          \
    {"is_reading", AL_LOCKED(al_fd_transport_py_is_reading), METH_NOARGS,     \
     "is_reading($self, /)\n--\n\n"                                           \
     "Return whether the transport is receiving: neither paused nor "         \
     "closing."},                                                             \
        {"pause_reading", AL_LOCKED(al_fd_transport_py_pause_reading),        \
         METH_NOARGS,                                                         \
         "pause_reading($self, /)\n--\n\n"                                    \
         "Hand nothing to the protocol until resume_reading(). May be "       \
         "called twice."},                                                    \
        {"resume_reading", AL_LOCKED(al_fd_transport_py_resume_reading),      \
         METH_NOARGS,                                                         \
         "resume_reading($self, /)\n--\n\n"                                   \
         "Receive again after pause_reading(). May be called twice. Raises "  \
         "OSError if the\nkernel cannot watch the descriptor."}

/* and transports that write have these. */
#define AL_FD_TRANSPORT_WRITE_METHODS                                         \
    {"abort", AL_LOCKED(al_transport_py_abort), METH_NOARGS,                  \
     "abort($self, /)\n--\n\n"                                                \
     "End the transport without sending what is queued; "                     \
     "connection_lost(None) follows."},                                       \
        {"get_write_buffer_size",                                             \
         AL_LOCKED(al_transport_py_get_write_buffer_size), METH_NOARGS,       \
         "get_write_buffer_size($self, /)\n--\n\n"                            \
         "Return the number of bytes queued: written, and not taken by the "  \
         "kernel yet. Of\ndatagrams, from Python 3.13 on, with 8 more for "   \
         "each."},                                                            \
        {"get_write_buffer_limits",                                           \
         AL_LOCKED(al_transport_py_get_write_buffer_limits), METH_NOARGS,     \
         "get_write_buffer_limits($self, /)\n--\n\n"                          \
         "Return the limits for flow control in bytes, as (low, high)."},     \
        {"set_write_buffer_limits",                                           \
         AL_KEYWORDS(AL_LOCKED(al_transport_py_set_write_buffer_limits)),     \
         "set_write_buffer_limits($self, high=None, low=None)\n--\n\n"        \
         "Pause the protocol's writing when more than `high` bytes are "      \
         "queued, resume it when\nnot more than `low` are (of a pipe: when "  \
         "all is written). Defaults: 64 KiB, or four\ntimes low; a quarter "  \
         "of high. Raises ValueError unless high >= low >= 0."}

/* Those of streams have this, too. */
#define AL_FD_TRANSPORT_EOF_METHOD                                            \
    {"can_write_eof", al_fd_transport_py_can_write_eof, METH_NOARGS,          \
     "can_write_eof($self, /)\n--\n\n"                                        \
     "Return True: write_eof() tells the reader of the end."}

#endif
