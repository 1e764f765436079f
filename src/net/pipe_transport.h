/* pipe_transport.h - the transports of the two ends of a pipe. */
#ifndef AL_NET_PIPE_TRANSPORT_H
#define AL_NET_PIPE_TRANSPORT_H

#include "net/fd_transport.h"

#include <sys/stat.h>

/* What both ends have. A descriptor (of a terminal) may have two transports,
 * one for each direction, and asyncio lets add_reader() use it, too. So its
 * watch is made by the loop's table, and the transport only sets an entry in
 * it. */
typedef struct {
    TransportObject base;
    bool must_ask;     /* the file refuses RWF_NOWAIT: sys/nowait.h */
    al_run_fn on_read; /* queued when readable; NULL: do not watch for that */
} PipeTransportObject;

#define PipeTransportObject_CAST(op) ((PipeTransportObject *)(op))

/* The arguments for a new transport; all borrowed. */
typedef struct {
    PyObject *pipe; /* an object with fileno() and close() */
    PyObject *protocol;
    PyObject *waiter; /* future to wake after the start, or NULL, None */
    PyObject *extra;  /* dict, or NULL, None */
} al_pipe_parts;

/* Make a transport, which calls connection_made() in the next turn. It sets
 * the pipe to non-blocking, and owns it from now on.
 * -> new reference, or NULL with an exception set: ValueError for a file that
 * is neither pipe, socket nor character device. */
AL_NODISCARD PyObject *
al_pipe_read_new(al_loop_head *loop, const al_pipe_parts *parts);
AL_NODISCARD PyObject *
al_pipe_write_new(al_loop_head *loop, const al_pipe_parts *parts);

/* --- for pipe_read.c and pipe_write.c ----------------------------------- */

/* The part of al_fd_transport_init that is the same; also fills `status` by
 * fstat(). 0, or -1 with an exception set: ValueError(refusal) for a wrong
 * kind of file. */
AL_NODISCARD int
al_pipe_init(PipeTransportObject *self, const al_transport_kind *kind,
             al_loop_head *loop, const al_pipe_parts *parts,
             const char *refusal, struct stat *status);

/* Whether our entry is in the loop's watch of the descriptor. */
bool
al_pipe_is_reading(PipeTransportObject *self);
bool
al_pipe_is_writing(PipeTransportObject *self);

/* Queue on_read (`run`) whenever the pipe is readable (writable). 0, or -1
 * with an exception set. */
AL_NODISCARD int
al_pipe_watch_reader(PipeTransportObject *self);
AL_NODISCARD int
al_pipe_watch_writer(PipeTransportObject *self, al_run_fn run);

/* Clear our entry. May run any code. The first one is kind->stop_reading. */
void
al_pipe_unwatch_reader(TransportObject *base);
void
al_pipe_unwatch_writer(PipeTransportObject *self);

/* kind->release of both ends. */
void
al_pipe_release(TransportObject *base);

#ifdef AL_DEBUG
void
al_pipe_check(PipeTransportObject *self);
#endif

/* The beginning of the repr, "<asyncloop.NAME closing fd=N". -> new reference,
 * or NULL. */
AL_NODISCARD PyObject *
al_pipe_repr_head(PipeTransportObject *self);

/* The end of asyncio's repr: "closed" if the pipe is closed, "open" if only
 * the loop is closed. NULL: the repr shows what is watched. */
const char *
al_pipe_repr_unknown(PipeTransportObject *self);

extern PyMemberDef al_pipe_members[];

/* pipe_read.c, pipe_write.c: create the types and store them in the module
 * state. */
AL_NODISCARD int
al_pipe_read_init_type(PyObject *module);
AL_NODISCARD int
al_pipe_write_init_type(PyObject *module);

#endif
