/* sock_op.h - one call of a sock_* method: a coroutine without a frame. */
#ifndef AL_LOOP_SOCK_OP_H
#define AL_LOOP_SOCK_OP_H

#include "sched/loop_head.h"

typedef struct SockOpObject SockOpObject;

/* What one method does. Each step returns
 *     a new reference: the result of the call;
 *     NULL with an exception set: its failure;
 *     NULL without one: not yet. Then it waits for op->iterator if the step
 *     has set it, else for the descriptor. */
typedef struct {
    const char *name;
    int event; /* EV_READ or EV_WRITE: which readiness it waits for */
    /* When awaited: look at the arguments, try at once. */
    PyObject *(*begin)(SockOpObject *op);
    /* The descriptor is ready. */
    PyObject *(*retry)(SockOpObject *op);
    /* op->iterator returned `value` (borrowed). NULL <=> sets no iterator. */
    PyObject *(*resolved)(SockOpObject *op, PyObject *value);
} al_sock_call;

struct SockOpObject {
    PyObject_HEAD
    const al_sock_call *call;
    al_loop_head *loop;  /* owned */
    PyObject *sock;      /* owned; NULL <=> over */
    PyObject *argument;  /* owned, what follows the socket; may be NULL */
    PyObject *argument2; /* owned, what follows that; may be NULL */
    Py_buffer buffer;    /* what is sent, held till then; obj NULL <=> none */
    Py_ssize_t size;     /* bytes to receive at most, or sent so far */
    PyObject *future;    /* owned; NULL <=> not waiting for the descriptor */
    PyObject *iterator;  /* owned, what it delegates to; mostly NULL */
    PyObject *weakrefs;  /* the interpreter's list */
    int fd;              /* which is watched while there is a future */
    bool is_started;
    bool is_running;
    bool is_exact; /* exactly a socket.socket: no method is overridden */
};

#define SockOpObject_CAST(op) ((SockOpObject *)(op))

/* Begin nothing yet: args[0] is the socket, args[1] and args[2] (borrowed,
 * each may be NULL) the arguments. -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_sock_op_new(al_loop_head *loop, const al_sock_call *call,
               PyObject *const *args, int nargs);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_sock_op_init_type(PyObject *module);

#endif
