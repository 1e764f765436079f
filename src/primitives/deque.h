/* deque.h - collections.deque, whose methods are called without a look-up. */
#ifndef AL_PRIMITIVES_DEQUE_H
#define AL_PRIMITIVES_DEQUE_H

#include "base/call.h"
#include "base/state.h"

/* Whether `op` is exactly a deque whose methods could be found. */
static inline bool
al_deque_check(const al_state *state, PyObject *op)
{
    return Py_IS_TYPE(op, (PyTypeObject *)state->imports.deque) &&
           state->deque.append != NULL;
}

/* The functions below need al_deque_check(op). */

static inline Py_ssize_t
al_deque_size(PyObject *op)
{
    return Py_TYPE(op)->tp_as_sequence->sq_length(op);
}

/* 0, or -1 with an exception set. */
AL_NODISCARD static inline int
al_deque_append(const al_state *state, PyObject *op, PyObject *item)
{
    return al_call_finish(state->deque.append(op, item));
}

/* -> new reference, or NULL with IndexError set. */
AL_NODISCARD static inline PyObject *
al_deque_popleft(const al_state *state, PyObject *op)
{
    return state->deque.popleft(op, NULL);
}

/* 0, or -1 with an exception set: ValueError if it is not there. */
AL_NODISCARD static inline int
al_deque_remove(const al_state *state, PyObject *op, PyObject *item)
{
    return al_call_finish(state->deque.remove(op, item));
}

/* The item at a place. -> new reference, or NULL with IndexError set. */
AL_NODISCARD static inline PyObject *
al_deque_item(PyObject *op, Py_ssize_t place)
{
    return Py_TYPE(op)->tp_as_sequence->sq_item(op, place);
}

/* -> new reference, or NULL. */
AL_NODISCARD static inline PyObject *
al_deque_new(const al_state *state)
{
    return PyObject_CallNoArgs(state->imports.deque);
}

/* Find the methods. 0, or -1 with an exception set. */
AL_NODISCARD int
al_deque_init(PyObject *module);

#endif
