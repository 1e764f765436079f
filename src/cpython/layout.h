/* layout.h - what is private to CPython, by version.
 *
 * CPython has no API for some of what we need. What stands here is what its
 * releases have; at import it is compared with what asyncio itself writes there
 * (layout.c), and state->layout says what was found to be so. docs/cpython.md
 * lists what is done where it is not.
 *
 * Our Future and Task keep their state in the fields of asyncio's own, so that
 * asyncio's code, the interpreter's tools and ours work on one state. Where
 * state->layout.futures is false, asyncloop.Future and asyncloop.Task are
 * asyncio's classes, and no code of ours touches these structs. */
#ifndef AL_CPYTHON_LAYOUT_H
#define AL_CPYTHON_LAYOUT_H

#include "base/state.h"

/* What al_future.state says. */
typedef enum {
    AL_FUTURE_PENDING,
    AL_FUTURE_CANCELLED,
    AL_FUTURE_FINISHED, /* has a result, or an exception if that is not NULL */
} al_future_state;

#define AL_TASK_FLAGS_IN_FUTURE (PY_VERSION_HEX >= 0x030D0000)

/* The state of a Future, and the first part of a Task's. Each object is owned
 * and may be NULL. */
typedef struct {
    PyObject_HEAD
    PyObject *loop; /* NULL <=> __init__ has not run */
    /* Those who wait, while it is pending: the first, and a list of tuples
     * (callback, context) of the others. */
    PyObject *callback0;
    PyObject *context0; /* NULL <=> callback0 is NULL */
    PyObject *callbacks;
    PyObject *exception;
    PyObject *exception_tb; /* for the first who asks for the exception */
    PyObject *result;
    PyObject *source_tb; /* debug mode only */
    PyObject *cancel_msg;
#if AL_TASK_FLAGS_IN_FUTURE
    PyObject *cancelled_exc; /* for the first who asks for the result */
#    if AL_HAS_AWAITED_BY
    PyObject *awaited_by; /* a task, or a set of tasks */
#    endif
    int state;
#    if AL_HAS_AWAITED_BY
    char is_task;
    char awaited_by_is_set;
#    endif
    unsigned char log_tb : 1;      /* the exception was not asked for yet */
    unsigned char blocking : 1;    /* _asyncio_future_blocking */
    unsigned char must_cancel : 1; /* of a Task: see there */
    unsigned char log_destroy_pending : 1; /* of a Task */
#else
    int state;
    int log_tb;
    int blocking;
    PyObject *dict;
    PyObject *weakrefs;
    PyObject *cancelled_exc;
#endif
} al_future;

typedef struct {
    al_future future;
#if AL_TASK_FLAGS_IN_FUTURE
    int cancel_requests; /* cancel() minus uncancel() */
#endif
    PyObject *fut_waiter; /* what it waits for */
    PyObject *coro;       /* NULL: an eager start finished it, or no init */
    PyObject *name;       /* str; an int is the number of "Task-<number>" */
    PyObject *context;
#if !AL_TASK_FLAGS_IN_FUTURE
    int must_cancel; /* the next step throws CancelledError */
    int log_destroy_pending;
    int cancel_requests;
#elif AL_HAS_AWAITED_BY
    al_list node; /* in the list of tasks of the thread state */
#endif
} al_task;

/* What has must_cancel and log_destroy_pending of a task. */
#if AL_TASK_FLAGS_IN_FUTURE
#    define AL_TASK_FLAGS(task) (&(task)->future)
#else
#    define AL_TASK_FLAGS(task) (task)
#endif

#if AL_HAS_AWAITED_BY

/* What the thread state has for asyncio. */
typedef struct {
    PyObject *loop; /* owned: the running one, or NULL */
    PyObject *task; /* owned: its current task, or NULL */
#    if PY_VERSION_HEX >= 0x030F0000
    int generator_return_kind; /* not asyncio's */
#    endif
    al_list tasks; /* the head of the list of tasks, by their `node` */
} al_thread_tasks;

/* That of this thread, or NULL where it is not known. */
static inline al_thread_tasks *
al_layout_thread_tasks(const al_state *state)
{
    if (AL_UNLIKELY(state->layout.thread_tasks == 0)) {
        return NULL;
    }
    return (al_thread_tasks *)((char *)PyThreadState_Get() +
                               state->layout.thread_tasks);
}

#endif

/* The number in the name of a task that was given none. */
static inline uint64_t
al_layout_next_task_number(al_state *state)
{
    return ++*state->layout.task_counter;
}

/* The variables of a context: contexts with the same variables share them. */
static inline PyObject *
al_layout_context_vars(const al_state *state, PyObject *context)
{
    return *(PyObject **)((char *)context + state->layout.context_vars);
}

/* Fill state->layout, and fetch what else we need of _asyncio. All of it stays
 * unknown where the environment variable ASYNCLOOP_LAYOUT is "unknown". 0, or -1
 * with an ImportWarning set that is an error. */
AL_NODISCARD int
al_layout_init(PyObject *module);

/* _core._layout(): a dict that tells, for reports of faults, which private parts
 * of this CPython are known. */
PyObject *
al_layout_show(PyObject *module, PyObject *ignored);

#endif
