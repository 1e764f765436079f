/* compat.h - the differences between CPython 3.11 to 3.15.
 *
 * There are two kinds.  Shims give an older CPython the API of a newer one.
 * Constants name a change of asyncio's behaviour: so other code has
 * `if (AL_UNCANCEL_CLEARS)` and no version number.  (How the interpreter keeps
 * tasks is in cpython/layout.h and task/registry.c.) */
#ifndef AL_BASE_COMPAT_H
#define AL_BASE_COMPAT_H

#ifndef _GNU_SOURCE
#    define _GNU_SOURCE /* clock_gettime, accept4 ... under -std=c11 */
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#if PY_VERSION_HEX < 0x030B0000
#    error "asyncloop needs CPython 3.11 or newer"
#endif

#define AL_NODISCARD __attribute__((warn_unused_result))
#define AL_LIKELY(x) __builtin_expect(!!(x), 1)
#define AL_COLD __attribute__((noinline, cold)) /* a function seldom called */
#define AL_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* What Python sees of a field or an argument that may be NULL: borrowed. */
static inline PyObject *
al_or_none(PyObject *op)
{
    return op == NULL ? Py_None : op;
}

/* --- asyncio's behaviour by version --------------------------------------
 *
 * If a patch release made the change, test the version of the running
 * interpreter (Py_Version), which may differ from the one that we were
 * compiled for. */

/* throw(type, value, traceback) is deprecated. */
#define AL_THROW_TRIPLE_IS_DEPRECATED (PY_VERSION_HEX >= 0x030C0000)
/* Task() knows eager_start, Task.get_coro() may be None. */
#define AL_HAS_EAGER_START (PY_VERSION_HEX >= 0x030C0000)
/* uncancel() to zero revokes a cancellation that was not delivered yet. */
#define AL_UNCANCEL_CLEARS (PY_VERSION_HEX >= 0x030D0000)
/* Futures know who awaits them (call graphs), and the interpreter keeps a list
 * of tasks in the thread state. */
#define AL_HAS_AWAITED_BY (PY_VERSION_HEX >= 0x030E0000)
/* The default name of a task is made when get_name() is called. */
#define AL_TASK_NAMES_ARE_LAZY (PY_VERSION_HEX >= 0x030C0000)
/* Task.get_context(); and that and get_coro() may be called, in each release,
 * where __init__ has not run. */
#define AL_TASK_HAS_GET_CONTEXT (PY_VERSION_HEX >= 0x030C0000)
#define AL_TASK_GETTERS_CHECK (PY_VERSION_HEX >= 0x030F0000)
/* create_task() passes any keyword argument to the factory or to Task(). */
#define AL_CREATE_TASK_KWARGS (Py_Version >= 0x030D0300)
/* format_helpers._format_callback_source() takes debug=. */
#define AL_FORMAT_CALLBACK_TAKES_DEBUG (PY_VERSION_HEX >= 0x030D0000)
/* A second __init__() of Future and Task raises; Task() checks the type of its
 * context. */
#define AL_INITIALISES_ONCE (PY_VERSION_HEX >= 0x030F0000)
#define AL_TASK_CHECKS_CONTEXT (PY_VERSION_HEX >= 0x030F0000)
/* cancel() of a handle of call_soon_threadsafe() waits while it is running. */
#define AL_HAS_THREADSAFE_HANDLE (PY_VERSION_HEX >= 0x030E0000)
#define AL_THREADSAFE_HANDLE                                                  \
    (AL_HAS_THREADSAFE_HANDLE ? "_ThreadSafeHandle" : "Handle")
/* A timer may fire early by the clock's resolution, or by that of its float if
 * it is coarser. */
#define AL_TIMERS_KNOW_ULP (PY_VERSION_HEX >= 0x030F0000)
/* Server._attach() and _detach() have the transport as argument. */
#define AL_SERVER_KNOWS_TRANSPORTS (PY_VERSION_HEX >= 0x030D0000)
/* Transport.writelines() has its own code, and does not join and call
 * write(). */
#define AL_HAS_WRITELINES (PY_VERSION_HEX >= 0x030C0000)
/* DatagramTransport.sendto() sends empty datagrams, too, and flow control
 * counts AL_DATAGRAM_HEADER bytes for the header of each datagram. */
#define AL_SENDS_EMPTY_DATAGRAMS (PY_VERSION_HEX >= 0x030D0000)
#define AL_DATAGRAM_HEADER (PY_VERSION_HEX >= 0x030D0000 ? 8 : 0)
/* A part of the TypeError of Transport.write(). */
#if PY_VERSION_HEX >= 0x030E0000
#    define AL_WRITE_WANTS "a bytes, bytearray, or memoryview object"
#else
#    define AL_WRITE_WANTS "a bytes-like object"
#endif
/* The method name in the InvalidStateError of a task's step. */
#if PY_VERSION_HEX >= 0x030E0000
#    define AL_STEP_NAME "__step"
#else
#    define AL_STEP_NAME "_step"
#endif
/* The iterator of `await future` keeps the future at its end, and returns the
 * result again at each further send(). */
#define AL_ITERATES_AGAIN (PY_VERSION_HEX >= 0x030E0000)
/* _asyncio.Future is a heap type from 3.12 on, and static before: only a heap
 * type's dealloc drops the reference to the type. */
#define AL_FUTURE_BASE_IS_HEAP (PY_VERSION_HEX >= 0x030C0000)

/* asyncio works in an interpreter with a GIL of its own. (3.12.1 has such
 * interpreters, but asyncio crashes in them.) */
#define AL_ASYNCIO_MAY_HAVE_OWN_GIL (PY_VERSION_HEX >= 0x030D0000)

/* _asyncio's types and variables are static: one of each in the process. */
#define AL_ASYNCIO_IS_STATIC (PY_VERSION_HEX < 0x030C0000)

/* The TypeErrors of `await op`: for what cannot be awaited (the name of its
 * type is the argument), and for what __await__() must not return. */
#if PY_VERSION_HEX >= 0x030E0000
#    define AL_AWAIT_REFUSAL "'%.100s' object can't be awaited"
#else
#    define AL_AWAIT_REFUSAL                                                  \
        "object %.100s can't be used in 'await' expression"
#endif

static inline void
al_await_refuse_iterator(PyObject *op, PyObject *iterator, int is_coroutine)
{
#if PY_VERSION_HEX >= 0x030F0000
    (void)is_coroutine;
    PyErr_Format(PyExc_TypeError,
                 "%T.__await__() must return an iterator, not %T", op,
                 iterator);
#else
    (void)op;
    if (is_coroutine) {
        PyErr_SetString(PyExc_TypeError, "__await__() returned a coroutine");
        return;
    }
    PyErr_Format(PyExc_TypeError,
                 "__await__() returned non-iterator of type '%.100s'",
                 Py_TYPE(iterator)->tp_name);
#endif
}

/* TaskGroup.__aexit__() returns True, because it has raised what it does not
 * suppress. */
#define AL_TASK_GROUP_SUPPRESSES (PY_VERSION_HEX >= 0x030F0000)

/* Queue.shutdown(). */
#define AL_QUEUES_SHUT_DOWN (PY_VERSION_HEX >= 0x030D0000)

/* Whether we have the only reference to an object, so that no code and no other
 * thread can reach it. */
static inline int
al_is_unique(PyObject *op)
{
#if PY_VERSION_HEX >= 0x030E0000
    return PyUnstable_Object_IsUniquelyReferenced(op);
#else
    return Py_REFCNT(op) == 1;
#endif
}

/* --- API shims ---------------------------------------------------------- */

#if PY_VERSION_HEX < 0x030C0000

/* Fetch and clear the exception, as one normalised object with its traceback.
 * -> new reference, or NULL if none is set. */
static inline PyObject *
PyErr_GetRaisedException(void)
{
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) {
        (void)PyException_SetTraceback(value, traceback);
    }
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
}

/* Set the exception again. Steals `exc`, which may be NULL. */
static inline void
PyErr_SetRaisedException(PyObject *exc)
{
    if (exc == NULL) {
        PyErr_Restore(NULL, NULL, NULL);
        return;
    }
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exc)), exc,
                  PyException_GetTraceback(exc));
}

static inline PyObject *
PyType_GetDict(PyTypeObject *type)
{
    return Py_NewRef(type->tp_dict);
}

#endif

#if PY_VERSION_HEX < 0x030D0000

static inline int
PyObject_GetOptionalAttr(PyObject *object, PyObject *name, PyObject **result)
{
    *result = PyObject_GetAttr(object, name);
    if (*result != NULL) {
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

static inline int
PyDict_GetItemRef(PyObject *dict, PyObject *key, PyObject **result)
{
    *result = Py_XNewRef(PyDict_GetItemWithError(dict, key));
    return *result != NULL ? 1 : (PyErr_Occurred() ? -1 : 0);
}

static inline int
PyWeakref_GetRef(PyObject *reference, PyObject **object)
{
    PyObject *referent = PyWeakref_GetObject(reference);

    *object =
        referent == NULL || referent == Py_None ? NULL : Py_NewRef(referent);
    return *object != NULL ? 1 : (referent == NULL ? -1 : 0);
}

static inline int
Py_IsFinalizing(void)
{
    return _Py_IsFinalizing();
}

static inline int
PyUnicode_EqualToUTF8(PyObject *unicode, const char *string)
{
    return PyUnicode_CompareWithASCIIString(unicode, string) == 0;
}

#endif

/* From 3.14 on the interpreter guards every dealloc against deep recursion. */
#define AL_DEALLOC_IS_GUARDED (PY_VERSION_HEX >= 0x030E0000)

#if !AL_DEALLOC_IS_GUARDED
#    define AL_TRASHCAN_BEGIN(op, dealloc) Py_TRASHCAN_BEGIN(op, dealloc)
#    define AL_TRASHCAN_END Py_TRASHCAN_END
#else
#    define AL_TRASHCAN_BEGIN(op, dealloc)                                    \
        {                                                                     \
            (void)(dealloc);
#    define AL_TRASHCAN_END }
#endif

#endif
