/* lock.h - asyncio.Lock. */
#ifndef AL_PRIMITIVES_LOCK_H
#define AL_PRIMITIVES_LOCK_H

#include "base/compat.h"

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_lock_init_type(PyObject *module);

#endif
