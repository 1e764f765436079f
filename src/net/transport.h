/* transport.h - what every transport has in common.
 *
 * Who keeps whom alive: a transport owns its loop (until it is CLOSED), its
 * context, protocol and server. It is owned by its user, and by the loop as
 * long as something will happen to it: by the ready queue until it has begun
 * and again until connection_lost() was called, by its watch's entries while
 * it reads or has bytes to send. One that is paused and has nothing to send
 * is the user's alone; dropped, it warns and closes its descriptor. */
#ifndef AL_NET_TRANSPORT_H
#define AL_NET_TRANSPORT_H

#include "net/descriptor.h"
#include "net/flow.h"
#include "net/protocol.h"
#include "sched/loop_head.h"

/* The slots of asyncio's classes that ours derive from lie in front of our
 * fields. They stay empty (our attributes of the same names come first) unless
 * somebody fills them through asyncio's own descriptors. */
#define AL_TRANSPORT_BASE_SLOTS 5

/* asyncio warns from the fifth write on that goes into the void. */
#define AL_TRANSPORT_LOST_WRITES 5

typedef enum {
    AL_TRANSPORT_OPEN,
    AL_TRANSPORT_CLOSING, /* close() or an error: it will be lost */
    AL_TRANSPORT_CLOSED,  /* connection_lost() was called, all is released */
} al_transport_phase;

typedef struct TransportObject TransportObject;

/* What differs between sockets, datagrams and pipes. */
typedef struct {
    const char *name;        /* of the class */
    const char *read_failed; /* what ends a transport that cannot read */
    /* Have what is received handed to the protocol, if it may be: neither
     * paused nor closing. 0, or -1 with an exception set. */
    int (*start_reading)(TransportObject *self);
    void (*stop_reading)(TransportObject *self);
    /* Bytes queued for sending; entries of the queue. */
    size_t (*pending)(TransportObject *self);
    size_t (*queued)(TransportObject *self);
    /* All is sent. 0, or -1 with an exception set. */
    int (*drained)(TransportObject *self);
    /* No more events, and what is queued for sending is dropped. */
    void (*stop)(TransportObject *self);
    /* Let go of what is watched, and of the descriptor. */
    void (*release)(TransportObject *self);
    /* Extra information that is made when asked for. -> new reference; NULL
     * without an exception: there is none of that name. */
    PyObject *(*make_extra)(TransportObject *self, PyObject *name);
} al_transport_kind;

struct TransportObject {
    PyObject_HEAD
    PyObject *base_slots[AL_TRANSPORT_BASE_SLOTS]; /* owned, or NULL */
    PyObject *dict;                                /* owned, NULL until used */
    PyObject *weakrefs;                            /* borrowed list head */
    al_state *state;                               /* owned until tp_dealloc */
    const al_transport_kind *kind;
    al_loop_head *loop;   /* owned, NULL <=> CLOSED */
    PyObject *context;    /* owned: the protocol is called in it */
    al_protocol protocol; /* empty <=> CLOSED */
    al_descriptor desc;   /* NONE before the start and from CLOSED on */
    PyObject *server;     /* owned, NULL <=> none or detached from it */
    PyObject *extra;      /* owned dict, NULL until needed */
    PyObject *lost_exc;   /* owned: what connection_lost() will get, or NULL */
    al_flow flow;
    al_transport_phase phase;
    PyObject *waiter; /* owned future to wake at the start, NULL <=> none */
    bool is_paused;   /* pause_reading() was called last */
    unsigned lost;    /* > 0 <=> connection_lost() is scheduled or done; counts
                    * the writes since */
};

#define TransportObject_CAST(op) ((TransportObject *)(op))

/* Fill the common fields of a new, zeroed object; `extra` (a dict that the
 * transport goes on to use) may be NULL or None, `context` NULL: a copy of
 * the current one. All borrowed. 0, or -1 with an exception set. */
AL_NODISCARD int
al_transport_init(TransportObject *self, const al_transport_kind *kind,
                  al_loop_head *loop, PyObject *protocol, PyObject *extra,
                  PyObject *context);

/* What getsockname() or getpeername() of a socket object (borrowed) says, None
 * if it raises OSError. -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_transport_ask_socket(PyObject *sock, const char *method);

/* Make the extra information "sockname" and "peername" now, where it may be
 * others later. 0, or -1 with an exception set. */
AL_NODISCARD int
al_transport_learn_addresses(TransportObject *self);

/* Enter the transport into its server (borrowed; NULL or None: it has none).
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

/* Closed, and not lost yet: it may have something left to send. */
static inline bool
al_transport_is_draining(const TransportObject *self)
{
    return self->phase == AL_TRANSPORT_CLOSING && self->lost == 0;
}

/* Whether the descriptor still is the transport's; ask before each use. */
static inline bool
al_transport_is_ours(TransportObject *self)
{
    return al_descriptor_is_ours(&self->desc, self->state);
}

/* Send what the loop holds, before something that others can see.
 * 0, or -1 with an exception to be raised set; anything may have run. */
AL_NODISCARD static inline int
al_transport_send_held(TransportObject *self)
{
    return self->loop == NULL ? 0 : al_loop_send_held(self->loop);
}

/* Queue run(self) for the next turn; where that has to go through
 * loop.call_soon(), self.method().
 * 0, or -1 with an exception set (RuntimeError on a closed loop). */
AL_NODISCARD int
al_transport_call_soon(TransportObject *self, al_run_fn run,
                       const char *method);

/* Enter the transport's context to call its protocol: 0, or -1 with an
 * exception set. Leave it again with the rc of what was done meanwhile (and
 * its exception, if it is -1) -> rc. */
AL_NODISCARD static inline int
al_transport_enter(TransportObject *self)
{
    return PyContext_Enter(self->context);
}

AL_NODISCARD int
al_transport_leave(TransportObject *self, int rc);

/* Hand the exception now set to the loop's exception handler, with the
 * transport and its protocol; `message` is stolen, NULL after a failure.
 * 0, or -1 with an exception set that ends the run. */
AL_NODISCARD int
al_transport_report(TransportObject *self, PyObject *message);

/* The same with asyncio's "Exception in callback ..." for object.method(arg),
 * object.method() if `argument` is NULL. */
AL_NODISCARD int
al_transport_report_callback(TransportObject *self, PyObject *object,
                             const char *method, PyObject *argument);

/* End the connection for the exception now set: an OSError is what connections
 * die of and logged in debug mode only, all others are reported.
 * 0, or -1 with an exception to be raised set. */
AL_NODISCARD int
al_transport_fatal_error(TransportObject *self, const char *message);

/* A transport that was to read as it begins cannot, for the exception now set.
 * What the kernel or the loop has against watching it (OSError, RuntimeError)
 * is reported, as it is by asyncio, and the transport goes on, paused; others
 * end it. 0, or -1 with an exception to be raised set. */
AL_NODISCARD int
al_transport_refuse_start(TransportObject *self);

/* The same as al_transport_fatal_error() for OSError(EBADF): the descriptor is
 * not ours any more. */
AL_NODISCARD int
al_transport_fatal_loss(TransportObject *self, const char *message);

/* Raise once more what a transport that is lost was lost for, if anything: 0, or
 * -1 with it set. */
AL_NODISCARD int
al_transport_raise_lost(TransportObject *self);

/* Call pause_writing() if too much is queued, resume_writing() if little enough
 * is. What they raise is reported.
 * 0, or -1 with an exception set that ends the run. */
AL_NODISCARD int
al_transport_maybe_pause(TransportObject *self);
AL_NODISCARD int
al_transport_maybe_resume(TransportObject *self);

/* Let connection_lost(exc) be called in the next turn, at once or after what
 * is queued is dropped; `exc` is borrowed, NULL for None.
 * 0, or -1 with RuntimeError set (closed loop). */
AL_NODISCARD int
al_transport_lose(TransportObject *self, PyObject *exc);
AL_NODISCARD int
al_transport_force_close(TransportObject *self, PyObject *exc);

/* The buffer that all transports read small messages into, AL_RECV_BUFFER
 * bytes, made at the first call: to be used with no call into Python between
 * the read and the copy. -> borrowed, or NULL with MemoryError set. */
AL_NODISCARD char *
al_transport_recv_buffer(al_state *state);

/* Call connection_lost() now and release everything: an al_run_fn. */
AL_NODISCARD int
al_transport_run_lost(al_loop_head *loop, PyObject *op);

/* logger.debug(format, self), the same with info(), and logger.warning(text);
 * what fails is unraisable. */
void
al_transport_debug(TransportObject *self, const char *format);
void
al_transport_info(TransportObject *self, const char *format);
void
al_transport_warn(TransportObject *self, const char *text);

/* Warn about a transport that nobody closed, and release it. */
void
al_transport_finalize(TransportObject *self);

int
al_transport_traverse(TransportObject *self, visitproc visit, void *arg);
void
al_transport_clear(TransportObject *self);

/* The end of tp_dealloc, when all else is cleared. */
void
al_transport_free(TransportObject *self);

/* Methods and attributes, to be listed in the tables of each type. */
PyObject *
al_transport_py_abort(PyObject *op, PyObject *ignored);
PyObject *
al_transport_py_force_close(PyObject *op, PyObject *exc);
PyObject *
al_transport_py_call_connection_lost(PyObject *op, PyObject *ignored);
PyObject *
al_transport_py_is_closing(PyObject *op, PyObject *ignored);
PyObject *
al_transport_py_get_protocol(PyObject *op, PyObject *ignored);
PyObject *
al_transport_py_set_protocol(PyObject *op, PyObject *const *args,
                             Py_ssize_t nargs, PyObject *kwnames);
PyObject *
al_transport_py_get_extra_info(PyObject *op, PyObject *const *args,
                               Py_ssize_t nargs, PyObject *kwnames);
PyObject *
al_transport_py_get_write_buffer_size(PyObject *op, PyObject *ignored);
PyObject *
al_transport_py_get_write_buffer_limits(PyObject *op, PyObject *ignored);
PyObject *
al_transport_py_set_write_buffer_limits(PyObject *op, PyObject *const *args,
                                        Py_ssize_t nargs, PyObject *kwnames);
extern PyGetSetDef al_transport_getset[];

#define AL_TRANSPORT_MEMBERS                                                  \
    {"__dictoffset__", T_PYSSIZET, offsetof(TransportObject, dict), READONLY, \
     NULL},                                                                   \
    {                                                                         \
        "__weaklistoffset__", T_PYSSIZET,                                     \
            offsetof(TransportObject, weakrefs), READONLY, NULL               \
    }

/* Create a transport type that derives from asyncio's `bases` (borrowed: a
 * class, or a tuple of them whose first has the slots) and store it in the
 * module under its name. -> new reference, or NULL. */
AL_NODISCARD PyTypeObject *
al_transport_add_type(PyObject *module, PyType_Spec *spec, PyObject *bases);

#endif
