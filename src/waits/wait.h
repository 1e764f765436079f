/* wait.h - asyncio.wait(). */
#ifndef AL_WAITS_WAIT_H
#define AL_WAITS_WAIT_H

#include "base/compat.h"

/* Create the type of its callback, and add the function to the module. 0, or
 * -1 with an exception set. */
AL_NODISCARD int
al_wait_init(PyObject *module);

#endif
