/* type.h - what the types Future and Task have in common. */
#ifndef AL_TASK_TYPE_H
#define AL_TASK_TYPE_H

#include "task/task_object.h"

/* Create the type of asyncio's class `stock` and, where that is not NULL, our
 * `mixin`: with `size` bytes an instance, and these slots besides those of
 * type.c. Where asyncio's structs are unknown, the module has `stock` under that
 * name instead, and *type stays NULL. 0, or -1 with an exception set. */
AL_NODISCARD int
al_type_add(PyObject *module, const char *name, PyObject *stock,
            PyTypeObject *mixin, size_t size, const PyType_Slot *slots,
            PyTypeObject **type);

#endif
