/* shield.h - asyncio.shield(). */
#ifndef AL_WAITS_SHIELD_H
#define AL_WAITS_SHIELD_H

#include "base/compat.h"

/* Create the type of its callbacks, and add the function to the module. 0, or
 * -1 with an exception set. */
AL_NODISCARD int
al_shield_init(PyObject *module);

#endif
