/* layout.h - the structs of asyncio's C Future and Task, by version of CPython.
 *
 * Our Future and Task keep their state in the fields of asyncio's own, so that
 * asyncio's code, the interpreter's tools and ours work on one state. CPython
 * has no API for these fields. What stands here is what its releases have; at
 * import each field is compared with what asyncio itself writes there
 * (cpython/layout.c). Where that differs, asyncloop.Future and asyncloop.Task
 * are asyncio's classes, and no code of ours touches these structs. */
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

/* Compare these structs with what asyncio's own futures and tasks have:
 * state->layout_is_known. 0, or -1 with an exception set. */
AL_NODISCARD int
al_layout_init(PyObject *module);

/* _core._layout(): a dict that tells, for reports of faults, which private parts
 * of this CPython are known. */
PyObject *
al_layout_show(PyObject *module, PyObject *ignored);

#endif
