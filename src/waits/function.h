/* function.h - a function in C that passes for a coroutine function. */
#ifndef AL_WAITS_FUNCTION_H
#define AL_WAITS_FUNCTION_H

#include "base/state.h"

/* What it does. `args` and `kwnames` are those of METH_FASTCALL |
 * METH_KEYWORDS. */
typedef struct {
    const char *name;
    const char *doc;
    PyObject *(*call)(al_state *state, PyObject *const *args, Py_ssize_t nargs,
                      PyObject *kwnames);
} al_function;

/* Add the function to the module. 0, or -1 with an exception set. */
AL_NODISCARD int
al_function_add(PyObject *module, const al_function *function);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_function_init_type(PyObject *module);

#endif
