/* loop.h - the whole loop; only loop/ sees it. */
#ifndef AL_LOOP_LOOP_H
#define AL_LOOP_LOOP_H

#include "sched/loop_head.h"

typedef struct {
    al_loop_head head;
    /* A poll is a system call: how many turns may pass without one. */
    uint32_t turns_skipped; /* since the last poll */
    uint32_t turns_to_skip; /* until the next poll */
    uint32_t idle_polls;    /* in a row, without an event before or in them */
    uint32_t events_polled; /* head.events when the last poll was over */
    bool has_found; /* the last poll did, and no turn went without one since */
    uint32_t polls_at_once; /* before the next that waits without the GIL */
    uint64_t last_poll;     /* that of a turn, in al_cycles() */
    uint64_t last_look;     /* that one, or a later one within the turn */
    uint64_t look_after;    /* so many al_cycles() from then on */
    bool looks_within;      /* this turn does, as the last one took long */
    uint64_t last_yield;    /* to others, loop_yield(), in al_cycles() */
} LoopObject;

#define LoopObject_CAST(op) ((LoopObject *)(op))

/* The methods of one topic, entered into the type by loop.c. */
extern PyMethodDef al_loop_run_methods[];
extern PyMethodDef al_loop_sched_methods[];
extern PyMethodDef al_loop_fds_methods[];
extern PyMethodDef al_loop_sock_methods[];
extern PyMethodDef al_loop_net_methods[];
extern PyMethodDef al_loop_pipe_methods[];
extern PyMethodDef al_loop_future_chain_methods[];

/* loop_run.c: close, drop everything. May be called twice. */
void
al_loop_release(LoopObject *self);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_loop_init_type(PyObject *module);

/* future_chain.c: likewise. */
AL_NODISCARD int
al_future_chain_init_type(PyObject *module);

#endif
