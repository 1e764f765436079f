/* current_task.h - where CPython keeps the current task of a loop, which
 * asyncio.current_task() returns.
 *
 *     3.11 - 3.13      the dict _asyncio._current_tasks
 *     3.14 -           the thread state, for its running loop
 *
 * From 3.14 on we write there directly if the layout is known (layout.h), and
 * the loop runs in this thread. Otherwise we call asyncio's function
 * _swap_current_task(), which costs more than what it does. */
#ifndef AL_CPYTHON_CURRENT_TASK_H
#define AL_CPYTHON_CURRENT_TASK_H

#include "cpython/layout.h"

/* Make `task`, or none if it is None, the current one of a loop of any type,
 * whichever task is current. -> new reference to that one, or to None; or NULL
 * with an exception set. */
AL_NODISCARD PyObject *
al_current_task_swap(al_state *state, PyObject *loop, PyObject *task);

/* The current task of the loop that runs in this thread, of any type: what
 * asyncio.current_task() returns. -> new reference to it, or to None; or NULL
 * with an exception set. */
AL_NODISCARD PyObject *
al_current_task_of(al_state *state, PyObject *loop);

#if AL_HAS_AWAITED_BY

#    define AL_CURRENT_TASK_STAYS                                             \
        "Invalid attempt to leave task %R while task %R is entered."

typedef al_thread_tasks al_current_task_place;

/* The place, or NULL if asyncio's function must be called. That raises
 * RuntimeError if the loop does not run in this thread. */
static inline al_current_task_place *
al_current_task_find(al_state *state, PyObject *loop)
{
    al_current_task_place *place = al_layout_thread_tasks(state);

    return AL_LIKELY(place != NULL && place->loop == loop) ? place : NULL;
}

/* The next two by asyncio's function. */
AL_NODISCARD int
al_current_task_get_as_stock(al_state *state, PyObject *loop, PyObject **task);
AL_NODISCARD int
al_current_task_set_as_stock(al_state *state, PyObject *loop, PyObject *task);

/* Set *task to the current task, borrowed, or to NULL. 0, or -1. */
AL_NODISCARD static inline int
al_current_task_get(al_current_task_place *place, al_state *state,
                    PyObject *loop, PyObject **task)
{
    if (AL_UNLIKELY(place == NULL)) {
        return al_current_task_get_as_stock(state, loop, task);
    }
    *task = place->task;
    return 0;
}

/* Make `task`, or none if it is NULL, the current one. 0, or -1. */
AL_NODISCARD static inline int
al_current_task_set(al_current_task_place *place, al_state *state,
                    PyObject *loop, PyObject *task)
{
    if (AL_UNLIKELY(place == NULL)) {
        return al_current_task_set_as_stock(state, loop, task);
    }
    Py_XSETREF(place->task, Py_XNewRef(task));
    return 0;
}

/* Whether `task`, which was the current one at that version, certainly is it
 * now. If not, al_current_task_get() says. */
static inline bool
al_current_task_is(const al_current_task_place *place, PyObject *task,
                   uint64_t Py_UNUSED(version))
{
    return place != NULL && place->task == task;
}

/* Set *version to that of the place, after a change. */
static inline void
al_current_task_note(const al_current_task_place *Py_UNUSED(place),
                     uint64_t *Py_UNUSED(version))
{
}

#else

#    define AL_CURRENT_TASK_STAYS                                             \
        "Leaving task %R does not match the current task %R."

typedef PyObject al_current_task_place; /* a dict */

static inline al_current_task_place *
al_current_task_find(al_state *state, PyObject *Py_UNUSED(loop))
{
    return state->current_tasks;
}

AL_NODISCARD static inline int
al_current_task_get(al_current_task_place *place, al_state *Py_UNUSED(state),
                    PyObject *loop, PyObject **task)
{
    *task = PyDict_GET_SIZE(place) == 0 ? NULL
                                        : PyDict_GetItemWithError(place, loop);
    return *task == NULL && PyErr_Occurred() ? -1 : 0;
}

AL_NODISCARD static inline int
al_current_task_set(al_current_task_place *place, al_state *Py_UNUSED(state),
                    PyObject *loop, PyObject *task)
{
    if (task != NULL) {
        return PyDict_SetItem(place, loop, task);
    }
    if (PyDict_DelItem(place, loop) < 0) { /* no task was current */
        if (!PyErr_ExceptionMatches(PyExc_KeyError)) {
            return -1;
        }
        PyErr_Clear();
    }
    return 0;
}

/* The version of a dict changes with each change of it, also by another
 * loop. */
static inline void
al_current_task_note(al_current_task_place *place, uint64_t *version)
{
#    pragma GCC diagnostic push
#    pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    *version = ((PyDictObject *)place)->ma_version_tag;
#    pragma GCC diagnostic pop
}

static inline bool
al_current_task_is(al_current_task_place *place, PyObject *Py_UNUSED(task),
                   uint64_t version)
{
    uint64_t now;

    al_current_task_note(place, &now);
    return now == version;
}

#endif

#endif
