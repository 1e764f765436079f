/* loop_head.h - the part of the loop that lower layers may see.
 *
 * LoopObject (loop/loop.h) begins with it, so a Future can queue its callbacks
 * and a transport can watch a descriptor without knowing the loop. */
#ifndef AL_SCHED_LOOP_HEAD_H
#define AL_SCHED_LOOP_HEAD_H

#include "base/state.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct al_loop_head al_loop_head;
struct al_fdtable; /* io/fdwatch.c */
struct al_reactor; /* io/reactor.h */

/* Runs what was queued. 0, or -1 with an exception set that ends the run:
 * SystemExit, KeyboardInterrupt, or what al_report_exception() could not get
 * rid of. The function itself reports what else user code raises. */
typedef int (*al_run_fn)(al_loop_head *loop, PyObject *object);

/* What waits for its turn: handles, task steps, readable transports ... */
typedef struct {
    al_run_fn run;
    PyObject *object; /* owned */
} al_entry;

/* FIFO of entries: a ring of `capacity` places. */
typedef struct {
    al_entry *ring;  /* owned, NULL while capacity is 0 */
    size_t capacity; /* 0 or a power of two */
    size_t head;
    size_t count;
} al_ready;

typedef struct {
    double when;       /* seconds of loop.time() */
    uint64_t sequence; /* order of arming, for equal deadlines */
    PyObject *handle;  /* owned TimerHandle, NULL <=> cancelled */
} al_deadline;

/* 4-ary heap of deadlines, sorted as long as they come in order. */
typedef struct {
    al_deadline *places; /* owned, NULL while capacity is 0 */
    al_deadline *heap;   /* the first deadline, in one of the places */
    Py_ssize_t capacity; /* in places */
    Py_ssize_t count;
    Py_ssize_t holes; /* entries without a handle, counted in count */
    bool is_sorted;
    uint64_t sequence;
    uint64_t first_nan; /* of the NaNs the least sequence + 1, 0 <=> no NaN */
} al_timers;

/* Public methods that C fast paths bypass, noticed when they are assigned on
 * an instance or defined by a Python subclass (loop/loop.c). */
enum {
    AL_OVERRIDES_CALL_SOON = 1 << 0,
    AL_OVERRIDES_TIME = 1 << 1,
    AL_OVERRIDES_CALL_AT = 1 << 2,
    AL_OVERRIDES_GET_DEBUG = 1 << 3,
    AL_OVERRIDES_CREATE_FUTURE = 1 << 4,
    AL_OVERRIDES_CALL_SOON_THREADSAFE = 1 << 5,
};

struct al_loop_head {
    PyObject_HEAD
    al_state *state; /* owned from tp_new to tp_dealloc */
    al_ready ready;
    al_timers timers;

    /* A task that stepped last and is still what asyncio.current_task() says;
     * owned, NULL <=> none. Whoever runs anything else leaves it first. */
    PyObject *current_task;
    uint64_t tasks_version;                /* task/registry.c */
    int (*leave_task)(al_loop_head *loop); /* task/registry.c, set by loop/ */
    al_run_fn step;                        /* task/task_step.c, likewise */

    /* A transport whose bytes wait for the end of the step that wrote them, or
     * could, and what is called then; object NULL <=> none (net/held.h). */
    al_entry held;
    struct al_habit *held_habit; /* borrowed from held.object */
    uint64_t held_since;         /* in al_cycles() */
    uint64_t held_most; /* in al_cycles(): a step that takes longer is long */
    al_list holder;     /* in state->holders <=> something is held */

    struct al_reactor *reactor; /* owned, NULL <=> closed */
    struct al_fdtable *fdtable; /* owned, NULL <=> none yet */

    PyObject *snapshot; /* owned context, never entered; NULL <=> none yet */
    PyObject *scratch;  /* owned context to run callbacks in, or NULL */

    /* The handle that call_soon() or call_at() returned last while the loop did
     * not run; borrowed from its queue, NULL <=> none (sched/handle.c). */
    PyObject *fresh_handle;
    PyObject *current_handle; /* owned, debug mode only, else NULL */
    PyObject *task_factory;   /* owned, NULL <=> none */
    unsigned long thread_id;  /* 0 <=> not running */
    /* Where a handle of call_soon_threadsafe() ran last: thread_id says nothing
     * in _run_once(). */
    unsigned long handle_thread;
    double clock_resolution; /* seconds */
    uint32_t events;         /* al_loop_note_event(); wraps */
    uint32_t turn;           /* how many were begun; wraps */
    uint64_t steps;          /* how many entries have begun to run */
    uint32_t mixed_polls;    /* so many until it is forgotten that a poll has
                              * found more than one */
    uint32_t budget_turn;    /* io/budget.h: the turn of budget_begin */
    uint64_t budget_begin;   /* when that turn's first reader began */
    uint32_t overrides;      /* AL_OVERRIDES_... */
    uint32_t freeing;        /* handles of ours being freed right now */
    bool is_debug;
    bool is_closed;
    bool is_stopping;
    bool is_in_turn;    /* an entry runs, or is left: `held` will be sent */
    bool holds_writes;  /* Loop(hold_writes=...) */
    bool held_is_trial; /* `held` has sent its bytes already */
    bool looks_within;  /* this turn or the last one polls more than once */
    bool is_blocked; /* in a poll, without the GIL: to be woken after a push */
    /* <=> not closed, not debug, call_soon not overridden: an entry may be
     * pushed without going through loop.call_soon(). */
    bool is_direct;
};

#define al_loop_head_CAST(op) ((al_loop_head *)(op))

/* tp_setattro of Loop (loop/loop.c). Its subclasses inherit it, so it tells
 * whether something is a loop of ours without asking a module state. To one that
 * defines __setattr__ everything is done in the public way. */
int
al_loop_setattro(PyObject *op, PyObject *name, PyObject *value);

static inline bool
al_loop_is_ours(PyObject *op)
{
    return Py_TYPE(op)->tp_setattro == al_loop_setattro;
}

/* To be called after each change of what is_direct depends on. */
static inline void
al_loop_update_direct(al_loop_head *loop)
{
    loop->is_direct = !loop->is_closed && !loop->is_debug &&
                      !(loop->overrides & AL_OVERRIDES_CALL_SOON);
}

/* A descriptor became ready, or something was done to one: sent, closed, to be
 * watched. The next turn does not go without a poll. */
static inline void
al_loop_note_event(al_loop_head *loop)
{
    loop->events++;
}

/* Send what a transport holds, before anything else that others can see. Runs
 * any code if that fails. 0, or -1 with an exception to be raised set. */
static inline int
al_loop_send_held(al_loop_head *loop)
{
    return AL_LIKELY(loop->held.object == NULL)
               ? 0
               : loop->held.run(loop, loop->held.object);
}

/* Nothing runs (or something that is no task does): 0, or -1. */
static inline int
al_loop_leave_task(al_loop_head *loop)
{
    return loop->current_task == NULL ? 0 : loop->leave_task(loop);
}

/* Set RuntimeError("Event loop is closed") and return -1 if it is, else 0. */
static inline int
al_loop_check_closed(al_loop_head *loop)
{
    if (AL_UNLIKELY(loop->is_closed)) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return -1;
    }
    return 0;
}

/* Of one that is not closed: 0, or -1 with RuntimeError set. */
AL_NODISCARD static inline int
al_loop_check_init(al_loop_head *loop)
{
    if (AL_UNLIKELY(loop->reactor == NULL)) {
        PyErr_SetString(PyExc_RuntimeError, "Loop.__init__() was not called");
        return -1;
    }
    return 0;
}

#endif
