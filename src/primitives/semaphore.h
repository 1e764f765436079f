/* semaphore.h - asyncio.Semaphore and BoundedSemaphore. */
#ifndef AL_PRIMITIVES_SEMAPHORE_H
#define AL_PRIMITIVES_SEMAPHORE_H

#include "base/compat.h"

/* Create the types and store them in the module state. */
AL_NODISCARD int
al_semaphore_init_types(PyObject *module);

#endif
