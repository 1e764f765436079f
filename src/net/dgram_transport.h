/* dgram_transport.h - UDP and Unix datagram transports. */
#ifndef AL_NET_DGRAM_TRANSPORT_H
#define AL_NET_DGRAM_TRANSPORT_H

#include "sys/addr_cache.h"
#include "net/fd_transport.h"
#include "sys/sockaddr.h"

/* Received in one system call with others, and not handed over yet. */
typedef struct {
    PyObject *data; /* owned bytes */
    al_sockaddr from;
} al_dgram_in;

/* What the kernel did not take yet. */
typedef struct {
    PyObject *data;    /* owned bytes, exactly that type */
    PyObject *address; /* owned: left to the socket; NULL: `to` has it */
    al_sockaddr to;    /* size 0: to the one it is connected to */
} al_dgram_out;

typedef struct {
    TransportObject base;
    al_fdwatch watch; /* in the loop's table from the start to the end */
    int family;
    bool is_plain;     /* a family whose addresses we know */
    bool is_connected; /* its peer has an address: all goes there */
    bool is_paired;    /* it has a peer, which has no address */
    PyObject *address; /* owned: the one to send to; NULL: any */

    /* dgram_read.c */
    al_dgram_in *in; /* owned array of AL_SOCK_BATCH, NULL until needed */
    int in_head;     /* the first one waiting is in[in_head] */
    int in_count;
    bool is_rest_queued; /* to be handed over in the next turn */
    size_t in_queued;    /* the length of the ready queue before the first */
    uint32_t in_turn;    /* the loop's turn that read last */
    uint8_t in_batch;    /* how many to ask for; 1: in the simplest way */
    uint8_t in_lone;     /* reads since the last that asked for several */
    uint8_t in_patience; /* so many until the next that does */
    al_addr_cache *senders; /* owned */

    /* dgram_write.c: a ring */
    al_dgram_out *out;   /* owned, NULL <=> out_capacity is 0 */
    size_t out_capacity; /* 0 or a power of two */
    size_t out_head;
    size_t out_count;
    size_t out_size; /* bytes, as flow control counts them */
} DatagramTransportObject;

/* asyncio's words for what ends a transport. */
#define AL_DGRAM_READ_FAILED "Fatal read error on datagram transport"

#define DatagramTransportObject_CAST(op) ((DatagramTransportObject *)(op))

/* What a new transport is made of; all borrowed. */
typedef struct {
    int fd;
    PyObject *sock;
    PyObject *protocol;
    PyObject *address; /* the one to send to; NULL, None: any */
    PyObject *waiter;  /* future to wake when it has begun, or NULL, None */
    PyObject *extra;   /* dict, or NULL, None */
} al_dgram_transport_parts;

/* A transport that will call connection_made() in the next turn. From then on
 * the socket is its own; after a failure it is still the caller's.
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_dgram_transport_new(al_loop_head *loop,
                       const al_dgram_transport_parts *parts);

/* The exception now set is what a system call or the socket has raised: an
 * OSError is for error_received(), all others end the transport with
 * `message`. 0, or -1 with what error_received() raised, or SystemExit or
 * KeyboardInterrupt, set. */
AL_NODISCARD int
al_dgram_transport_fail(DatagramTransportObject *self, const char *message);

/* dgram_read.c: reads once, an al_run_fn, queued whenever there is something
 * to read. */
AL_NODISCARD int
al_dgram_read_run(al_loop_head *loop, PyObject *op);

/* Whether an entry of the ready queue is a read that will get several datagrams:
 * others come before it, as it takes longer and is ready again and again. */
bool
al_dgram_read_is_flood(const al_entry *entry);

/* kind->start_reading: let it be queued from now on. */
AL_NODISCARD int
al_dgram_read_start(TransportObject *base);

/* Drop what was received and not handed over. */
void
al_dgram_read_clear(DatagramTransportObject *self);

/* dgram_write.c: the method of its side. */
PyObject *
al_dgram_write_py_sendto(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames);

/* Drop what is queued. May run any code. */
void
al_dgram_write_clear(DatagramTransportObject *self);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_dgram_transport_init_type(PyObject *module);

#endif
