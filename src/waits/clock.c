/* clock.c - what a function that waits asks of the running loop.
 *
 * asyncio's Python code looks up get_running_loop() and current_task() in its
 * modules, and calls public methods of the loop.  Here that is done only if it
 * may make a difference: if the program has replaced one of them, and for loops
 * of other types. */
#include "waits/clock.h"

#include "base/call.h"
#include "cpython/current_task.h"
#include "sched/handle.h"
#include "sched/timers.h"

PyObject *
al_clock_running_loop(al_state *state)
{
    PyObject *function = al_call_find(state->imports.events_globals,
                                      state->names.get_running_loop);

#if AL_HAS_AWAITED_BY
    const al_thread_tasks *thread = al_layout_thread_tasks(state);
    if (AL_LIKELY(function != NULL &&
                  function == state->imports.get_running_loop &&
                  PyCFunction_Check(function) && thread != NULL &&
                  thread->loop != NULL))
    {
        Py_DECREF(function);
        return Py_NewRef(thread->loop);
    }
#endif
    return al_call_found(function, NULL);
}

PyObject *
al_clock_loop_or_none(al_state *state)
{
    PyObject *loop =
        al_call_found(al_call_find(state->imports.events_globals,
                                   state->names._get_running_loop),
                      NULL);

    if (loop == Py_None) {
        Py_CLEAR(loop);
    }
    return loop;
}

PyObject *
al_clock_current_task(al_state *state, PyObject *loop)
{
    PyObject *function =
        al_call_find(state->imports.tasks_globals, state->names.current_task);

    if (AL_UNLIKELY(function != state->imports.current_task)) {
        return al_call_found(function, loop);
    }
    Py_XDECREF(function);
    loop = loop == NULL ? al_clock_running_loop(state) : Py_NewRef(loop);
    if (loop == NULL) {
        return NULL;
    }
    PyObject *task = al_current_task_of(state, loop);
    Py_DECREF(loop);
    return task;
}

int
al_clock_awaiting_task(al_state *state, PyObject *loop, PyObject **task)
{
    *task = NULL;
#if AL_HAS_AWAITED_BY
    PyObject *current = al_clock_current_task(state, loop);

    if (current == NULL) {
        return -1;
    }
    if (AL_LIKELY(Py_IS_TYPE(current, state->TaskType))) {
        *task = current; /* moved to the caller */
        return 1;
    }
    bool is_none = current == Py_None;
    Py_DECREF(current);
    return is_none;
#else
    (void)state, (void)loop;
    return 1;
#endif
}

/* --- time ------------------------------------------------------------------ */

/* Whether the loop is ours and has our time(): then *now. 1, 0, or -1 with an
 * exception set. */
static inline int
clock_now(PyObject *loop, double *now)
{
    if (AL_UNLIKELY(!al_loop_is_ours(loop) ||
                    (al_loop_head_CAST(loop)->overrides & AL_OVERRIDES_TIME)))
    {
        return 0;
    }
    return al_timers_now(al_loop_head_CAST(loop), now) < 0 ? -1 : 1;
}

PyObject *
al_clock_after(al_state *state, PyObject *loop, PyObject *delay)
{
    double now, seconds;

    if (AL_LIKELY(al_clock_seconds(delay, &seconds))) {
        int is_known = clock_now(loop, &now);
        if (is_known != 0) {
            return is_known < 0 ? NULL : PyFloat_FromDouble(now + seconds);
        }
    }
    PyObject *time = PyObject_CallMethodNoArgs(loop, state->names.time);
    PyObject *when = time == NULL ? NULL : PyNumber_Add(time, delay);
    Py_XDECREF(time);
    return when;
}

/* Whether when <= loop.time(): 1, 0, or -1 with an exception set. */
static int
clock_is_due(al_state *state, PyObject *loop, PyObject *when)
{
    double now;

    if (AL_LIKELY(PyFloat_CheckExact(when))) {
        int is_known = clock_now(loop, &now);
        if (is_known != 0) {
            return is_known < 0 ? -1 : PyFloat_AS_DOUBLE(when) <= now;
        }
    }
    PyObject *time = PyObject_CallMethodNoArgs(loop, state->names.time);
    if (time == NULL) {
        return -1;
    }
    int is_due = al_call_is_true(PyObject_RichCompare(when, time, Py_LE));
    Py_DECREF(time);
    return is_due;
}

/* --- timers ---------------------------------------------------------------- */

/* Whether the loop would make our handle, without further ado, in a method
 * that is overridden by `flags`. */
static inline bool
clock_is_direct(PyObject *loop, uint32_t flags)
{
    return al_loop_is_ours(loop) &&
           AL_LOAD(al_loop_head_CAST(loop)->is_direct) &&
           !(al_loop_head_CAST(loop)->overrides & flags);
}

/* al_handle_call_at(), with the loop locked. */
static PyObject *
clock_call_at(PyObject *loop, double when, PyObject *deadline,
              PyObject *callback, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *handle;

    AL_LOCK(loop);
    handle = al_handle_call_at(al_loop_head_CAST(loop), when, deadline,
                               callback, args, nargs, NULL);
    AL_UNLOCK();
    return handle;
}

PyObject *
al_clock_arm(al_state *state, PyObject *loop, PyObject *when,
             PyObject *callback)
{
    int is_due = clock_is_due(state, loop, when);

    if (is_due != 0) {
        return is_due < 0 ? NULL
                          : PyObject_CallMethodOneArg(
                                loop, state->names.call_soon, callback);
    }
    if (AL_LIKELY(PyFloat_CheckExact(when) &&
                  clock_is_direct(loop, AL_OVERRIDES_CALL_AT)))
    {
        return clock_call_at(loop, PyFloat_AS_DOUBLE(when), when, callback,
                             NULL, 0);
    }
    return PyObject_CallMethodObjArgs(loop, state->names.call_at, when,
                                      callback, NULL);
}

PyObject *
al_clock_call_later(al_state *state, PyObject *loop, PyObject *delay,
                    double seconds, PyObject *callback, PyObject *one,
                    PyObject *other)
{
    PyObject *args[] = {one, other};
    double now;

    if (AL_UNLIKELY(!clock_is_direct(loop, AL_OVERRIDES_CALL_AT |
                                               AL_OVERRIDES_CALL_LATER)))
    {
        return PyObject_CallMethodObjArgs(loop, state->names.call_later, delay,
                                          callback, one, other, NULL);
    }
    if (al_timers_now(al_loop_head_CAST(loop), &now) < 0) {
        return NULL;
    }
    return clock_call_at(loop, now + seconds, NULL, callback, args,
                         other == NULL ? 1 : 2);
}

int
al_clock_disarm(al_state *state, PyObject *handle)
{
    int rc;

    if (AL_UNLIKELY(!al_handle_check(state, handle))) {
        return al_call_finish(
            PyObject_CallMethodNoArgs(handle, state->names.cancel));
    }
    AL_LOCK((PyObject *)HandleObject_CAST(handle)->loop);
    rc = al_handle_cancel(HandleObject_CAST(handle));
    AL_UNLOCK();
    return rc;
}
