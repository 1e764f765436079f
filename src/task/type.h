/* type.h - makes the types Future and Task. */
#ifndef AL_TASK_TYPE_H
#define AL_TASK_TYPE_H

#include "task/task_object.h"

/* Create a type in *type. Its bases are asyncio's class `stock` and, if not
 * NULL, our type `mixin`; an object has `size` bytes; `slots` come after those
 * of type.c. If asyncio's structs are unknown, the module has `stock` under
 * that name, and *type stays NULL. 0, or -1 with an exception set. */
AL_NODISCARD int
al_type_add(PyObject *module, const char *name, PyObject *stock,
            PyTypeObject *mixin, size_t size, const PyType_Slot *slots,
            PyTypeObject **type);

#endif
