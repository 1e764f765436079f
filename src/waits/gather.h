/* gather.h - asyncio.gather(). */
#ifndef AL_WAITS_GATHER_H
#define AL_WAITS_GATHER_H

#include "base/compat.h"

/* Create the type of its callbacks, and add the function to the module. 0, or
 * -1 with an exception set. */
AL_NODISCARD int
al_gather_init(PyObject *module);

#endif
