/* dgram_transport.h - UDP and Unix datagram transports. */
#ifndef AL_NET_DGRAM_TRANSPORT_H
#define AL_NET_DGRAM_TRANSPORT_H

#include "base/grow.h"
#include "sys/addr_cache.h"
#include "net/fd_transport.h"
#include "sys/sockaddr.h"

/* A received datagram that the protocol did not get yet. */
typedef struct {
    PyObject *data; /* owned bytes */
    al_sockaddr from;
} al_dgram_in;

/* A datagram that the kernel did not take yet. */
typedef struct {
    PyObject *data;    /* owned, exactly bytes */
    PyObject *address; /* owned: call socket.sendto(); NULL: `to` has it */
    al_sockaddr to;    /* size 0: to the peer of a connected socket */
} al_dgram_out;

typedef struct {
    TransportObject base;
    al_fdwatch watch; /* in the loop's table from the start to the end */
    int family;
    bool knows_family; /* al_sockaddr_knows(family) */
    bool is_connected; /* it has a peer with an address: send to it only */
    bool is_paired;    /* it has a peer without an address */
    PyObject *address; /* owned: the only address to send to; NULL: any */

    /* dgram_read.c */
    al_dgram_in *in; /* owned array of AL_SOCK_BATCH, NULL until needed */
    int in_head;     /* the first datagram is in[in_head] */
    int in_count;
    bool is_rest_queued;    /* an entry in the ready queue will deliver `in` */
    size_t in_queued;       /* the length of the ready queue before the read */
    uint64_t in_turn;       /* the loop's turn that read last */
    uint8_t in_batch;       /* how many to ask for; 1: by recvfrom() */
    uint8_t in_lone;        /* reads of one since the last read of several */
    uint8_t in_patience;    /* reads of one before the next read of several */
    al_addr_cache *senders; /* owned */

    /* dgram_write.c */
    al_ring out; /* of al_dgram_out, out_count of them */
    size_t out_count;
    size_t out_size; /* bytes in the queue, as flow control counts them */
} DatagramTransportObject;

/* asyncio's message for an error that ends a transport. */
#define AL_DGRAM_READ_FAILED "Fatal read error on datagram transport"

#define DatagramTransportObject_CAST(op) ((DatagramTransportObject *)(op))

/* The arguments for a new transport; all borrowed. */
typedef struct {
    int fd;
    PyObject *sock;
    PyObject *protocol;
    PyObject *address; /* the only address to send to; NULL, None: any */
    PyObject *waiter;  /* future to wake after the start, or NULL, None */
    PyObject *extra;   /* dict, or NULL, None */
} al_dgram_transport_parts;

/* The datagram at place `i` of the queue. */
static inline al_dgram_out *
al_dgram_out_at(DatagramTransportObject *self, size_t i)
{
    return (al_dgram_out *)self->out.items +
           ((self->out.head + i) & (self->out.capacity - 1));
}

/* Make a transport, which calls connection_made() in the next turn. The
 * transport owns the socket now; after a failure the caller still owns it.
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_dgram_transport_new(al_loop_head *loop,
                       const al_dgram_transport_parts *parts);

/* A system call or the socket has failed with the exception that is set. Call
 * error_received() with an OSError; other exceptions end the transport with
 * `message`. 0, or -1 with an exception set: what error_received() raised, or
 * SystemExit or KeyboardInterrupt. */
AL_NODISCARD int
al_dgram_transport_fail(DatagramTransportObject *self, const char *message);

/* dgram_read.c: an al_run_fn that reads once; queued when the socket is
 * readable. */
AL_NODISCARD int
al_dgram_read_run(al_loop_head *loop, PyObject *op);

/* Whether an entry of the ready queue is a read of several datagrams. It goes
 * last among the entries of a poll, as it takes long and is ready again and
 * again. */
bool
al_dgram_read_is_flood(const al_entry *entry);

/* kind->start_reading: watch the descriptor, so that it is queued. */
AL_NODISCARD int
al_dgram_read_start(TransportObject *base);

/* Drop the received datagrams that the protocol did not get. */
void
al_dgram_read_clear(DatagramTransportObject *self);

/* dgram_write.c: the method that writes. */
AL_METHOD_KEYWORDS(al_dgram_write_py_sendto);

#ifdef AL_DEBUG
void
al_dgram_write_check(TransportObject *base); /* kind->check */
#endif

/* Drop the queue. May run any code. */
void
al_dgram_write_clear(DatagramTransportObject *self);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_dgram_transport_init_type(PyObject *module);

#endif
