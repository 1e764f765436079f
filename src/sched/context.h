/* context.h - contexts of callbacks, copied only when it makes a difference.
 *
 * call_soon(cb) promises cb a copy of the current context.  A copy is an
 * object that the garbage collector has to look at, and nearly always equal to
 * the last one.  So the loop keeps one snapshot that nobody ever enters and
 * hands it out again while the current context has the same variables; to run
 * a callback it is copied into a scratch context, which is used again if the
 * callback has set nothing.  Both go when nobody else has their variables.
 *
 * "The same variables" is one comparison of pointers: a context holds its
 * variables in an immutable mapping.  Where that pointer is, is learned at
 * import (cpython/layout.h); without it each callback gets its copy. */
#ifndef AL_SCHED_CONTEXT_H
#define AL_SCHED_CONTEXT_H

#include "cpython/layout.h"
#include "sched/loop_head.h"

/* Whether snapshots are shared at all. */
static inline bool
al_context_is_shared(const al_state *state)
{
    return state->layout.context_vars != 0;
}

/* A context that is what the current one is now; if al_context_is_shared() not
 * to be entered nor shown to anybody. -> new reference, or NULL. */
static inline PyObject *
al_context_snapshot(al_loop_head *loop)
{
    if (!al_context_is_shared(loop->state)) {
        return PyContext_CopyCurrent();
    }
    PyObject *current = PyThreadState_Get()->context; /* borrowed */
    if (AL_LIKELY(loop->snapshot != NULL && current != NULL &&
                  al_layout_context_vars(loop->state, current) ==
                      al_layout_context_vars(loop->state, loop->snapshot)))
    {
        return Py_NewRef(loop->snapshot);
    }
    PyObject *snapshot = PyContext_CopyCurrent();
    if (snapshot != NULL) {
        Py_XSETREF(loop->snapshot, Py_NewRef(snapshot));
    }
    return snapshot;
}

/* Whether the scratch context is a copy of the snapshot, to be entered. */
static inline bool
al_context_is_ready(const al_loop_head *loop, PyObject *snapshot)
{
    return loop->scratch != NULL &&
           al_layout_context_vars(loop->state, loop->scratch) ==
               al_layout_context_vars(loop->state, snapshot);
}

/* Replace the scratch context by a copy of the snapshot. The old one may hold
 * the last reference to a variable's value, whose finaliser may run anything,
 * callbacks of this loop included: ask al_context_is_ready() again.
 * 0, or -1 with an exception set. */
AL_NODISCARD int
al_context_prepare(al_loop_head *loop, PyObject *snapshot);

/* Take the scratch context, which is ready, and enter it.
 * -> new reference to it, for al_context_leave(); or NULL. */
static inline PyObject *
al_context_enter(al_loop_head *loop)
{
    PyObject *context = loop->scratch; /* taken */

    loop->scratch = NULL;
    if (AL_UNLIKELY(PyContext_Enter(context) < 0)) {
        Py_CLEAR(context);
    }
    return context;
}

/* Leave it again and let go of it; it had `vars` when it was entered. 0, or -1
 * with an exception set. */
static inline int
al_context_leave(al_loop_head *loop, PyObject *context, const PyObject *vars)
{
    int rc = PyContext_Exit(context);

    if (AL_LIKELY(rc == 0 && loop->scratch == NULL &&
                  Py_REFCNT(context) == 1 &&
                  al_layout_context_vars(loop->state, context) == vars))
    {
        loop->scratch = context;
    }
    else {
        Py_DECREF(context);
    }
    return rc;
}

/* Before the loop waits: let go of the snapshot and the scratch context if no
 * other has their variables any more, whose values would live on for nothing.
 * May run anything. */
void
al_context_settle(al_loop_head *loop);

#endif
