/* future.h - asyncloop.Future, and the part of a Task that is a Future.
 *
 * Both keep their state in asyncio's own structs (cpython/layout.h), and
 * inherit attributes, repr() and finalisers (type.c). This file declares what
 * has to be fast, and what wakes a task without a handle. */
#ifndef AL_TASK_FUTURE_H
#define AL_TASK_FUTURE_H

#include "cpython/layout.h"
#include "sched/loop_head.h"

static inline al_future *
al_future_of(PyObject *op)
{
    return (al_future *)op;
}

/* Whether `op` is exactly our Future or Task, not an object of a subclass:
 * then C code may work on its state instead of calling its methods. */
static inline bool
al_future_check_exact(const al_state *state, PyObject *op)
{
    return Py_IS_TYPE(op, state->FutureType) ||
           Py_IS_TYPE(op, state->TaskType);
}

static inline bool
al_future_check(const al_state *state, PyObject *op)
{
    return al_future_check_exact(state, op) ||
           (state->FutureType != NULL &&
            PyObject_TypeCheck(op, state->FutureType));
}

/* Call loop.create_future() if it is overridden, else al_future_make().
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_future_new(al_loop_head *loop);

/* What loop.create_future() does. -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_future_make(al_loop_head *loop);

/* The functions below need al_future_check(op), unless they say otherwise. */

static inline bool
al_future_is_done(PyObject *op)
{
    return AL_LOAD(al_future_of(op)->state) != AL_FUTURE_PENDING;
}

/* set_result() and set_exception(). 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_set_result(PyObject *op, PyObject *result);
AL_NODISCARD int
al_future_set_exception(PyObject *op, PyObject *exception);

/* The same, but nothing happens if the future is done (cancelled). `op` is of
 * any type, because create_future() may be overridden. */
AL_NODISCARD int
al_future_resolve(PyObject *op, PyObject *result);
AL_NODISCARD int
al_future_fail(PyObject *op, PyObject *exception);

/* Future.cancel(): 1 if the future was pending, else 0; -1 with an exception
 * set. `message` is borrowed and may be NULL. `exc` is stolen and may be NULL:
 * the CancelledError that a task's coroutine has raised, for those who await
 * it. */
AL_NODISCARD int
al_future_cancel(PyObject *op, PyObject *message, PyObject *exc);

/* The message of the last cancel(). -> new reference to it, or to None. */
static inline PyObject *
al_future_cancel_message(PyObject *op)
{
    PyObject *message;

    AL_LOCK(op);
    message = Py_NewRef(al_or_none(al_future_of(op)->cancel_msg));
    AL_UNLOCK();
    return message;
}

/* The CancelledError to raise: the one that al_future_cancel() was given, for
 * the first caller, then a new one. -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_future_make_cancelled_error(PyObject *op);

/* Get the outcome, which counts as retrieved: 0 and a new reference to the
 * result; 1 and a new reference to the exception to raise; -1 with another
 * exception set (InvalidStateError while the future is pending). */
AL_NODISCARD int
al_future_take(PyObject *op, PyObject **outcome);

/* The step of who awaits a future that is done: its outcome. Sets *result as
 * PyIter_Send() does. */
static inline PySendResult
al_future_step_done(PyObject *op, PyObject **result)
{
    int rc = al_future_take(op, result);

    if (AL_LIKELY(rc == 0)) {
        return PYGEN_RETURN;
    }
    if (rc > 0) {
        PyErr_SetObject((PyObject *)Py_TYPE(*result), *result);
        Py_DECREF(*result);
    }
    *result = NULL;
    return PYGEN_ERROR;
}

/* The same if the future is pending: it is yielded to the task. */
static inline PySendResult
al_future_step_wait(PyObject *op, PyObject **result)
{
    bool was_blocking;

    AL_LOCK(op);
    was_blocking = al_future_of(op)->blocking;
    al_future_of(op)->blocking = true;
    AL_UNLOCK();
    if (AL_UNLIKELY(was_blocking)) {
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        *result = NULL;
        return PYGEN_ERROR;
    }
    *result = Py_NewRef(op);
    return PYGEN_NEXT;
}

/* Have callback(op) called in `context` when the future is done. Both are
 * borrowed. 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_add_callback(PyObject *op, PyObject *callback, PyObject *context);

/* Schedule function(argument) in `context` on the future's loop, which may be
 * of any type. `argument` may be NULL. 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_call_soon(PyObject *op, PyObject *function, PyObject *argument,
                    PyObject *context);

/* Its loop if that is ours, else NULL. Borrowed. */
static inline al_loop_head *
al_future_our_loop(const al_future *self)
{
    return self->loop != NULL && al_loop_is_ours(self->loop)
               ? al_loop_head_CAST(self->loop)
               : NULL;
}

/* The module state, borrowed from the loop or the type; NULL with RuntimeError
 * set if the garbage collector has cleared both. */
static inline al_state *
al_future_state_of(PyObject *op)
{
    al_loop_head *loop = al_future_our_loop(al_future_of(op));

    return AL_LIKELY(loop != NULL) ? loop->state
                                   : al_state_from_type(Py_TYPE(op));
}

/* Its loop if entries may be pushed without loop.call_soon(), else NULL.
 * Borrowed. */
static inline al_loop_head *
al_future_direct_loop(const al_future *self)
{
    al_loop_head *loop = al_future_our_loop(self);

    return loop != NULL && al_loop_may_push(loop) ? loop : NULL;
}

/* Set RuntimeError and return -1 if __init__ has not run, else 0. */
static inline int
al_future_check_init(PyObject *op)
{
    if (AL_UNLIKELY(al_future_of(op)->loop == NULL)) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Future object is not initialized.");
        return -1;
    }
    return 0;
}

/* --- what Task shares --------------------------------------------------- */

/* Call asyncio.Future.__init__(), perhaps not for the first time. 0, or -1
 * with an exception set. */
AL_NODISCARD int
al_future_init(PyObject *op, PyObject *args, PyObject *kwargs,
               al_state *state);

/* __init__(loop=loop): None or NULL means the current event loop. */
AL_NODISCARD int
al_future_init_on(PyObject *op, PyObject *loop, al_state *state);

/* __init__(loop=loop) of a new object on a loop of ours. */
AL_NODISCARD static inline int
al_future_begin(PyObject *op, al_loop_head *loop)
{
    if (AL_UNLIKELY(loop->is_debug ||
                    (loop->overrides & AL_OVERRIDES_GET_DEBUG)))
    {
        return al_future_init_on(op, (PyObject *)loop, loop->state);
    }
    al_future_of(op)->loop = Py_NewRef((PyObject *)loop);
    return 0;
}

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_future_init_type(PyObject *module);

/* --- future_iter.c ------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    PyObject *future; /* owned; NULL: was let go of at the end */
    PyObject *task;   /* owned: the task that waits; NULL <=> none */
    bool is_ended;    /* closed, or (before 3.14) exhausted */
#if !AL_FREE_THREADED
    al_state *module_state; /* owned: for its free list */
#endif
} al_future_iter;

/* future.__await__(). -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_future_iter_new(PyObject *op);

/* Have `task` woken when `op` is done, a future of ours that it awaits. The
 * callback is the iterator that has yielded the future, if that was the last
 * one to yield: so waiting costs no memory. 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_iter_wait(PyObject *op, PyObject *task, al_state *state);

/* The task that `callback` wakes if it is such an iterator, else NULL.
 * Borrowed. */
static inline PyObject *
al_future_iter_task(PyObject *callback, const al_state *state)
{
    return Py_IS_TYPE(callback, state->FutureIterType)
               ? ((al_future_iter *)callback)->task
               : NULL;
}

AL_NODISCARD int
al_future_iter_init_type(PyObject *module);

#endif
