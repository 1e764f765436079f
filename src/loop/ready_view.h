/* ready_view.h - loop._ready: shows the ready queue as a deque of handles. */
#ifndef AL_LOOP_READY_VIEW_H
#define AL_LOOP_READY_VIEW_H

#include "loop/loop.h"

/* -> new view, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_ready_view_new(LoopObject *loop);

/* Of a view: its loop, borrowed. */
LoopObject *
al_ready_view_loop(PyObject *op);

/* Take out all handles; the caller has locked the loop. -> new list of them,
 * or NULL with an exception set: then all stay. */
AL_NODISCARD PyObject *
al_ready_view_take(PyObject *op, PyObject *ignored);

/* _core._set_ready_queue(): the class of views, derived from ours. */
PyObject *
al_ready_view_set_class(PyObject *module, PyObject *type);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_ready_view_init_type(PyObject *module);

#endif
