/* layout.h - structs that are private to CPython, by version.
 *
 * CPython has no API for these fields. The structs here are those of its
 * releases. At import layout.c compares them with what asyncio writes there,
 * and state->layout tells which of them are right. docs/cpython.md says what
 * happens for those that are not.
 *
 * Our Future and Task keep their state in asyncio's own structs. So asyncio's
 * code, the interpreter's tools and our code work on one state. If
 * state->layout.futures is false, asyncloop.Future and asyncloop.Task are
 * asyncio's classes, and our code does not use these structs. */
#ifndef AL_CPYTHON_LAYOUT_H
#define AL_CPYTHON_LAYOUT_H

#include "base/state.h"

/* The values of al_future.state. */
typedef enum {
    AL_FUTURE_PENDING,
    AL_FUTURE_CANCELLED,
    AL_FUTURE_FINISHED, /* has an exception, or if that is NULL a result */
} al_future_state;

#define AL_TASK_FLAGS_IN_FUTURE (PY_VERSION_HEX >= 0x030D0000)

/* A Future, and the first part of a Task. All objects are owned, and may be
 * NULL. */
typedef struct {
    PyObject_HEAD
    PyObject *loop; /* NULL <=> __init__ has not run */
    /* Its callbacks while it is pending: the first one, and a list of tuples
     * (callback, context) with the others. */
    PyObject *callback0;
    PyObject *context0; /* NULL <=> callback0 is NULL */
    PyObject *callbacks;
    PyObject *exception;
    PyObject *exception_tb; /* until the exception is got, then NULL */
    PyObject *result;
    PyObject *source_tb; /* debug mode only */
    PyObject *cancel_msg;
#if AL_TASK_FLAGS_IN_FUTURE
    PyObject *cancelled_exc; /* until the outcome is got, then NULL */
#    if AL_HAS_AWAITED_BY
    PyObject *awaited_by; /* a task, or a set of tasks */
#    endif
    int state;
#    if AL_HAS_AWAITED_BY
    char is_task;
    char awaited_by_is_set;
#    endif
    unsigned char log_tb : 1;              /* the exception was not got yet */
    unsigned char blocking : 1;            /* _asyncio_future_blocking */
    unsigned char must_cancel : 1;         /* of a Task: see al_task */
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
    PyObject *fut_waiter; /* the future that it waits for */
    PyObject *coro;       /* NULL: its first step ended it, or no __init__ */
    PyObject *name;       /* str; an int is the number of "Task-<number>" */
    PyObject *context;
#if !AL_TASK_FLAGS_IN_FUTURE
    int must_cancel; /* the next step throws CancelledError */
    int log_destroy_pending;
    int cancel_requests;
#elif AL_HAS_AWAITED_BY
    al_list node; /* in the list of tasks of the thread state */
#    if AL_FREE_THREADED
    uintptr_t thread; /* al_thread_id() of the thread with that list */
#    endif
#endif
} al_task;

/* The struct with must_cancel and log_destroy_pending of a task. */
#if AL_TASK_FLAGS_IN_FUTURE
#    define AL_TASK_FLAGS(task) (&(task)->future)
#else
#    define AL_TASK_FLAGS(task) (task)
#endif

#if AL_HAS_AWAITED_BY

/* The fields of a thread state that are asyncio's. */
typedef struct {
    PyObject *loop; /* owned: the running loop, or NULL */
    PyObject *task; /* owned: its current task, or NULL */
#    if PY_VERSION_HEX >= 0x030F0000
    int generator_return_kind; /* not asyncio's */
#    endif
    al_list tasks; /* head of the list of tasks, linked by al_task.node */
} al_thread_tasks;

/* Those of this thread, or NULL if their place is unknown. */
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

/* The number of the next task that is given no name: "Task-<number>". */
static inline uint64_t
al_layout_next_task_number(al_state *state)
{
    return AL_ADD(*state->layout.task_counter, 1);
}

/* The object with the variables of a context, borrowed. Contexts that have the
 * same one have the same variables. */
static inline PyObject *
al_layout_context_vars(const al_state *state, PyObject *context)
{
    return *(PyObject **)((char *)context + state->layout.context_vars);
}

/* Fill state->layout, and get the private functions of _asyncio that we need.
 * All stays unknown if the environment variable ASYNCLOOP_LAYOUT is "unknown".
 * 0, or -1 if an ImportWarning is an error. */
AL_NODISCARD int
al_layout_init(PyObject *module);

/* _core._layout(): a dict for bug reports, with the parts of this CPython that
 * are known. */
PyObject *
al_layout_show(PyObject *module, PyObject *ignored);

#endif
