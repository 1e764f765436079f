/* sock_op.h - one call of a sock_* method: a coroutine without a frame. */
#ifndef AL_LOOP_SOCK_OP_H
#define AL_LOOP_SOCK_OP_H

#include "sched/loop_head.h"

typedef struct SockOpObject SockOpObject;

/* The functions of one method. Each returns
 *     a new reference: the result of the call;
 *     NULL with an exception set: the call has failed;
 *     NULL without an exception: wait for op->iterator if the function has set
 *     it, else for the descriptor. */
typedef struct {
    const char *name;
    int event; /* EV_READ or EV_WRITE: the readiness that it waits for */
    /* The call is awaited: check the arguments and make the system call. */
    PyObject *(*begin)(SockOpObject *op);
    /* The descriptor is ready: make the system call again. */
    PyObject *(*retry)(SockOpObject *op);
    /* op->iterator has returned `value` (borrowed). NULL <=> the method never
     * sets op->iterator. */
    PyObject *(*resolved)(SockOpObject *op, PyObject *value);
} al_sock_call;

struct SockOpObject {
    PyObject_HEAD
    const al_sock_call *call;
    al_loop_head *loop;  /* owned */
    PyObject *sock;      /* owned; NULL <=> the call is over */
    PyObject *argument;  /* owned: the argument after the socket, or NULL */
    PyObject *argument2; /* owned: the argument after that, or NULL */
    Py_buffer buffer;    /* the bytes to send; obj NULL <=> none */
    Py_ssize_t size;     /* the most bytes to receive; or bytes sent so far */
    PyObject *future;    /* owned; NULL <=> not waiting for the descriptor */
    PyObject *iterator;  /* owned: it waits for this (yield from), or NULL */
    PyObject *weakrefs;  /* the interpreter's list */
    int fd;              /* watched while there is a future */
    bool is_started;
    bool is_running;
    bool is_exact; /* exactly a socket.socket: no method is overridden */
};

#define SockOpObject_CAST(op) ((SockOpObject *)(op))

/* Make an operation, which begins when it is awaited. args[0] is the socket,
 * args[1] and args[2] are its arguments (all borrowed, the last two may be
 * NULL).
 * -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_sock_op_new(al_loop_head *loop, const al_sock_call *call,
               PyObject *const *args, int nargs);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_sock_op_init_type(PyObject *module);

#endif
