/* handle_object.h - what a Handle and a TimerHandle consist of. */
#ifndef AL_SCHED_HANDLE_OBJECT_H
#define AL_SCHED_HANDLE_OBJECT_H

#include "sched/loop_head.h"

#define AL_HANDLE_INLINE_ARGS 2

typedef struct {
    PyObject_HEAD
    al_loop_head *loop;         /* owned */
    PyObject *callback;         /* owned, NULL <=> cancelled */
    PyObject *context;          /* owned, never NULL; see has_snapshot */
    PyObject *source_traceback; /* owned, debug mode only, else NULL */
    PyObject *weakrefs;         /* the interpreter's list */
    /* Up to two arguments, or one tuple of more arguments at arguments[0]. If
     * the handle is cancelled in debug mode: its repr before that. Each
     * owned. */
    PyObject *arguments[AL_HANDLE_INLINE_ARGS];
    union {
        struct {
            uint8_t count; /* of arguments; > AL_HANDLE_INLINE_ARGS: a tuple */
            bool is_cancelled;
            bool has_snapshot; /* context is a snapshot: sched/context.h */
            bool is_tracked;   /* by the garbage collector */
            /* Made by call_soon_threadsafe(): cancel() waits while it runs. */
            bool is_threadsafe;
            bool is_running; /* set only if is_threadsafe */
        };
        uint64_t flags; /* all of these, so that one store clears them */
    };
} HandleObject;

typedef struct {
    HandleObject base;
    double when; /* seconds of loop.time() */
    /* Owned: what call_at() was given, or call_later() has computed. NULL <=>
     * when() makes a float of `when`. */
    PyObject *deadline;
    /* Its index in loop->timers.places; -1 <=> not armed; AL_TIMER_IN_LIST
     * <=> in the list loop._scheduled, which has the timers instead. */
    Py_ssize_t index;
} TimerHandleObject;

#define AL_TIMER_IN_LIST (-2)

#define HandleObject_CAST(op) ((HandleObject *)(op))
#define TimerHandleObject_CAST(op) ((TimerHandleObject *)(op))

static inline bool
al_handle_check(al_state *state, PyObject *op)
{
    return Py_IS_TYPE(op, state->HandleType) ||
           Py_IS_TYPE(op, state->TimerHandleType);
}

#endif
