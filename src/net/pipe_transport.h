/* pipe_transport.h - the two ends of a pipe, each a transport of its own. */
#ifndef AL_NET_PIPE_TRANSPORT_H
#define AL_NET_PIPE_TRANSPORT_H

#include "net/fd_transport.h"

#include <sys/stat.h>

/* What both ends have. The descriptor may have two transports, one for each
 * direction (a terminal), and belongs to none of them as asyncio sees it: so
 * its watch is the loop's own, and what we have there is an entry. */
typedef struct {
    TransportObject base;
    bool must_ask;     /* the file refuses what nowait.c calls first */
    al_run_fn on_read; /* queued when readable; NULL: that is of no interest */
} PipeTransportObject;

#define PipeTransportObject_CAST(op) ((PipeTransportObject *)(op))

/* What a new transport is made of; all borrowed. */
typedef struct {
    PyObject *pipe; /* a file object, or whatever has fileno() and close() */
    PyObject *protocol;
    PyObject *waiter; /* future to wake when it has begun, or NULL, None */
    PyObject *extra;  /* dict, or NULL, None */
} al_pipe_parts;

/* A transport that will call connection_made() in the next turn; the pipe is
 * set to non-blocking, and the transport's own from then on.
 * -> new reference, or NULL with an exception set: ValueError for what is
 * neither pipe, socket nor character device. */
AL_NODISCARD PyObject *
al_pipe_read_new(al_loop_head *loop, const al_pipe_parts *parts);
AL_NODISCARD PyObject *
al_pipe_write_new(al_loop_head *loop, const al_pipe_parts *parts);

/* --- for pipe_read.c and pipe_write.c ----------------------------------- */

/* Fill a new, zeroed object, and `status` with what the descriptor is. 0, or -1 with an exception set (ValueError(refusal) for a wrong mode). */
AL_NODISCARD int
al_pipe_init(PipeTransportObject *self, const al_transport_kind *kind,
             al_loop_head *loop, const al_pipe_parts *parts,
             const char *refusal, struct stat *status);

/* Take the pipe over: al_fd_transport_start(). 0, or -1 with an exception set,
 * and then the pipe is not ours. */
AL_NODISCARD int
al_pipe_start(PipeTransportObject *self, const al_pipe_parts *parts);

/* Whether our entry is in the loop's watch of the descriptor. */
bool
al_pipe_is_reading(PipeTransportObject *self);
bool
al_pipe_is_writing(PipeTransportObject *self);

/* Have on_read (`run`) queued whenever the pipe is readable (writable). 0, or -1 with an exception set. */
AL_NODISCARD int
al_pipe_watch_reader(PipeTransportObject *self);
AL_NODISCARD int
al_pipe_watch_writer(PipeTransportObject *self, al_run_fn run);

/* May run any code. The first is kind->stop_reading, too. */
void
al_pipe_unwatch_reader(TransportObject *base);
void
al_pipe_unwatch_writer(PipeTransportObject *self);

/* kind->release and kind->make_extra of both. */
void
al_pipe_release(TransportObject *base);
PyObject *
al_pipe_make_extra(TransportObject *base, PyObject *name);

/* "<asyncloop.NAME closing fd=N", to go on with. -> new reference, or NULL */
AL_NODISCARD PyObject *
al_pipe_repr_head(PipeTransportObject *self);

/* "open" or "closed", what asyncio's repr ends with when it does not know what
 * is watched. NULL: it does. */
const char *
al_pipe_repr_unknown(PipeTransportObject *self);

int
al_pipe_traverse(PyObject *op, visitproc visit, void *arg);
int
al_pipe_clear(PyObject *op);

#define AL_PIPE_MEMBERS                                                       \
    AL_TRANSPORT_MEMBERS,                                                     \
        {"_fileno", T_INT, offsetof(TransportObject, desc.fd), READONLY,      \
         NULL},                                                               \
        {"_pipe", T_OBJECT, offsetof(TransportObject, desc.object), READONLY, \
         NULL},                                                               \
    {                                                                         \
        NULL, 0, 0, 0, NULL                                                   \
    }

/* pipe_read.c, pipe_write.c: create the types and store them in the module
 * state. */
AL_NODISCARD int
al_pipe_read_init_type(PyObject *module);
AL_NODISCARD int
al_pipe_write_init_type(PyObject *module);

#endif
