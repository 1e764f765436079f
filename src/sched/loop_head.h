/* loop_head.h - the fields of the loop that lower layers need.
 *
 * LoopObject (loop/loop.h) begins with al_loop_head.  So a Future can queue
 * its callbacks and a transport can watch a descriptor without including
 * loop.h. */
#ifndef AL_SCHED_LOOP_HEAD_H
#define AL_SCHED_LOOP_HEAD_H

#include "sched/metrics.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct al_loop_head al_loop_head;
struct al_fdtable; /* io/fdwatch.c */
struct al_reactor; /* io/reactor.h */

/* The run function of an entry. 0, or -1 with an exception set that ends the
 * run: SystemExit, KeyboardInterrupt, or one that al_report_exception()
 * returned. The function itself reports all other exceptions of user code. */
typedef int (*al_run_fn)(al_loop_head *loop, PyObject *object);

/* An entry: a handle, a task step, a readable transport, ... */
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
} al_queue;

typedef struct {
    double when;       /* seconds of loop.time() */
    uint64_t sequence; /* order of arming, for equal deadlines */
    PyObject *handle;  /* owned TimerHandle, NULL <=> cancelled */
} al_deadline;

/* 4-ary heap of deadlines; a sorted array as long as they come in order. */
typedef struct {
    al_deadline *places; /* owned, NULL while capacity is 0 */
    al_deadline *heap;   /* the first deadline, in one of the places */
    Py_ssize_t capacity; /* in places */
    Py_ssize_t count;
    Py_ssize_t holes; /* deadlines without a handle; `count` includes them */
    bool is_sorted;
    uint64_t sequence;  /* of the next deadline */
    uint64_t first_nan; /* sequence + 1 of the oldest deadline that is NaN; 0:
                         * none */
} al_timers;

/* Public methods that the fast paths in C do not call. A flag is set when the
 * program assigns the method on an instance or overrides it in a subclass
 * (loop/loop.c). */
enum {
    AL_OVERRIDES_CALL_SOON = 1 << 0,
    AL_OVERRIDES_TIME = 1 << 1,
    AL_OVERRIDES_CALL_AT = 1 << 2,
    AL_OVERRIDES_GET_DEBUG = 1 << 3,
    AL_OVERRIDES_CREATE_FUTURE = 1 << 4,
    AL_OVERRIDES_CALL_SOON_THREADSAFE = 1 << 5,
    /* Handles have to be asyncio's own: asyncio.Handle is changed, or one of
     * the private methods that make them is overridden. */
    AL_OVERRIDES_HANDLES = 1 << 6,
    AL_OVERRIDES_CALL_LATER = 1 << 7,
    AL_OVERRIDES_CREATE_TASK = 1 << 8,
};

#if AL_FREE_THREADED
/* Entries of other threads than the owner: sched/inbox.h. */
typedef struct {
    PyMutex mutex; /* for the other fields, and for loop->is_blocked */
    al_queue queue;
} al_inbox;
#endif

#define AL_SLOW_NEVER UINT64_MAX

struct al_loop_head {
    PyObject_HEAD
    al_state *state; /* owned from tp_new to tp_dealloc */
    al_queue ready;
#if AL_FREE_THREADED
    uintptr_t owner; /* al_thread_id() of the thread in a run; 0: none */
    al_inbox inbox;
    void (*wake)(al_loop_head *loop); /* io/reactor.c, set by loop/ */
#endif
    al_timers timers;

    /* The task that stepped last, if asyncio.current_task() still returns it;
     * owned, NULL <=> none. It has to be left before anything else runs. */
    PyObject *current_task;
    uint64_t tasks_version;                /* task/registry.c */
    int (*leave_task)(al_loop_head *loop); /* task/registry.c, set by loop/ */
    al_run_fn step;                        /* task/task_step.c, likewise */
    /* loop/loop_patches.c, likewise: must_look is set. Look for patches; then
     * whether C code may push an entry. */
    bool (*may_push)(al_loop_head *loop);

    /* The transport whose bytes are held until the end of the step that wrote
     * them, or that is on trial, and the function that sends them; object NULL
     * <=> none (net/held.h). */
    al_entry held;
    struct al_habit *held_habit; /* borrowed from held.object */
    uint64_t held_since; /* al_cycles() when the holding or trial began */
    uint64_t held_most;  /* al_cycles() that a short step may take */

    char *recv_buffer;     /* owned: al_transport_recv_buffer() */
    char *datagram_buffer; /* owned: net/dgram_read.c (1) */

    struct al_reactor *reactor; /* owned, NULL <=> closed */
    struct al_fdtable *fdtable; /* owned, NULL <=> none yet */

    PyObject *yielded;  /* owned iterator: task/future_iter.c; or NULL */
    PyObject *snapshot; /* owned context, never entered; NULL <=> none yet */
    PyObject *scratch;  /* owned context to run callbacks in, or NULL */

    /* The handle that the last call_soon() or call_at() returned while the
     * loop did not run; borrowed from its queue, NULL <=> none
     * (sched/handle.c). */
    PyObject *newest_handle;
    PyObject *current_handle; /* owned, debug mode only, else NULL */
    PyObject *profiles;       /* owned list, NULL <=> none (sched/profile.h) */
    uint64_t slow_cycles;   /* a step that takes longer is logged, also outside
                           * of debug mode; AL_SLOW_NEVER: none */
    PyObject *task_factory; /* owned, NULL <=> none */
    PyObject *kept_tasks;   /* owned set, NULL <=> Loop(keep_tasks=False) */
    unsigned long thread_id; /* 0 <=> not running */
    /* The thread that last ran a handle of call_soon_threadsafe(). thread_id
     * is not set in _run_once(). */
    unsigned long handle_thread;
    double clock_resolution; /* seconds */
    uint32_t events;         /* counted by al_loop_note_event(); wraps */
    uint64_t turn;           /* number of this turn */
    uint64_t steps;          /* how many entries have begun to run */
    uint32_t mixed_polls;    /* > 0: one of the last polls has found more than
                              * one descriptor; counts down to 0 */
    uint64_t budget_turn;    /* io/budget.h: the turn of budget_begin */
    uint64_t budget_begin;   /* al_cycles() when its first reader began */
    uint32_t overrides;      /* AL_OVERRIDES_... */
    uint32_t freeing;        /* how many handles are being freed recursively */
    bool is_debug;
    bool times_steps; /* al_profile_update() */
    bool is_closed;
    bool is_stopping;
    bool is_in_turn; /* entries run now: `held` will be sent after the step */
    bool holds_writes; /* Loop(hold_writes=...) */
    bool
        held_is_trial; /* the bytes of `held` are sent; only the time counts */
    bool looks_within; /* this turn or the last one polls more than once */
    bool is_blocked;   /* waits without the GIL: a push has to wake it up */
    bool is_waiting;   /* a thread waits in a poll, woken or not */
    bool is_patched;   /* turns are asyncio's own (loop/loop_patches.c) */
    /* <=> running, not closed, not debug, not patched, call_soon() not
     * overridden: C code may push an entry instead of calling it. */
    bool is_direct;
    /* <=> the same, but not running: look for patches first, as the turns of a
     * loop that runs do. */
    bool must_look;

    al_metrics metrics; /* last: it is large */
};

#define al_loop_head_CAST(op) ((al_loop_head *)(op))

/* tp_setattro of Loop (loop/loop.c). Subclasses inherit it, so it identifies
 * our loops without a module state. A subclass that defines __setattr__ has
 * another one: for it we use the public methods only. */
int
al_loop_setattro(PyObject *op, PyObject *name, PyObject *value);

static inline bool
al_loop_is_ours(PyObject *op)
{
    return Py_TYPE(op)->tp_setattro == al_loop_setattro;
}

/* Whether this thread may touch what is the owner's: base/threads.h (1). */
static inline bool
al_loop_is_mine(const al_loop_head *loop)
{
#if AL_FREE_THREADED
    return AL_LOAD(loop->owner) == al_thread_id();
#else
    (void)loop;
    return true;
#endif
}

/* Whether another thread is in a run of the loop, also one of _run_once(). With
 * a GIL: in its poll, where two threads would use the same set; elsewhere in a
 * run they take turns. */
static inline bool
al_loop_runs_elsewhere(const al_loop_head *loop)
{
#if AL_FREE_THREADED
    return AL_LOAD(loop->owner) != 0 && !al_loop_is_mine(loop);
#else
    return loop->is_waiting;
#endif
}

/* What a method of a loop locks. */
static inline PyObject *
al_loop_lock(PyObject *op)
{
    return op;
}

/* Call this after each change of is_closed, is_debug, is_patched, overrides or
 * thread_id. */
static inline void
al_loop_update_direct(al_loop_head *loop)
{
    bool is_plain =
        !loop->is_closed && !loop->is_debug && !loop->is_patched &&
        !(loop->overrides & (AL_OVERRIDES_CALL_SOON | AL_OVERRIDES_HANDLES));

    AL_STORE(loop->is_direct, is_plain && loop->thread_id != 0);
    AL_STORE(loop->must_look, is_plain && loop->thread_id == 0);
}

/* Whether C code may push an entry instead of calling loop.call_soon(). If the
 * loop does not run, this may run code of a program that has replaced a method
 * of the loop. */
static inline bool
al_loop_may_push(al_loop_head *loop)
{
    return AL_LIKELY(AL_LOAD(loop->is_direct)) ||
           (AL_LOAD(loop->must_look) && loop->may_push(loop));
}

/* A descriptor became ready, or the loop has sent to it, closed it or begun to
 * watch it. So the next turn must not skip its poll. */
static inline void
al_loop_note_event(al_loop_head *loop)
{
    loop->events++;
}

/* Send the bytes that a transport holds. Call this before any other action
 * that the outside can see. May run any code if sending fails. 0, or -1 with
 * an exception set that the caller returns. */
static inline int
al_loop_send_held(al_loop_head *loop)
{
    return AL_LIKELY(loop->held.object == NULL)
               ? 0
               : loop->held.run(loop, loop->held.object);
}

/* Leave the current task: no task is current any more. 0, or -1 with an
 * exception set. */
static inline int
al_loop_leave_task(al_loop_head *loop)
{
    return loop->current_task == NULL ? 0 : loop->leave_task(loop);
}

/* Set RuntimeError("Event loop is closed") and return -1 if it is, else 0. */
static inline int
al_loop_check_closed(al_loop_head *loop)
{
    if (AL_UNLIKELY(AL_LOAD(loop->is_closed))) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return -1;
    }
    return 0;
}

/* Set RuntimeError and return -1 if Loop.__init__() was not called, else 0.
 * The loop is not closed. */
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
