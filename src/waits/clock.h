/* clock.h - what a function that waits asks of the running loop, which may be
 * of any type: the current task, the time, a timer. */
#ifndef AL_WAITS_CLOCK_H
#define AL_WAITS_CLOCK_H

#include "sched/loop_head.h"

/* events.get_running_loop(), or what the program has put there. -> new
 * reference, or NULL with RuntimeError set if none runs. */
AL_NODISCARD PyObject *
al_clock_running_loop(al_state *state);

/* events._get_running_loop(), or what the program has put there. -> new
 * reference, or NULL if none runs, or with an exception set. */
AL_NODISCARD PyObject *
al_clock_loop_or_none(al_state *state);

/* tasks.current_task(loop), or what the program has put there. `loop` is the
 * running loop, or NULL: not given. -> new reference to the task or to None; or
 * NULL with an exception set. */
AL_NODISCARD PyObject *
al_clock_current_task(al_state *state, PyObject *loop);

/* The loop, if it is ours and its create_future() would only do what
 * al_future_make() does. -> borrowed, or NULL. `loop` may be NULL. */
static inline al_loop_head *
al_clock_direct_loop(PyObject *loop)
{
    if (loop == NULL || !al_loop_is_ours(loop)) {
        return NULL;
    }
    al_loop_head *head = al_loop_head_CAST(loop);
    return AL_LOAD(head->is_direct) &&
                   !(head->overrides & AL_OVERRIDES_CREATE_FUTURE)
               ? head
               : NULL;
}

/* Set *task to the task that is noted as awaiting from now on (owned), or to
 * NULL if there is none or no call graph is kept. `loop` as in
 * al_clock_current_task(). 1; 0: it is of another type, asyncio has to do it;
 * -1 with an exception set. */
AL_NODISCARD int
al_clock_awaiting_task(al_state *state, PyObject *loop, PyObject **task);

/* loop.time() + delay. -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_clock_after(al_state *state, PyObject *loop, PyObject *delay);

/* Call callback() at a time of the loop's clock: by loop.call_at(), or if it is
 * not later than now by loop.call_soon(). -> new reference to the handle, or
 * NULL with an exception set. */
AL_NODISCARD PyObject *
al_clock_arm(al_state *state, PyObject *loop, PyObject *when,
             PyObject *callback);

/* loop.call_later(delay, callback, one, other). `seconds` is the value of
 * `delay`, an int or a float. `other` may be NULL: not given. -> new reference to the handle, or NULL with an
 * exception set. */
AL_NODISCARD PyObject *
al_clock_call_later(al_state *state, PyObject *loop, PyObject *delay,
                    double seconds, PyObject *callback, PyObject *one,
                    PyObject *other);

/* handle.cancel() of a handle of any type. 0, or -1 with an exception set. */
AL_NODISCARD int
al_clock_disarm(al_state *state, PyObject *handle);

/* The value of a number of seconds if it is exactly an int or a float that a
 * double represents: true and *seconds. (false: Python has to compute.) */
static inline bool
al_clock_seconds(PyObject *number, double *seconds)
{
    if (PyFloat_CheckExact(number)) {
        *seconds = PyFloat_AS_DOUBLE(number);
        return true;
    }
    if (!PyLong_CheckExact(number)) {
        return false;
    }
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    *seconds = (double)value;
    return overflow == 0 && value < (1LL << 53) && value > -(1LL << 53);
}

#endif
