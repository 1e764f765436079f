/* transport.h - what every transport has in common.
 *
 * Who keeps whom alive: a transport owns its loop (until it is CLOSED), its
 * context, protocol and server.  Its owners are the user and the loop.  The
 * ready queue owns it until connection_made() was called, and again until
 * connection_lost() was called.  The entries of its watch own it while it
 * reads or has bytes to send.  A transport that is paused and has nothing to
 * send is owned by the user alone.  When the user drops it, it warns and
 * closes its descriptor. */
#ifndef AL_NET_TRANSPORT_H
#define AL_NET_TRANSPORT_H

#include "base/call.h"
#include "net/descriptor.h"
#include "net/flow.h"
#include "net/protocol.h"
#include "sched/loop_head.h"

/* Our transports derive from asyncio's classes, whose slots lie in front of
 * our fields. The slots stay empty, because our attributes have the same
 * names. Only asyncio's own slot descriptors can fill them. */
#define AL_TRANSPORT_BASE_SLOTS 5

/* asyncio warns from the fifth write to a lost connection on. */
#define AL_TRANSPORT_LOST_WRITES 5

typedef enum {
    AL_TRANSPORT_OPEN,
    AL_TRANSPORT_CLOSING, /* close() or an error: connection_lost() follows */
    AL_TRANSPORT_CLOSED,  /* connection_lost() was called, all is released */
} al_transport_phase;

typedef struct TransportObject TransportObject;

/* What differs between sockets, datagrams and pipes. */
typedef struct {
    const char *name;        /* of the class */
    const char *read_failed; /* what ends a transport that cannot read */
    /* Receive and give the data to the protocol, unless the transport is
     * paused or closing. 0, or -1 with an exception set. */
    int (*start_reading)(TransportObject *self);
    void (*stop_reading)(TransportObject *self);
    /* Where in the object the two numbers are that al_transport_pending() and
     * al_transport_queued() return. 0: nothing is ever queued. */
    size_t pending_at;
    size_t queued_at;
    /* The queue has become empty. 0, or -1 with an exception set. */
    int (*drained)(TransportObject *self);
    /* Stop watching, and drop the queue. */
    void (*stop)(TransportObject *self);
    /* Close the watch. The descriptor is closed then, if this does not do
     * it. */
    void (*release)(TransportObject *self);
    /* Free the memory that tp_clear leaves; NULL: it leaves none. */
    void (*free)(TransportObject *self);
    /* Make an item of extra information that is first asked for now. -> new
     * reference; NULL without an exception: there is no item of that name.
     * NULL: all items are in the dict from the start. */
    PyObject *(*make_extra)(TransportObject *self, PyObject *name);
    /* For a layer between transport and user, such as TLS: what it may do
     * without calling methods (al_fd_transport_kind).
     * write(bytes); NULL: call the method. 0, or -1 with an exception set. */
    int (*write_bytes)(TransportObject *self, PyObject *bytes);
    /* What get_buffer() returns is filled at once, by one system call, and
     * buffer_updated() follows: so it may be the buffer that all share. */
    bool fills_at_once;
    bool is_connection; /* counted as one by the metrics of the loop */
#ifdef AL_DEBUG
    void (*check)(TransportObject *self); /* of its own invariants */
#endif
} al_transport_kind;

struct TransportObject {
    PyObject_HEAD
    PyObject *base_slots[AL_TRANSPORT_BASE_SLOTS]; /* owned, or NULL */
    PyObject *dict;                                /* owned, NULL until used */
    PyObject *weakrefs;                            /* borrowed list head */
    al_state *state;                               /* owned until tp_dealloc */
    const al_transport_kind *kind;
    al_loop_head *loop; /* owned, NULL <=> CLOSED */
#if AL_FREE_THREADED
    PyObject
        *lock; /* owned until tp_dealloc: the loop; NULL <=> no __init__ */
#endif
    PyObject *context;    /* owned: the protocol is called in it */
    al_protocol protocol; /* empty <=> CLOSED */
    al_descriptor desc;   /* NONE before the start and from CLOSED on */
    PyObject *server;     /* owned, NULL <=> none or detached from it */
    PyObject *extra;      /* owned dict, NULL until needed */
    PyObject *lost_exc;   /* owned argument of connection_lost(), or NULL */
    al_flow flow;
    al_transport_phase phase;
    PyObject *waiter; /* owned future to wake at the start, NULL <=> none */
    bool is_paused;   /* pause_reading() was called last */
    unsigned lost;    /* > 0 <=> connection_lost() is scheduled or was called;
                       * 1 + the number of writes since then */
};

#define TransportObject_CAST(op) ((TransportObject *)(op))

/* What a method of a transport locks: the loop that it was made on. */
static inline PyObject *
al_transport_lock(PyObject *op)
{
#if AL_FREE_THREADED
    if (AL_LIKELY(TransportObject_CAST(op)->lock != NULL)) {
        return TransportObject_CAST(op)->lock;
    }
#endif
    return op;
}

#ifdef AL_DEBUG
/* Where a method or an entry begins, and where it has called the protocol. */
void
al_transport_check(TransportObject *self);
#endif

/* Fill the common fields of a new, zeroed object. `extra` is a dict that the
 * transport keeps and uses, or NULL or None. If `context` is NULL, it is a
 * copy of the current one. All borrowed. 0, or -1 with an exception set. */
AL_NODISCARD int
al_transport_init(TransportObject *self, const al_transport_kind *kind,
                  al_loop_head *loop, PyObject *protocol, PyObject *extra,
                  PyObject *context);

/* Call getsockname() or getpeername() of a socket object (borrowed). -> new
 * reference to the result, None if it raises OSError; or NULL with an
 * exception set. */
AL_NODISCARD PyObject *
al_transport_ask_socket(PyObject *sock, const char *method);

/* Store the extra information "sockname" and "peername" now, if a later call
 * of getsockname() could have another result. 0, or -1 with an exception
 * set. */
AL_NODISCARD int
al_transport_learn_addresses(TransportObject *self);

/* Attach the transport to its server (borrowed; NULL or None: it has none).
 * 0, or -1 with an exception set. */
AL_NODISCARD int
al_transport_attach(TransportObject *self, PyObject *server);

static inline bool
al_transport_is_open(const TransportObject *self)
{
    return self->phase == AL_TRANSPORT_OPEN;
}

static inline bool
al_transport_is_reading(const TransportObject *self)
{
    return al_transport_is_open(self) && !self->is_paused;
}

/* The number at `place` in the object. */
static inline size_t
al_transport_number(const TransportObject *self, size_t place)
{
    return place == 0 ? 0 : *(const size_t *)((const char *)self + place);
}

/* How many bytes are queued. */
static inline size_t
al_transport_pending(const TransportObject *self)
{
    return al_transport_number(self, self->kind->pending_at);
}

/* How many chunks or datagrams are queued. */
static inline size_t
al_transport_queued(const TransportObject *self)
{
    return al_transport_number(self, self->kind->queued_at);
}

/* close() was called, and connection_lost() is not scheduled yet: there may be
 * bytes left to send. */
static inline bool
al_transport_is_draining(const TransportObject *self)
{
    return self->phase == AL_TRANSPORT_CLOSING && self->lost == 0;
}

/* Whether the descriptor still names the transport's file. Ask before each
 * use. */
static inline bool
al_transport_is_ours(TransportObject *self)
{
    return al_descriptor_is_ours(&self->desc, self->state);
}

/* Send the bytes that the loop holds. Call this before an action that the
 * outside sees. May run anything. 0, or -1 with an exception set that the
 * caller returns. */
AL_NODISCARD static inline int
al_transport_send_held(TransportObject *self)
{
    return self->loop == NULL ? 0 : al_loop_send_held(self->loop);
}

/* Count the bytes that a system call has read or written: its result is `n`,
 * which is returned. Another thread may have ended the transport meanwhile. */
static inline ssize_t
al_transport_note_in(const TransportObject *self, ssize_t n)
{
    if (AL_LIKELY(n > 0 && self->loop != NULL)) {
        AL_TALLY(self->loop->metrics.bytes_in, (uint64_t)n);
    }
    return n;
}

static inline ssize_t
al_transport_note_out(const TransportObject *self, ssize_t n)
{
    if (AL_LIKELY(n > 0 && self->loop != NULL)) {
        AL_TALLY(self->loop->metrics.bytes_out, (uint64_t)n);
    }
    return n;
}

/* Queue run(self) for the next turn. If call_soon() must not be bypassed, call
 * loop.call_soon(self.method) instead.
 * 0, or -1 with an exception set (RuntimeError on a closed loop). */
AL_NODISCARD int
al_transport_call_soon(TransportObject *self, al_run_fn run,
                       const char *method);

/* Enter the transport's context before a call of its protocol: 0, or -1 with
 * an exception set. Leave it after the call: `rc` is the call's result, whose
 * exception is set if it is -1. -> rc, or -1 with an exception set. */
AL_NODISCARD static inline int
al_transport_enter(TransportObject *self)
{
    return PyContext_Enter(self->context);
}

AL_NODISCARD int
al_transport_leave(TransportObject *self, int rc);

/* Report the exception that is set to the loop's exception handler, together
 * with the transport and its protocol. `message` is stolen; NULL if making it
 * has failed. 0, or -1 with an exception set that ends the run. */
AL_NODISCARD int
al_transport_report(TransportObject *self, PyObject *message);

/* The same with asyncio's message "Exception in callback ..." for the callback
 * object.method(argument), or object.method() if `argument` is NULL. */
AL_NODISCARD int
al_transport_report_callback(TransportObject *self, PyObject *object,
                             const char *method, PyObject *argument);

/* End the connection because of the exception that is set. An OSError is
 * normal and only logged in debug mode; all others are reported.
 * 0, or -1 with an exception set that the caller returns. */
AL_NODISCARD int
al_transport_fatal_error(TransportObject *self, const char *message);

/* A new transport could not start reading; the reason is the exception that is
 * set. An OSError of the kernel or a RuntimeError of the loop is reported, as
 * in asyncio, and the transport goes on, paused. Other exceptions end it. 0,
 * or -1 with an exception set that the caller returns. */
AL_NODISCARD int
al_transport_refuse_start(TransportObject *self);

/* al_transport_fatal_error() with the OSError of `errnum`. EBADF: the
 * descriptor does not name our file any more. */
AL_NODISCARD int
al_transport_fatal_errno(TransportObject *self, int errnum,
                         const char *message);

/* Whether write() takes `data`: bytes, a bytearray or a memoryview. 0, or -1
 * with TypeError set, which says what it `wants`. */
AL_NODISCARD int
al_transport_check_data(TransportObject *self, PyObject *data,
                        const char *wants);

/* The connection is lost. If an exception ended it, set that exception again
 * and return -1, else 0. */
AL_NODISCARD int
al_transport_raise_lost(TransportObject *self);

/* Call pause_writing() if more than the high limit is queued, resume_writing()
 * if at most the low limit is. Their exceptions are reported.
 * 0, or -1 with an exception set that ends the run. */
AL_NODISCARD int
al_transport_maybe_pause(TransportObject *self);
AL_NODISCARD int
al_transport_maybe_resume(TransportObject *self);

/* Schedule connection_lost(exc) for the next turn. The second function first
 * drops the queue. `exc` is borrowed, NULL for None.
 * 0, or -1 with RuntimeError set (closed loop). */
AL_NODISCARD int
al_transport_lose(TransportObject *self, PyObject *exc);
AL_NODISCARD int
al_transport_force_close(TransportObject *self, PyObject *exc);

/* The buffer of AL_RECV_RECORDS bytes that all transports of a loop read small
 * messages and TLS records into, made at the first call. Copy the bytes out of it before any call into
 * Python. -> borrowed, or NULL with MemoryError set. */
AL_NODISCARD char *
al_transport_recv_buffer(al_loop_head *loop);

/* Call connection_lost() now and release everything: an al_run_fn. */
AL_NODISCARD int
al_transport_run_lost(al_loop_head *loop, PyObject *op);

/* logger.debug(*args, exc_info=exc) or another level. `args` is a tuple
 * (stolen; NULL with an exception set: none could be made), `exc` is borrowed,
 * NULL: none. The exceptions are unraisable. */
void
al_transport_log(TransportObject *self, const char *level, PyObject *args,
                 PyObject *exc);

/* logger.debug(format, self), logger.info(format, self),
 * logger.warning(text). */
void
al_transport_debug(TransportObject *self, const char *format);
void
al_transport_info(TransportObject *self, const char *format);
void
al_transport_warn(TransportObject *self, const char *text);

/* Warn about a transport that nobody closed, and release it. */
void
al_transport_finalize(TransportObject *self);

/* tp_traverse and tp_clear, or the last part of a kind's own. */
int
al_transport_traverse(PyObject *op, visitproc visit, void *arg);
int
al_transport_clear(PyObject *op);

/* Methods and attributes, to be listed in the tables of each type. */
AL_METHOD(al_transport_py_abort);
AL_METHOD(al_transport_py_force_close);
AL_METHOD(al_transport_py_call_connection_lost);
AL_METHOD(al_transport_py_is_closing);
AL_METHOD(al_transport_py_get_protocol);
AL_METHOD_KEYWORDS(al_transport_py_set_protocol);
AL_METHOD_KEYWORDS(al_transport_py_get_extra_info);
AL_METHOD(al_transport_py_get_write_buffer_size);
AL_METHOD(al_transport_py_get_write_buffer_limits);
AL_METHOD_KEYWORDS(al_transport_py_set_write_buffer_limits);
extern PyGetSetDef al_transport_getset[];
extern PyMemberDef al_transport_members[];

#define AL_TRANSPORT_MEMBER(name, type, field)                                \
    {name, type, offsetof(TransportObject, field), READONLY, NULL}

#define AL_TRANSPORT_MEMBERS                                                  \
    AL_TRANSPORT_MEMBER("__dictoffset__", T_PYSSIZET, dict),                  \
        AL_TRANSPORT_MEMBER("__weaklistoffset__", T_PYSSIZET, weakrefs),      \
        AL_TRANSPORT_MEMBER("_paused", T_BOOL, is_paused),                    \
        AL_TRANSPORT_MEMBER("_protocol_paused", T_BOOL, flow.is_paused),      \
        AL_TRANSPORT_MEMBER("_high_water", T_PYSSIZET, flow.high),            \
        AL_TRANSPORT_MEMBER("_low_water", T_PYSSIZET, flow.low)

/* Whether the program has replaced the method `name` of asyncio's classes, of
 * which asyncio's transports would inherit `stock`. 1, 0, or -1 with an
 * exception set. */
AL_NODISCARD int
al_transport_is_replaced(PyObject *op, PyObject *name, PyObject *stock);

/* Then call what it has put there. */
AL_NODISCARD PyObject *
al_transport_call_replaced(PyObject *op, PyObject *name, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames);

#endif
