/* context.h - contexts of callbacks, copied only when it makes a difference.
 *
 * call_soon(cb) promises cb a copy of the current context.  A copy is an
 * object that the garbage collector has to visit, and nearly always equals the
 * last copy.  So the loop keeps one copy, the snapshot, which nobody ever
 * enters.  It gives the snapshot to each handle that is made while the current
 * context has the same variables.  To run a callback, the snapshot is copied
 * into a scratch context.  The scratch context is used again if the callback
 * has set no variable.  The loop drops both when it alone holds their
 * variables.
 *
 * Comparing variables is comparing two pointers: a context holds its variables
 * in an immutable mapping.  The offset of that pointer is learned at import
 * (cpython/layout.h).  If it is unknown, each callback gets its own copy. */
#ifndef AL_SCHED_CONTEXT_H
#define AL_SCHED_CONTEXT_H

#include "cpython/layout.h"
#include "sched/loop_head.h"

/* Whether handles share snapshots: the offset of the variables is known. */
static inline bool
al_context_is_shared(const al_state *state)
{
    return state->layout.context_vars != 0;
}

/* A context with the current one's variables. If al_context_is_shared(), do
 * not enter it and do not give it to Python code. -> new reference, or
 * NULL. */
static inline PyObject *
al_context_snapshot(al_loop_head *loop)
{
    if (!al_context_is_shared(loop->state) || !al_loop_is_mine(loop)) {
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

/* Whether the scratch context is a copy of the snapshot and may be entered. */
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

/* Leave the context and keep it as the scratch context, if it still has the
 * `vars` that it had when it was entered; else drop it. 0, or -1 with an
 * exception set. */
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

/* Before the loop waits: drop the snapshot and the scratch context if nobody
 * else holds their variables. They would keep the variables' values alive for
 * as long as the loop waits. May run anything. */
void
al_context_drop_unused(al_loop_head *loop);

#endif
