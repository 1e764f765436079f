/* sock_transport.h - TCP and Unix stream transports. */
#ifndef AL_NET_SOCK_TRANSPORT_H
#define AL_NET_SOCK_TRANSPORT_H

#include "base/chunks.h"
#include "net/fd_transport.h"
#include "net/held.h"
#include "sys/sockaddr.h"

typedef struct SocketTransportObject {
    TransportObject base;
    al_fdwatch watch; /* in the loop's table from the start to the end */
    bool is_eof;      /* write_eof() was called */
    int family;       /* what the socket object of the descriptor is made of */
    int type;
    int proto;
    al_sockaddr *sockname; /* owned memory, NULL <=> unknown */
    al_sockaddr *peername; /* owned memory, NULL <=> unknown */
    /* Bytes to ask for at the next read, straight into a bytes object or a
     * StreamReader; 0: the shared buffer is large enough. */
    size_t read_size;
    al_chunks outgoing; /* what the kernel did not take yet, or is held */
    al_habit habit;     /* net/held.c */
    /* Owned future, NULL <=> no sendfile is in progress. First the one that
     * waits for `outgoing` to be sent, then that of the sending. */
    PyObject *sendfile;
} SocketTransportObject;

/* asyncio's words for what ends a transport. */
#define AL_SOCK_READ_FAILED "Fatal read error on socket transport"
#define AL_SOCK_WRITE_FAILED "Fatal write error on socket transport"

#define SocketTransportObject_CAST(op) ((SocketTransportObject *)(op))

/* What a new transport is made of; all borrowed. */
typedef struct {
    int fd;
    PyObject *sock; /* NULL: family, type and proto tell what it is */
    int family;
    int type;
    int proto;
    const al_sockaddr *peername; /* NULL: ask the kernel */
    PyObject *protocol;
    PyObject *waiter;  /* future to wake when it has begun, or NULL, None */
    PyObject *extra;   /* dict, or NULL, None */
    PyObject *server;  /* or NULL, None */
    PyObject *context; /* or NULL: a copy of the current one */
} al_sock_transport_parts;

/* A transport that will call connection_made() in the next turn. From then on
 * the descriptor is its own; after a failure it is still the caller's.
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_sock_transport_new(al_loop_head *loop,
                      const al_sock_transport_parts *parts);

/* transport.close(): no more reading; the end comes when all is sent.
 * 0, or -1 with RuntimeError set (closed loop). */
AL_NODISCARD int
al_sock_transport_close(SocketTransportObject *self);

/* sock_read.c: reads once, an al_run_fn, queued whenever there is something
 * to read. */
AL_NODISCARD int
al_sock_read_run(al_loop_head *loop, PyObject *op);

/* kind->start_reading: let it be queued from now on. */
AL_NODISCARD int
al_sock_read_start(TransportObject *base);

/* sock_write.c: kind->drained, and the methods of its side. */
AL_NODISCARD int
al_sock_write_drained(TransportObject *base);
PyObject *
al_sock_write_py_write(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames);
PyObject *
al_sock_write_py_writelines(PyObject *op, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames);
PyObject *
al_sock_write_py_write_eof(PyObject *op, PyObject *ignored);

/* For TLS: write(bytes). 0, or -1 with an exception set. */
AL_NODISCARD int
al_sock_write_bytes(SocketTransportObject *self, PyObject *bytes);

/* sock_sendfile.c: if a sendfile() waits for all to be sent, it is; it will
 * never be, for `exc` (borrowed); the connection is closed. What fails in that
 * is unraisable. */
void
al_sock_sendfile_wake(SocketTransportObject *self);
void
al_sock_sendfile_fail(SocketTransportObject *self, PyObject *exc);
void
al_sock_sendfile_end(SocketTransportObject *self);

/* The methods of its own. */
PyObject *
al_sock_sendfile_py_make_empty_waiter(PyObject *op, PyObject *ignored);
PyObject *
al_sock_sendfile_py_lend(PyObject *op, PyObject *future);
PyObject *
al_sock_sendfile_py_reset_empty_waiter(PyObject *op, PyObject *ignored);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_sock_transport_init_type(PyObject *module);

#endif
