/* timeout.h - asyncio.timeout(), timeout_at() and the class Timeout. */
#ifndef AL_WAITS_TIMEOUT_H
#define AL_WAITS_TIMEOUT_H

#include "base/state.h"

/* Timeout(loop.time() + delay), which must be entered; `delay` may be None.
 * -> new reference, or NULL with an exception set. */
AL_NODISCARD PyObject *
al_timeout_after(al_state *state, PyObject *delay);

/* Whether C code may enter and leave it: 1, 0, or -1 with an exception set. */
AL_NODISCARD int
al_timeout_is_plain(PyObject *op);

/* Enter one that is plain and new: 1, or -1 with an exception set. 0: nothing
 * was done, asyncio's __aenter__() has to raise. */
AL_NODISCARD int
al_timeout_enter(PyObject *op);

/* Leave one that was entered. 1, or -1 with an exception set. 0: nothing was
 * done, asyncio's __aexit__() has to say what happens, because the time is over
 * or it was not entered. */
AL_NODISCARD int
al_timeout_leave(PyObject *op);

/* asyncio's __aexit__(), where al_timeout_leave() returns 0. `exc` is the
 * exception that is raised within (borrowed), or NULL. 1 if it is over, 0 if it
 * is raised again; -1 with another exception set. */
AL_NODISCARD int
al_timeout_leave_as_stock(PyObject *op, PyObject *exc);

/* _core._set_timeout_class(): the class of what timeout() makes, derived from
 * ours. */
PyObject *
al_timeout_set_class(PyObject *module, PyObject *type);

/* Whether it is _core.timeout(). */
bool
al_timeout_is_function(PyObject *function);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_timeout_init_type(PyObject *module);

#endif
