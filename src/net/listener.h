/* listener.h - a listening socket that makes transports. */
#ifndef AL_NET_LISTENER_H
#define AL_NET_LISTENER_H

#include "sched/loop_head.h"

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
