/* wait_for.h - asyncio.wait_for(). */
#ifndef AL_WAITS_WAIT_FOR_H
#define AL_WAITS_WAIT_FOR_H

#include "base/compat.h"

/* Add the function to the module. 0, or -1 with an exception set. */
AL_NODISCARD int
al_wait_for_init(PyObject *module);

#endif
