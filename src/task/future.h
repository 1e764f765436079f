/* future.h - asyncloop.Future, and the part of a Task that is a Future.
 *
 * Both keep their state in the fields of asyncio's own classes (task/type.c) and
 * inherit what is not here: attributes, repr(), finalisers. What is here is what
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

/* Whether `op` is exactly our Future or Task, whose methods nobody has
 * overridden: C code may work on its state. */
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

/* What loop.create_future() makes, through an override of it if there is one.
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_future_new(al_loop_head *loop);

/* The body of loop.create_future(). -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_future_make(al_loop_head *loop);

/* The following take any future of ours (al_future_check). */

static inline bool
al_future_is_done(PyObject *op)
{
    return al_future_of(op)->state != AL_FUTURE_PENDING;
}

/* Whether it is done and has neither a result nor was cancelled. */
static inline bool
al_future_has_failed(const al_future *self)
{
    return self->state == AL_FUTURE_FINISHED && self->exception != NULL;
}

/* As `await` does before it yields the future. */
static inline void
al_future_set_blocking(PyObject *op)
{
    al_future_of(op)->blocking = true;
}

/* set_result() and set_exception().
 * 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_set_result(PyObject *op, PyObject *result);
AL_NODISCARD int
al_future_set_exception(PyObject *op, PyObject *exception);

/* The same for a future that may be done (cancelled) already: then nothing
 * happens. Works for foreign futures that create_future() made, too. */
AL_NODISCARD int
al_future_resolve(PyObject *op, PyObject *result);
AL_NODISCARD int
al_future_fail(PyObject *op, PyObject *exception);

/* Cancel as Future.cancel() does: 1 if it was pending, else 0; -1 with an
 * exception set. `message` is borrowed and may be NULL; `exc` is stolen: the
 * CancelledError that a task's coroutine has raised, for who awaits the task, or
 * NULL. */
AL_NODISCARD int
al_future_cancel(PyObject *op, PyObject *message, PyObject *exc);

/* The message of the last cancel(). -> new reference, None for none. */
static inline PyObject *
al_future_cancel_msg(PyObject *op)
{
    PyObject *message = al_future_of(op)->cancel_msg;

    return Py_NewRef(al_or_none(message));
}

/* Replace it; `message` is borrowed. */
static inline void
al_future_set_cancel_message(PyObject *op, PyObject *message)
{
    Py_XSETREF(al_future_of(op)->cancel_msg, Py_NewRef(message));
}

/* The CancelledError to raise, once. -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_future_make_cancelled_error(PyObject *op);

/* Take the outcome: 0 and a new reference to the result; 1 and a new reference
 * to the exception to be raised, with its traceback; -1 with another exception
 * set (InvalidStateError while pending). Counts as retrieved. */
AL_NODISCARD int
al_future_take(PyObject *op, PyObject **outcome);

/* Let callback(op) be called in `context` when done (both borrowed).
 * 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_add_callback(PyObject *op, PyObject *callback, PyObject *context);

/* Schedule function(argument) in `context` on the future's loop, whosever it
 * is. `argument` may be NULL. 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_call_soon(PyObject *op, PyObject *function, PyObject *argument,
                    PyObject *context);

/* Its loop if that is one of ours, else NULL. Borrowed. */
static inline al_loop_head *
al_future_our_loop(const al_future *self)
{
    return self->loop != NULL && al_loop_is_ours(self->loop)
               ? al_loop_head_CAST(self->loop)
               : NULL;
}

/* The module state, borrowed from the loop or the type; NULL with RuntimeError
 * set if neither has it any more. */
static inline al_state *
al_future_state_of(PyObject *op)
{
    al_loop_head *loop = al_future_our_loop(al_future_of(op));

    return AL_LIKELY(loop != NULL) ? loop->state
                                   : al_state_from_type(Py_TYPE(op));
}

/* Its loop if that takes an entry without going through call_soon(), else
 * NULL. Borrowed. */
static inline al_loop_head *
al_future_direct_loop(const al_future *self)
{
    al_loop_head *loop = al_future_our_loop(self);

    return AL_LIKELY(loop != NULL && loop->is_direct) ? loop : NULL;
}

/* Set RuntimeError and return -1 where __init__ has not run, else 0. */
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

/* __init__(), perhaps again: asyncio's own. 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_init(PyObject *op, PyObject *args, PyObject *kwargs,
               al_state *state);

/* __init__(loop=loop): None or NULL means the current event loop. */
AL_NODISCARD int
al_future_init_on(PyObject *op, PyObject *loop, al_state *state);

/* The same for a new object, on a loop of ours. */
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
    PyObject *future; /* owned; NULL <=> closed, or exhausted (before 3.14) */
    PyObject *task;   /* owned: what a call wakes; NULL <=> nothing */
    al_state *module_state; /* owned: the future may be gone */
} al_future_iter;

/* What `await op` iterates. -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_future_iter_new(PyObject *op);

/* Have `task` woken when op, a future of ours that it awaits, is done. The
 * iterator that has yielded op is the callback, if it is at hand: so waiting
 * costs no memory. 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_iter_wait(PyObject *op, PyObject *task, al_state *state);

/* If `callback` is such a callback, the task that it wakes: borrowed, else
 * NULL. */
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
