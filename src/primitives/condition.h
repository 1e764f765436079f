/* condition.h - asyncio.Condition. */
#ifndef AL_PRIMITIVES_CONDITION_H
#define AL_PRIMITIVES_CONDITION_H

#include "base/compat.h"

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_condition_init_type(PyObject *module);

#endif
