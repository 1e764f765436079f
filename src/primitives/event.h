/* event.h - asyncio.Event. */
#ifndef AL_PRIMITIVES_EVENT_H
#define AL_PRIMITIVES_EVENT_H

#include "base/compat.h"

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_event_init_type(PyObject *module);

#endif
