/* threads.h - what must hold while threads run at the same time.
 *
 * With a GIL nothing of this is needed, and the macros are nothing. On a
 * free-threaded CPython a thread owns a loop while it runs a turn of it, and
 *   (1) the ready queue, the current task, the snapshot and the scratch context
 *       are the owner's; if there is none, of who has locked the loop. Others
 *       push to the inbox (sched/inbox.h);
 *   (2) everything else of a loop, its transports and its handles is for who
 *       has locked the loop. The owner has done so as long as it runs, except
 *       while it waits or is otherwise detached from the interpreter. Each
 *       method locks the loop, which is cheap for the owner;
 *   (3) a Future and a Task are locked on their own, as in asyncio: no lock of
 *       a second object is taken meanwhile, and no Python code runs.
 *
 * A lock is a critical section: the interpreter lets go of it whenever the
 * thread blocks, so no two of them can wait for each other. */
#ifndef AL_BASE_THREADS_H
#define AL_BASE_THREADS_H

#include "base/compat.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef Py_GIL_DISABLED
#    define AL_FREE_THREADED 1
#else
#    define AL_FREE_THREADED 0
#endif

#if AL_FREE_THREADED

/* A block in which the object is locked. Do not leave it by return or goto. */
#    define AL_LOCK(op) Py_BEGIN_CRITICAL_SECTION(op)
#    define AL_UNLOCK() Py_END_CRITICAL_SECTION()

/* What tells a thread from the others that run. Never 0. */
static inline uintptr_t
al_thread_id(void)
{
    return _Py_ThreadId();
}

/* Fields that threads read and write without a lock. */
#    define AL_LOAD(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#    define AL_STORE(place, value)                                            \
        __atomic_store_n(&(place), value, __ATOMIC_RELAXED)
#    define AL_ADD(place, value)                                              \
        __atomic_add_fetch(&(place), value, __ATOMIC_ACQ_REL)

/* The name of the locked variant of a function, for tables of methods. */
#    define AL_LOCKED(function) function##_locked

/* Define that variant, by the function's signature: it locks what lock_of(op)
 * returns, borrowed. */
#    define AL_LOCKED_VARIANT(function, parameters, lock, call)               \
        PyObject *function##_locked parameters                                \
        {                                                                     \
            PyObject *lock_ = Py_NewRef(lock);                                \
            PyObject *result_;                                                \
            AL_LOCK(lock_);                                                   \
            result_ = function call;                                          \
            AL_UNLOCK();                                                      \
            Py_DECREF(lock_);                                                 \
            return result_;                                                   \
        }

/* METH_NOARGS and METH_O. */
#    define AL_LOCKS(function, lock_of)                                       \
        AL_LOCKED_VARIANT(function, (PyObject * op, PyObject * arg),          \
                          lock_of(op), (op, arg))
/* tp_repr. */
#    define AL_LOCKS_REPR(function, lock_of)                                  \
        AL_LOCKED_VARIANT(function, (PyObject * op), lock_of(op), (op))
/* METH_FASTCALL. */
#    define AL_LOCKS_FAST(function, lock_of)                                  \
        AL_LOCKED_VARIANT(                                                    \
            function,                                                         \
            (PyObject * op, PyObject *const *args, Py_ssize_t nargs),         \
            lock_of(op), (op, args, nargs))
/* METH_FASTCALL | METH_KEYWORDS. */
#    define AL_LOCKS_KEYWORDS(function, lock_of)                              \
        AL_LOCKED_VARIANT(function,                                           \
                          (PyObject * op, PyObject *const *args,              \
                           Py_ssize_t nargs, PyObject *kwnames),              \
                          lock_of(op), (op, args, nargs, kwnames))
/* Of a PyGetSetDef. */
#    define AL_LOCKS_GETTER(function, lock_of)                                \
        AL_LOCKED_VARIANT(function, (PyObject * op, void *closure),           \
                          lock_of(op), (op, closure))
#    define AL_LOCKS_SETTER(function, lock_of)                                \
        int function##_locked(PyObject *op, PyObject *value, void *closure)   \
        {                                                                     \
            PyObject *lock_ = Py_NewRef(lock_of(op));                         \
            int result_;                                                      \
            AL_LOCK(lock_);                                                   \
            result_ = function(op, value, closure);                           \
            AL_UNLOCK();                                                      \
            Py_DECREF(lock_);                                                 \
            return result_;                                                   \
        }

#else

#    define AL_LOCK(op)                                                       \
        {                                                                     \
            (void)(op);
#    define AL_UNLOCK() }

#    define AL_LOAD(place) (place)
#    define AL_STORE(place, value) ((place) = (value))
#    define AL_ADD(place, value) ((place) += (value))

#    define AL_LOCKED(function) function
#    define AL_LOCKS(function, lock_of)
#    define AL_LOCKS_REPR(function, lock_of)
#    define AL_LOCKS_FAST(function, lock_of)
#    define AL_LOCKS_KEYWORDS(function, lock_of)
#    define AL_LOCKS_GETTER(function, lock_of)
#    define AL_LOCKS_SETTER(function, lock_of)

#endif

/* Declare a method for the tables of other files: METH_NOARGS and METH_O; and
 * METH_FASTCALL | METH_KEYWORDS. */
#define AL_METHOD(function)                                                   \
    PyObject *AL_LOCKED(function)(PyObject * op, PyObject * arg)
#define AL_METHOD_KEYWORDS(function)                                          \
    PyObject *AL_LOCKED(function)(PyObject * op, PyObject *const *args,       \
                                  Py_ssize_t nargs, PyObject *kwnames)

#endif
