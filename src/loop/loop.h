/* loop.h - the whole loop; only loop/ sees it. */
#ifndef AL_LOOP_LOOP_H
#define AL_LOOP_LOOP_H

#include "base/cycles.h"
#include "sched/ready.h"

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

    /* What the program has replaced: loop_patches.c. Each tag is the
     * tp_version_tag of a type when it was looked at, or what stands in for
     * one, or AL_LOOP_LOOK. */
    uint64_t seen_tag;  /* of the loop's type, as of the last look */
    uint64_t found_tag; /* the same, as of the last search for patches */
    uint64_t
        last_search;     /* al_cycles() when names in modules were looked up */
    uint64_t last_codes; /* the same, when code of functions was compared */
    uint64_t seen_handles; /* of asyncio.TimerHandle, as of that search */
    const unsigned int *handles_tag; /* its tag now; borrowed from the state */
    unsigned int patches;            /* AL_PATCHES_..., what it has found */
    bool found_replaced;         /* and whether PLACES or CODES had changed */
    uint32_t instance_overrides; /* AL_OVERRIDES_..., set on the instance */

    /* The queues that the program has got: loop_queues.c. */
    PyObject *ready; /* owned: what it has put in the place of loop._ready,
                      * NULL <=> nothing */
    PyObject *ready_aside; /* owned list: the handles that were queued then, if
                            * the program has a view of the queue, or NULL */
    uint32_t views;        /* how many views there are */
    PyObject *scheduled;   /* owned list: has all timers, NULL <=> the heap has
                          * them */
    uint32_t timers_out;   /* turns until the heap may have them again */
    uint32_t timers_rest;  /* what timers_out begins with the next time */
} LoopObject;

#define LoopObject_CAST(op) ((LoopObject *)(op))

/* No tag of a type: look again. */
#define AL_LOOP_LOOK UINT64_MAX

/* What find() of asyncloop/_patches.py returns: flags. */
enum {
    AL_PATCHES_HANDLES = 1 << 0,  /* handles have to be asyncio's own */
    AL_PATCHES_TURNS = 1 << 1,    /* turns have to be asyncio's own */
    AL_PATCHES_RUN_ONCE = 1 << 2, /* loop._run_once() is overridden */
};

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
extern PyMethodDef al_loop_queues_methods[];
extern PyMethodDef al_loop_patches_methods[];
extern PyMethodDef al_loop_select_methods[];
extern PyMethodDef al_loop_metrics_methods[];

/* loop.c: find out which methods `type` and the instance override. 0, or -1
 * with an exception set. */
AL_NODISCARD int
al_loop_find_overrides(LoopObject *self);

/* loop_patches.c: whether al_loop_look() has to be called: before each turn,
 * and outside of a run before C code relies on what it has found. */
static inline bool
al_loop_must_look(const LoopObject *self)
{
    uint64_t tag = AL_LOAD(Py_TYPE(self)->tp_version_tag);
    uint64_t handles_tag = AL_LOAD(*self->handles_tag);

    return AL_UNLIKELY(AL_LOAD(self->seen_tag) != tag ||
                       AL_LOAD(self->seen_handles) != handles_tag);
}

/* Find out what the program has replaced. 0, or -1 with an exception set. */
AL_NODISCARD int
al_loop_look(LoopObject *self);

/* Look before the next turn: at the queues, or for all patches. */
void
al_loop_look_soon(LoopObject *self);
void
al_loop_search_soon(LoopObject *self);

/* thread_id is set, so a run begins: look, also for patches that change no
 * class. 0, or -1 with an exception set. */
AL_NODISCARD int
al_loop_look_for_run(LoopObject *self);

/* Look for patches that change no class, at al_cycles() `now`. 0, or -1 with an
 * exception set. */
AL_NODISCARD int
al_loop_look_within_run(LoopObject *self, uint64_t now);

/* The same before a poll. Polls may be less than a microsecond apart: so look
 * once in al_cycles_budget(), some ten microseconds. */
AL_NODISCARD static inline int
al_loop_look_at_poll(LoopObject *self, uint64_t now)
{
    return AL_LIKELY(now - self->last_codes <= al_cycles_budget())
               ? 0
               : al_loop_look_within_run(self, now);
}

/* The loop does not run: whether something was replaced since the last look. Of
 * what changes no class only if `all`, as that takes longer than call_soon(). */
bool
al_loop_is_stale(LoopObject *self, bool all);

/* A new loop is made. 0, or -1 with an exception set. */
AL_NODISCARD int
al_loop_patches_init(LoopObject *self);

/* al_loop_head.may_push. */
bool
al_loop_look_before_push(al_loop_head *head);

/* Call a method of BaseEventLoop for which the loop has one of its own, with
 * the arguments of a METH_FASTCALL | METH_KEYWORDS method.
 * -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_loop_call_base(al_loop_head *head, PyObject *name, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames);

/* loop_queues.c: the attributes _ready and _scheduled. */
PyObject *AL_LOCKED(al_loop_get_ready)(PyObject *op, void *closure);
int AL_LOCKED(al_loop_set_ready)(PyObject *op, PyObject *value, void *closure);
PyObject *AL_LOCKED(al_loop_get_scheduled)(PyObject *op, void *closure);
int AL_LOCKED(al_loop_set_scheduled)(PyObject *op, PyObject *value,
                                     void *closure);

/* Whether the program has one of the queues. */
static inline bool
al_loop_has_given_queues(const LoopObject *self)
{
    return self->ready != NULL || self->scheduled != NULL;
}

/* An entry was pushed, a timer was armed: put it into the queue that the
 * program has, if it has one. The caller has locked the loop. Without
 * `with_timers` any thread may call it: to sort the list of timers calls
 * Python code, meanwhile the thread that runs the loop may change the list. 0,
 * or -1 with an exception set. */
AL_NODISCARD int
al_loop_hand_on(LoopObject *self, bool with_timers);

/* Take queues back that the program has no more. 0, or -1 with an exception
 * set. */
AL_NODISCARD int
al_loop_take_back(LoopObject *self);

/* The end of the loop: drop them. May run any code. */
void
al_loop_drop_queues(LoopObject *self);

/* loop_run.c: 0, or -1 with RuntimeError set: the loop is closed, or was not
 * initialised. */
AL_NODISCARD int
al_loop_check_open(LoopObject *self);

/* A run, which may be within a run: what was before it. */
typedef struct {
    al_run run;
    PyObject *task;    /* owned: whose step has begun it, or NULL */
    bool is_outermost; /* it is not within a run of the same loop */
} al_loop_run;

/* The beginning: 0, or -1 with an exception set. The end, with the result of
 * the run: leave the current task. It keeps the exception that is set. */
AL_NODISCARD int
al_loop_begin_run(LoopObject *self, al_loop_run *run);
int
al_loop_end_run(LoopObject *self, int rc, al_loop_run *run);

/* Queue what other threads have left in the inbox. 0, or -1 with MemoryError
 * set. */
AL_NODISCARD int
al_loop_collect(LoopObject *self);

/* Poll without waiting: 0, or -1 with OSError set. */
AL_NODISCARD int
al_loop_look_now(LoopObject *self);

/* Wait until the monotonic clock shows `until`, or for less. 0, or -1 with an
 * exception set. */
AL_NODISCARD int
al_loop_wait(LoopObject *self, double until);

/* Close the loop and drop everything. May be called twice. */
void
al_loop_release(LoopObject *self);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_loop_init_type(PyObject *module);

/* future_chain.c: the same. */
AL_NODISCARD int
al_future_chain_init_type(PyObject *module);

#endif
