/* callback.h - what gather(), shield() and wait() are called back with. */
#ifndef AL_WAITS_CALLBACK_H
#define AL_WAITS_CALLBACK_H

#include "task/future.h"

/* Whether the arguments are one future of ours that is done: true, or false with
 * TypeError set. A program finds the callback, and may call it with others. */
static inline bool
al_callback_check(al_state *state, PyObject *const *args, size_t nargsf,
                  PyObject *kwnames)
{
    if (AL_LIKELY(PyVectorcall_NARGS(nargsf) == 1 && kwnames == NULL &&
                  al_future_check_exact(state, args[0]) &&
                  al_future_is_done(args[0])))
    {
        return true;
    }
    PyErr_SetString(PyExc_TypeError, "expected a future that is done");
    return false;
}

#endif
