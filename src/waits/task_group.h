/* task_group.h - asyncio.TaskGroup. */
#ifndef AL_WAITS_TASK_GROUP_H
#define AL_WAITS_TASK_GROUP_H

#include "base/compat.h"

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_task_group_init_type(PyObject *module);

#endif
