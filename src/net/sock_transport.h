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
    int family;       /* family, type and proto: to make the socket object */
    int type;
    int proto;
    al_sockaddr *sockname; /* owned memory, NULL <=> unknown */
    al_sockaddr *peername; /* owned memory, NULL <=> unknown */
    /* The size of the next read, directly into a bytes object or a
     * StreamReader; 0: read into the shared buffer. */
    size_t read_size;
    al_chunks outgoing; /* the queue: held, or not taken by the kernel yet */
    al_habit habit;     /* net/held.c */
    /* Owned future, NULL <=> no sendfile is in progress. First it waits until
     * `outgoing` is sent, then it is the borrower's (sock_sendfile.c). */
    PyObject *sendfile;
} SocketTransportObject;

/* asyncio's messages for the errors that end a transport. */
#define AL_SOCK_READ_FAILED "Fatal read error on socket transport"
#define AL_SOCK_WRITE_FAILED "Fatal write error on socket transport"

#define SocketTransportObject_CAST(op) ((SocketTransportObject *)(op))

/* The arguments for a new transport; all borrowed. */
typedef struct {
    int fd;
    PyObject *sock; /* NULL: use family, type and proto */
    int family;
    int type;
    int proto;
    const al_sockaddr *peername; /* NULL: ask the kernel */
    PyObject *protocol;
    PyObject *waiter;  /* future to wake after the start, or NULL, None */
    PyObject *extra;   /* dict, or NULL, None */
    PyObject *server;  /* or NULL, None */
    PyObject *context; /* or NULL: a copy of the current one */
} al_sock_transport_parts;

/* Make a transport, which calls connection_made() in the next turn. The
 * transport owns the descriptor now; after a failure the caller still owns it.
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_sock_transport_new(al_loop_head *loop,
                      const al_sock_transport_parts *parts);

/* transport.close(): stop reading, and end when the queue is sent.
 * 0, or -1 with RuntimeError set (closed loop). */
AL_NODISCARD int
al_sock_transport_close(SocketTransportObject *self);

/* sock_read.c: an al_run_fn that reads once; queued when the socket is
 * readable. */
AL_NODISCARD int
al_sock_read_run(al_loop_head *loop, PyObject *op);

/* kind->start_reading: watch the descriptor, so that it is queued. */
AL_NODISCARD int
al_sock_read_start(TransportObject *base);

/* sock_write.c: kind->drained, kind->write_bytes, and the methods that
 * write. */
AL_NODISCARD int
al_sock_write_drained(TransportObject *base);
AL_NODISCARD int
al_sock_write_bytes(TransportObject *base, PyObject *bytes);
AL_METHOD_KEYWORDS(al_sock_write_py_write);
AL_METHOD_KEYWORDS(al_sock_write_py_writelines);
AL_METHOD(al_sock_write_py_write_eof);

#ifdef AL_DEBUG
void
al_sock_write_check(TransportObject *base); /* kind->check */
#endif

/* sock_sendfile.c: these do nothing if no sendfile() is in progress. The queue
 * is sent; the queue cannot be sent because of `exc` (borrowed); the
 * connection is closed. Their own failures are unraisable. */
void
al_sock_sendfile_wake(SocketTransportObject *self);
void
al_sock_sendfile_fail(SocketTransportObject *self, PyObject *exc);
void
al_sock_sendfile_end(SocketTransportObject *self);

/* sock_sendfile.c: its methods. */
AL_METHOD(al_sock_sendfile_py_make_empty_waiter);
AL_METHOD(al_sock_sendfile_py_lend);
AL_METHOD(al_sock_sendfile_py_reset_empty_waiter);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_sock_transport_init_type(PyObject *module);

#endif
