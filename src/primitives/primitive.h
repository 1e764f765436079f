/* primitive.h - what locks, events, semaphores and queues have in common. */
#ifndef AL_PRIMITIVES_PRIMITIVE_H
#define AL_PRIMITIVES_PRIMITIVE_H

#include "base/errors.h"
#include "base/type_tag.h"
#include "primitives/awaitable.h"
#include "primitives/deque.h"

/* What changed with a patch release. A semaphore gives all its places to
 * waiters after one was woken or cancelled, before it was one place. A
 * Condition that was notified and does not return passes the notification
 * on. */
#define AL_SEMAPHORE_FILLS(state) ((state)->imports.semaphore_fills == Py_True)
#define AL_CONDITION_PASSES_ON(state)                                         \
    ((state)->imports.condition_passes_on == Py_True)

/* The head of each. */
typedef struct {
    PyObject_HEAD
    al_state *state;    /* owned, NULL <=> it was not used yet */
    PyObject *loop;     /* owned, NULL <=> None: not bound to a loop yet */
    PyObject *waiters;  /* owned, NULL <=> none yet; else of any type */
    uint64_t seen_tag;  /* of the type, at the last look; 0: no look yet */
    char is_plain;      /* as of that look: C code may bypass methods */
    bool is_overridden; /* a method was assigned on the object */
} al_primitive;

#define al_primitive_CAST(op) ((al_primitive *)(op))

/* The module state, which the object owns from then on. -> borrowed, or NULL
 * with RuntimeError set. */
al_state *
al_primitive_state(PyObject *op);

/* Find out whether a method that C code would bypass is overridden on the
 * object, in its class or in asyncio's. 0 if one is, else a number > 0 that
 * is_plain() of asyncloop/_overrides.py returns for the class; -1 with an
 * exception set. */
AL_NODISCARD int
al_primitive_look(PyObject *op, al_primitive_kind kind);

/* The same, if something has changed since the last look. */
AL_NODISCARD static inline int
al_primitive_is_plain(PyObject *op, al_primitive_kind kind)
{
    const al_primitive *self = al_primitive_CAST(op);

    return AL_LIKELY(al_type_tag(Py_TYPE(op)) == self->seen_tag)
               ? self->is_plain
               : al_primitive_look(op, kind);
}

/* asyncio's class of a kind. -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_primitive_stock(const al_state *state, al_primitive_kind kind);

/* Call the method of asyncio's class: asyncio's own Python code, or what the
 * program has put there. -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_primitive_call_stock(PyObject *op, al_primitive_kind kind, const char *name,
                        PyObject *const *args, Py_ssize_t nargs);

/* Make an awaitable of the object, if it is plain. Otherwise it is what
 * asyncio's method of that name returns. `argument` may be NULL.
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD static inline PyObject *
al_primitive_await(PyObject *op, al_primitive_kind kind,
                   const al_operation *operation, const char *name,
                   PyObject *argument)
{
    int is_plain = al_primitive_is_plain(op, kind);

    if (AL_LIKELY(is_plain > 0)) {
        return al_awaitable_new(al_primitive_CAST(op)->state, operation, op,
                                argument);
    }
    return is_plain < 0 ? NULL
                        : al_primitive_call_stock(op, kind, name, &argument,
                                                  argument != NULL);
}

/* The same for __aexit__(), which has three arguments. */
AL_NODISCARD PyObject *
al_primitive_aexit(PyObject *op, al_primitive_kind kind,
                   const al_operation *operation, PyObject *const *args,
                   Py_ssize_t nargs);

/* The same, and unless they are None keeps the three in a tuple, as the
 * awaitable's argument. */
AL_NODISCARD PyObject *
al_primitive_aexit_with(PyObject *op, al_primitive_kind kind,
                        const al_operation *operation, PyObject *const *args,
                        Py_ssize_t nargs);

/* Note that the object is not plain from now on. */
void
al_primitive_set_overridden(PyObject *op);

/* --- numbers ---------------------------------------------------------------- */

/* A number that the program gives: an int, or any object, such as the infinity
 * in Semaphore(math.inf). Then the object that has it is not plain. */
typedef struct {
    Py_ssize_t number;
    PyObject *odd; /* owned, NULL <=> it is `number` */
} al_number;

/* Set a number of an object. `value` NULL means to delete it, which is an
 * AttributeError. 0, or -1 with an exception set. */
AL_NODISCARD int
al_number_store(PyObject *op, al_number *field, PyObject *value,
                const char *name);

/* -> new reference, or NULL with MemoryError set. */
PyObject *
al_number_load(const al_number *field);

/* --- the loop --------------------------------------------------------------- */

/* Bind the object to the running loop, or raise RuntimeError if it is bound to
 * another one. -> new reference to the loop, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_primitive_get_loop(al_primitive *self);

/* A future of that loop. -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_primitive_make_future(al_primitive *self);

/* --- waiters: futures in a deque ------------------------------------------ */

/* Wait for a new future of the running loop, self->waiter, which is appended
 * to *waiters. */
AL_NODISCARD al_outcome
al_primitive_wait(al_awaitable *self, PyObject **waiters);

/* After that: remove the future from `waiters`. If an exception is set, it is
 * kept, or becomes the context of another one. 0, or -1 with an exception set:
 * if one was set before, or the future is not there (ValueError). */
AL_NODISCARD int
al_waiters_leave(al_awaitable *self, PyObject *waiters);

/* Append a future to *waiters: a new deque, if it is NULL. 0, or -1 with an
 * exception set. */
AL_NODISCARD int
al_waiters_append(const al_state *state, PyObject **waiters, PyObject *future);

/* `waiters` in what follows may be NULL: there are none. */
AL_NODISCARD Py_ssize_t
al_waiters_count(const al_state *state, PyObject *waiters);

/* Whether all are cancelled: 1, 0, or -1 with an exception set. */
AL_NODISCARD int
al_waiters_are_cancelled(const al_state *state, PyObject *waiters);

/* The first one: 0 and a new reference, or NULL if there is none; or -1 with an
 * exception set. */
AL_NODISCARD int
al_waiters_first(const al_state *state, PyObject *waiters, PyObject **waiter);

/* The same for the first one that is not done. */
AL_NODISCARD int
al_waiters_next(const al_state *state, PyObject *waiters, PyObject **waiter);

/* Wake the first `most` that are not done, with a result. How many; or -1 with
 * an exception set. */
AL_NODISCARD Py_ssize_t
al_waiters_wake(const al_state *state, PyObject *waiters, Py_ssize_t most,
                PyObject *result);

/* Future.done(), Future.cancelled() of a future of any type: 1, 0; or -1 with
 * an exception set. */
AL_NODISCARD int
al_waiter_is_done(const al_state *state, PyObject *waiter);
AL_NODISCARD int
al_waiter_is_cancelled(const al_state *state, PyObject *waiter);

/* Future.cancel(): 0, or -1 with an exception set. */
AL_NODISCARD int
al_waiter_cancel(const al_state *state, PyObject *waiter);

/* Future.set_result(): 0, or -1 with an exception set. */
AL_NODISCARD int
al_waiter_set_result(const al_state *state, PyObject *waiter,
                     PyObject *result);

/* --- types ----------------------------------------------------------------- */

#define AL_PRIMITIVE_FLAGS                                                    \
    (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |          \
     Py_TPFLAGS_IMMUTABLETYPE)

/* Slots and attributes that all types have. tp_dealloc calls the type's
 * tp_clear. */
int
al_primitive_traverse(PyObject *op, visitproc visit, void *arg);
int
al_primitive_clear(PyObject *op);
void
al_primitive_dealloc(PyObject *op);
int
al_primitive_setattro(PyObject *op, PyObject *name, PyObject *value);

/* What is in *field, or a new deque that is put there. -> new reference, or
 * NULL. */
PyObject *
al_primitive_get_deque(const al_state *state, PyObject **field);

/* _loop; _waiters, with a deque or with None where there are none yet. */
PyObject *
al_primitive_get_bound_loop(PyObject *op, void *closure);
int
al_primitive_set_bound_loop(PyObject *op, PyObject *value, void *closure);
PyObject *
al_primitive_get_waiters(PyObject *op, void *closure);
PyObject *
al_primitive_get_waiters_or_none(PyObject *op, void *closure);
int
al_primitive_set_waiters(PyObject *op, PyObject *value, void *closure);

/* Set an attribute. `value` NULL means to delete it, which is an
 * AttributeError. 0, or -1 with an exception set. */
AL_NODISCARD int
al_primitive_store(PyObject *op, PyObject **field, PyObject *value,
                   const char *name);
AL_NODISCARD int
al_primitive_store_bool(bool *field, PyObject *value, const char *name);

static inline PyObject *
al_primitive_lock(PyObject *op)
{
    return op;
}

#endif
