/* breaking.h - breaks invariants on purpose, in a debug build. */
#ifndef AL_BREAKING_H
#define AL_BREAKING_H

#include "base/compat.h"

/* _core._break(file, number, object): the object, a loop, transport, task or the like, no
 * longer has the invariant. What comes next is to abort the process. */
PyObject *
al_break(PyObject *module, PyObject *args);

#endif
