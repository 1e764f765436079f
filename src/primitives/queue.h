/* queue.h - asyncio.Queue, PriorityQueue and LifoQueue. */
#ifndef AL_PRIMITIVES_QUEUE_H
#define AL_PRIMITIVES_QUEUE_H

#include "base/compat.h"

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_queue_init_type(PyObject *module);

#endif
