/* listener.h - a listening socket that makes transports. */
#ifndef AL_NET_LISTENER_H
#define AL_NET_LISTENER_H

#include "net/descriptor.h"

typedef struct {
    PyObject_HEAD
    al_loop_head *loop; /* owned */
    PyObject *factory;  /* owned */
    PyObject *server;   /* owned, NULL <=> none */
    PyObject *context;  /* owned: each connection gets a copy */
    al_descriptor desc; /* of the listening socket */
    int backlog;        /* the most connections to accept in one turn */
    int expected;       /* how many the next turn tries to accept */
    int family;         /* of the socket, and so of its connections */
    int type;
    int proto;
} ListenerObject;

#define ListenerObject_CAST(op) ((ListenerObject *)(op))

/* The arguments for a new listener; all borrowed. */
typedef struct {
    PyObject *factory; /* called without arguments for each connection */
    PyObject *sock;    /* listening, non-blocking */
    PyObject *server;  /* or NULL, None */
    PyObject *context; /* or NULL, None: a copy of the current one */
    int backlog;       /* the most connections to accept in one turn */
} al_listener_parts;

/* Accept connections until al_listener_stop(). The loop's watch of the
 * descriptor owns the listener. 0, or -1 with an exception set. */
AL_NODISCARD int
al_listener_start(al_loop_head *loop, const al_listener_parts *parts);

/* Stop accepting on a socket object, and close it.
 * 0, or -1 with an exception set. */
AL_NODISCARD int
al_listener_stop(al_loop_head *loop, PyObject *sock);

/* The descriptor of a socket object: >= 0, or -1 with an exception set
 * (ValueError if the socket is closed). */
AL_NODISCARD int
al_listener_fileno(al_state *state, PyObject *sock);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_listener_init_type(PyObject *module);

#endif
