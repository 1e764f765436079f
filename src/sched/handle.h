/* handle.h - asyncio.Handle and TimerHandle: a callback that waits. */
#ifndef AL_SCHED_HANDLE_H
#define AL_SCHED_HANDLE_H

#include "sched/handle_object.h"

/* A handle that calls callback(*args) in `context`, as often as it is queued
 * (all borrowed; context NULL: a copy of the current one).
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_handle_new(al_loop_head *loop, PyObject *callback, PyObject *const *args,
              Py_ssize_t nargs, PyObject *context);

/* Queue callback(*args) as call_soon() does, without its checks.
 * -> new reference to the handle, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_handle_call_soon(al_loop_head *loop, PyObject *callback,
                    PyObject *const *args, Py_ssize_t nargs,
                    PyObject *context);

/* Arm a TimerHandle for callback(*args) as call_at() does, without its checks.
 * Its when() returns `deadline`, the object that `when` was made from; NULL: a
 * float of `when`. -> new reference to the handle, or NULL with an exception
 * set. */
AL_NODISCARD PyObject *
al_handle_call_at(al_loop_head *loop, double when, PyObject *deadline,
                  PyObject *callback, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *context);

#if AL_HAS_THREADSAFE_HANDLE
/* al_handle_call_soon() for call_soon_threadsafe(). */
AL_NODISCARD PyObject *
al_handle_call_soon_threadsafe(al_loop_head *loop, PyObject *callback,
                               PyObject *const *args, Py_ssize_t nargs,
                               PyObject *context);
#else
#    define al_handle_call_soon_threadsafe al_handle_call_soon
#endif

/* Python code gets this queued object: if it is a handle, track it. */
void
al_handle_expose(al_state *state, PyObject *op);

/* The loop stops running: if the queued object is a handle that somebody
 * besides the queue owns, track it. */
void
al_handle_track_if_shared(al_state *state, PyObject *op);

/* Visit a queued object. If it is an untracked handle that only the queue
 * owns, it is a part of the queue: visit its references, too. */
int
al_handle_traverse_queued(al_state *state, PyObject *op, visitproc visit,
                          void *arg);

/* al_run_fn of handles. */
AL_NODISCARD int
al_handle_run(al_loop_head *loop, PyObject *handle);

/* The run function with which a handle is queued. */
al_run_fn
al_handle_run_of(const HandleObject *self);

/* Cancel the handle: it will not run, drops its references and leaves the
 * timers.
 * 0, or -1 with an exception set (by a repr in debug mode). */
AL_NODISCARD int
al_handle_cancel(HandleObject *self);

/* The arguments. -> new reference to a tuple, or NULL with an exception
 * set. */
AL_NODISCARD PyObject *
al_handle_arguments(const HandleObject *self);

/* tp_traverse and tp_clear of both types, and tp_dealloc of each. */
int
al_handle_traverse(PyObject *op, visitproc visit, void *arg);
int
al_handle_clear(PyObject *op);
int
al_timer_handle_traverse(PyObject *op, visitproc visit, void *arg);
int
al_timer_handle_clear(PyObject *op);
void
al_handle_dealloc(PyObject *op);
void
al_timer_handle_dealloc(PyObject *op);

/* handle_type.c: create both types and store them in the module state. */
AL_NODISCARD int
al_handle_init_types(PyObject *module);

#endif
