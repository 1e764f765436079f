/* future.h - asyncloop.Future, and the part of a Task that is a Future.
 *
 * Both are subclasses of asyncio's C classes, so that isinstance() holds, with
 * a state of their own behind the base's:
 *
 *     Future --> | _asyncio.Future | al_future |
 *     Task ----> | _asyncio.Task           | al_future, first in al_task |
 *
 * al_future_of(op) steps from the object to its state, wherever that lies, so
 * every function here takes either. */
#ifndef AL_TASK_FUTURE_H
#define AL_TASK_FUTURE_H

#include "sched/loop_head.h"

typedef enum {
    AL_FUTURE_PENDING,
    AL_FUTURE_CANCELLED,
    AL_FUTURE_FINISHED, /* has a result */
    AL_FUTURE_FAILED,   /* has an exception; FINISHED to Python */
} al_future_state;

/* Two slots hold those who wait, and afterwards what they waited for. The
 * state says which member of each union is valid:
 *
 *                                 first slot                  second slot
 *     PENDING, nobody waits       waiter: NULL                context: NULL
 *              one Task           waiter: the Task            context: NULL
 *              one callback       waiter: the callable        context: its
 *              several            waiter: list of them (*)    context: NULL
 *     FINISHED                    outcome: the result         NULL
 *     FAILED                      outcome: the exception      traceback (**)
 *     CANCELLED                   outcome: CancelledError(**) NULL
 *
 * (*) each a Task or a tuple (callback, context). A Task that waits as itself
 * is one of ours, on the same loop.
 * (**) for the first who asks; NULL if there is none, or none any more. */
typedef struct {
    PyObject *loop; /* owned, NULL <=> __init__ has not run */
    union {
        PyObject *waiter;  /* owned or NULL; PENDING only */
        PyObject *outcome; /* owned or NULL; never PENDING */
    };
    union {
        PyObject *context;   /* owned or NULL; PENDING only */
        PyObject *traceback; /* owned or NULL; FAILED only */
    };
    PyObject *source_traceback; /* owned list, debug mode only, else NULL */
    al_state *module_state;     /* owned from tp_new to tp_dealloc */
    uint8_t state;              /* al_future_state */
    bool is_ours;               /* loop is an al_loop_head of this module */
    bool is_blocking;          /* _asyncio_future_blocking: is being awaited */
    bool log_traceback : 1;    /* its exception was not retrieved yet */
    bool overrides_cancel : 1; /* `cancel` was assigned on the instance */
    /* Task's, which has no room of its own for less than eight bytes: */
    bool must_cancel : 1; /* the next step throws CancelledError */
    bool log_destroy_pending : 1;
    bool is_enlisted : 1; /* in the interpreter's list of tasks (3.14+) */
    int32_t cancels;      /* cancel() minus uncancel() */
} al_future;

/* How far behind the object its state begins, says the type: in a field that
 * each subclass inherits, and that CPython has no use for in types that are
 * without Py_TPFLAGS_HAVE_VECTORCALL. */
#define AL_FUTURE_OFFSET tp_vectorcall_offset

static inline al_future *
al_future_of(PyObject *op)
{
    return (al_future *)((char *)op + Py_TYPE(op)->AL_FUTURE_OFFSET);
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
           PyObject_TypeCheck(op, state->FutureType);
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

/* As `await` does before it yields the future. */
static inline void
al_future_set_blocking(PyObject *op)
{
    al_future_of(op)->is_blocking = true;
}

/* set_result() and set_exception() on a pending future.
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
 * exception set. `message` is borrowed and may be NULL. */
AL_NODISCARD int
al_future_cancel(PyObject *op, PyObject *message);

/* The same for a task whose coroutine has raised `exc`, a CancelledError
 * (stolen), which who awaits the task will raise. */
AL_NODISCARD int
al_future_cancel_with(PyObject *op, PyObject *exc);

/* The message of the last cancel(): _cancel_message. It is rare, so it has no
 * place in our part of the object, but in asyncio's, which its own descriptor
 * reads and writes. */
PyObject *
al_future_cancel_message(PyObject *op); /* -> new reference, None for none */
void
al_future_set_cancel_message(PyObject *op, PyObject *message); /* borrowed */

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

/* Let `task`, a Task of ours on the same loop, step when op is done.
 * 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_add_waiter(PyObject *op, PyObject *task);

/* Schedule function(argument) in `context` on the future's loop, whosever it
 * is. `argument` may be NULL. 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_call_soon(PyObject *op, PyObject *function, PyObject *argument,
                    PyObject *context);

/* The module state. */
static inline al_state *
al_future_state_of(PyObject *op)
{
    return al_future_of(op)->module_state;
}

/* Whether its loop takes an entry without going through call_soon(). */
static inline bool
al_future_is_direct(const al_future *self)
{
    return self->is_ours && al_loop_head_CAST(self->loop)->is_direct;
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

/* A new object of our Future or Task, or of a class derived from them, to be
 * initialised. -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_future_alloc(PyTypeObject *type, al_state *state);

/* tp_new of both types. */
PyObject *
al_future_tp_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

/* Begin (again): `loop` None or NULL means the current event loop.
 * 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_init(PyObject *op, PyObject *loop);

/* tp_setattro of both types: notices overrides. */
int
al_future_setattro(PyObject *op, PyObject *name, PyObject *value);

/* Whether several wait for a pending future: `waiter` is a list. */
static inline bool
al_future_has_list(const al_future *self)
{
    return self->context == NULL && self->waiter != NULL &&
           PyList_CheckExact(self->waiter);
}

/* Make a list of the one who waits for a pending future, without anything
 * running meanwhile. 0, or -1 with an exception set. */
AL_NODISCARD int
al_future_list_waiters(al_future *self);

int
al_future_traverse(PyObject *op, visitproc visit, void *arg);
void
al_future_clear(PyObject *op);
void
al_future_finalize(PyObject *op);

/* Tell the exception handler of the future's loop {key: op} and its source
 * traceback; for finalisers. `message` is stolen, NULL after a failure to make
 * it; `exception` is borrowed and may be NULL. */
void
al_future_report(PyObject *op, PyObject *key, PyObject *message,
                 PyObject *exception);

/* Deallocate an object of the type whose tp_dealloc and tp_clear are given:
 * the finaliser, our state, then the base's dealloc. */
void
al_future_dealloc(PyObject *op, destructor dealloc, inquiry clear);

/* The asyncio class that the type with this tp_dealloc derives from, for an
 * object of the type or of a Python class derived from it. -> borrowed */
PyTypeObject *
al_future_base(PyObject *op, destructor dealloc);

/* Create the type `spec`, with a state of `size` bytes behind `base`.
 * -> new reference for the state to own, or NULL with an exception set. */
AL_NODISCARD PyTypeObject *
al_future_add_type(PyObject *module, const PyType_Spec *spec, PyObject *base,
                   size_t size);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_future_init_type(PyObject *module);

/* future_iter.c: what `await op` iterates. -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_future_iter_new(PyObject *op);
AL_NODISCARD int
al_future_iter_init_type(PyObject *module);

#endif
