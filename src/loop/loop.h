/* loop.h - the whole loop; only loop/ sees it. */
#ifndef AL_LOOP_LOOP_H
#define AL_LOOP_LOOP_H

#include "sched/loop_head.h"

typedef struct {
    al_loop_head head;
    /* How many turns go without a poll: loop_run.c. */
    uint32_t turns_skipped; /* since the last poll */
    uint32_t turns_to_skip; /* the most before the next poll */
    uint32_t idle_polls;    /* polls in a row without any event */
    uint32_t events_polled; /* head.events when the last poll was over */
    bool has_found; /* the last poll found something: skip the next one */
    uint32_t polls_at_once; /* looks that are left before a wait comes first */
    uint64_t last_poll;     /* al_cycles() of the last poll before a turn */
    uint64_t last_look;     /* the same, or of a later poll within the turn */
    uint64_t look_after;    /* al_cycles() from last_look to the next look */
    bool looks_within;      /* this turn polls within: the last one was long */
    uint64_t last_yield;    /* al_cycles() of the last loop_yield() or wait */
} LoopObject;

#define LoopObject_CAST(op) ((LoopObject *)(op))

/* future_chain.c */
typedef struct {
    PyObject_HEAD
    PyObject *job;    /* owned, exactly a concurrent.futures.Future */
    PyObject *future; /* owned, exactly a Future of ours */
} FutureChainObject;

#define FutureChainObject_CAST(op) ((FutureChainObject *)(op))

/* The methods of one file each; loop.c adds them to the type. */
extern PyMethodDef al_loop_run_methods[];
extern PyMethodDef al_loop_sched_methods[];
extern PyMethodDef al_loop_fds_methods[];
extern PyMethodDef al_loop_sock_methods[];
extern PyMethodDef al_loop_net_methods[];
extern PyMethodDef al_loop_pipe_methods[];
extern PyMethodDef al_loop_future_chain_methods[];

/* loop_run.c: close the loop and drop everything. May be called twice. */
void
al_loop_release(LoopObject *self);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_loop_init_type(PyObject *module);

/* future_chain.c: the same. */
AL_NODISCARD int
al_future_chain_init_type(PyObject *module);

#endif
