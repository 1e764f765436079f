/* sleep.h - asyncio.sleep(). */
#ifndef AL_WAITS_SLEEP_H
#define AL_WAITS_SLEEP_H

#include "base/compat.h"

/* Add the function to the module. 0, or -1 with an exception set. */
AL_NODISCARD int
al_sleep_init(PyObject *module);

#endif
