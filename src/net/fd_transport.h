/* fd_transport.h - what the transports of descriptors do alike: begin, read or
 * pause, watch for the chance to send, show themselves, end. */
#ifndef AL_NET_FD_TRANSPORT_H
#define AL_NET_FD_TRANSPORT_H

#include "base/args.h"
#include "io/fdwatch.h"
#include "net/transport.h"

#define AL_FD_TRANSPORT_READ_MAX ((size_t)256 * 1024) /* asyncio's max_size */

/* Have connection_made() called in the next turn, reading started and `waiter`
 * (a future, borrowed; NULL or None: none) woken after it. 0, or -1 with an
 * exception set (RuntimeError on a closed loop). */
AL_NODISCARD int
al_fd_transport_start(TransportObject *self, PyObject *waiter);

/* Have `run` queued whenever the descriptor of a socket is readable: for
 * kind->start_reading(). 0, or -1 with an exception set. */
AL_NODISCARD int
al_fd_transport_watch_reader(TransportObject *self, al_fdwatch *watch,
                             al_run_fn run);

/* The same for writable, before something is queued; the transport may be lost
 * afterwards. 0, or -1 with an exception set. */
AL_NODISCARD int
al_fd_transport_watch_writer(TransportObject *self, al_fdwatch *watch,
                             al_run_fn run);

/* Learn from a read that got `n` bytes of `size` how much to ask for at the next
 * one: 0: the shared buffer is large enough; else bytes of an object that is read
 * into directly. */
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

/* The kernel has taken something of the queue: resume_writing(), if it is short
 * enough; and if it is empty, kind->drained(), and the end of a transport that
 * was closed. 0, or -1 with an exception set. */
AL_NODISCARD int
al_fd_transport_resume_writing(TransportObject *self);

/* repr() of a socket's transport with `size` bytes queued. */
PyObject *
al_fd_transport_repr(TransportObject *self, const al_fdwatch *watch,
                     size_t size);

/* tp_finalize, and tp_dealloc around the type's own tp_clear, which is followed
 * by free(self) (NULL: none) for memory that tp_clear does not touch. */
void
al_fd_transport_finalize(PyObject *op);
void
al_fd_transport_dealloc(PyObject *op, inquiry clear, void (*free)(PyObject *));

/* --- methods for the tables of the types ---------------------------------- */

PyObject *
al_fd_transport_py_is_reading(PyObject *op, PyObject *ignored);
PyObject *
al_fd_transport_py_pause_reading(PyObject *op, PyObject *ignored);
PyObject *
al_fd_transport_py_resume_reading(PyObject *op, PyObject *ignored);
PyObject *
al_fd_transport_py_begin(PyObject *op, PyObject *ignored);

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

/* Every one has these. The last two are not for users: a call_soon() that is
 * overridden gets them. */
#define AL_FD_TRANSPORT_METHODS                                               \
    {"is_closing", al_transport_py_is_closing, METH_NOARGS,                   \
     al_fd_transport_is_closing_doc},                                         \
        {"get_protocol", al_transport_py_get_protocol, METH_NOARGS,           \
         al_fd_transport_get_protocol_doc},                                   \
        {"set_protocol", AL_KEYWORDS(al_transport_py_set_protocol),           \
         al_fd_transport_set_protocol_doc},                                   \
        {"get_extra_info", AL_KEYWORDS(al_transport_py_get_extra_info),       \
         al_fd_transport_get_extra_info_doc},                                 \
        {"_begin", al_fd_transport_py_begin, METH_NOARGS, NULL},              \
    {                                                                         \
        "_call_connection_lost", al_transport_py_call_connection_lost,        \
            METH_NOARGS, NULL                                                 \
    }

/* Those that read have these, */
#define AL_FD_TRANSPORT_READ_METHODS                                          \
    {"is_reading", al_fd_transport_py_is_reading, METH_NOARGS,                \
     al_fd_transport_is_reading_doc},                                         \
        {"pause_reading", al_fd_transport_py_pause_reading, METH_NOARGS,      \
         al_fd_transport_pause_reading_doc},                                  \
    {                                                                         \
        "resume_reading", al_fd_transport_py_resume_reading, METH_NOARGS,     \
            al_fd_transport_resume_reading_doc                                \
    }

/* and those that write these. */
#define AL_FD_TRANSPORT_WRITE_METHODS                                         \
    {"abort", al_transport_py_abort, METH_NOARGS, al_fd_transport_abort_doc}, \
        {"get_write_buffer_size", al_transport_py_get_write_buffer_size,      \
         METH_NOARGS, al_fd_transport_get_write_buffer_size_doc},             \
        {"get_write_buffer_limits", al_transport_py_get_write_buffer_limits,  \
         METH_NOARGS, al_fd_transport_get_write_buffer_limits_doc},           \
    {                                                                         \
        "set_write_buffer_limits",                                            \
            AL_KEYWORDS(al_transport_py_set_write_buffer_limits),             \
            al_fd_transport_set_write_buffer_limits_doc                       \
    }

#endif
