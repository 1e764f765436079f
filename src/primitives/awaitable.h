/* awaitable.h - what acquire(), get(), sleep() and the like return: a coroutine
 * without a frame, whose body is an operation in C. */
#ifndef AL_PRIMITIVES_AWAITABLE_H
#define AL_PRIMITIVES_AWAITABLE_H

#include "base/state.h"

typedef struct al_awaitable al_awaitable;

/* How a part of an operation ends. */
typedef enum {
    AL_RETURNS, /* the operation is over: *result is its result */
    AL_RAISES,  /* the operation is over: its exception is set */
    AL_AWAITS,  /* al_awaitable_wait() or al_awaitable_yield() was called: go
                 * on when that is over */
} al_outcome;

/* The body of a coroutine, in two parts. */
typedef struct {
    const char *qualname; /* of asyncio's coroutine, such as "Lock.acquire" */
    /* The first part, up to the first wait. */
    al_outcome (*start)(al_awaitable *self, PyObject **result);
    /* The wait is over, and has returned `value`, or has raised the exception
     * that is set (value NULL). `value` is borrowed. NULL <=> `start` does not
     * wait. */
    al_outcome (*resume)(al_awaitable *self, PyObject *value,
                         PyObject **result);
} al_operation;

struct al_awaitable {
    PyObject_HEAD
    PyObject *owner;    /* owned: the lock, queue ... until it is freed; NULL:
                         * of a function */
    PyObject *argument; /* owned: what the method was given, or NULL */
    PyObject *waiter;   /* owned: its future in a queue of waiters, or NULL */
    PyObject *awaited;  /* owned: what it waits for; NULL <=> does not wait */
    PyObject *saved;    /* owned: what an operation keeps between its parts */
    PyObject *thrown;   /* owned: to throw into `awaited`; NULL: to send */
    PyObject *weakrefs; /* the interpreter's list */
    const al_operation *operation;
    al_state *state; /* owned */
    char phase;      /* awaitable.c */
    char yields;     /* awaitable.c: a bare yield */
    bool is_future;  /* `awaited` is a future of ours, else an iterator */
    char place;      /* an operation's own: how far it has come */
};

#define al_awaitable_CAST(op) ((al_awaitable *)(op))

/* Make one. `owner` and `argument` are borrowed, and may be NULL.
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_awaitable_new(al_state *state, const al_operation *operation,
                 PyObject *owner, PyObject *argument);

/* Wait for an object as `await object` does, of any type. `awaited` is
 * borrowed. For an operation to return: AL_AWAITS, or AL_RAISES. */
AL_NODISCARD al_outcome
al_awaitable_wait(al_awaitable *self, PyObject *awaited);

/* The same for a new reference, which is stolen; NULL: an exception is set. */
AL_NODISCARD al_outcome
al_awaitable_wait_stolen(al_awaitable *self, PyObject *awaited);

/* Second parts of operations that wait for one thing: return what it has
 * returned, or None. */
al_outcome
al_awaitable_hand_on(al_awaitable *self, PyObject *value, PyObject **result);
al_outcome
al_awaitable_end_with_none(al_awaitable *self, PyObject *value,
                           PyObject **result);

/* Wait for a coroutine that waits already: what it waits for is over. It has
 * returned, or has raised `exc` (borrowed), NULL <=> none. For an operation to
 * return in its second part: AL_AWAITS. */
al_outcome
al_awaitable_resume_within(al_awaitable *self, PyObject *coro, PyObject *exc);

/* Yield None, as a bare `yield` does: the task goes on in the next turn. */
al_outcome
al_awaitable_yield(al_awaitable *self);

/* A part of an operation that is over. `result` is borrowed. */
static inline al_outcome
al_awaitable_return(PyObject *value, PyObject **result)
{
    *result = Py_NewRef(value);
    return AL_RETURNS;
}

AL_NODISCARD int
al_awaitable_init_type(PyObject *module);

#endif
