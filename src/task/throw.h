/* throw.h - the arguments of throw(), which generators and coroutines have. */
#ifndef AL_TASK_THROW_H
#define AL_TASK_THROW_H

#include "base/compat.h"

/* The exception that throw(exception) or throw(type, value, traceback) means,
 * or the one that making it raised. -> new reference, or NULL with an exception
 * set: TypeError, or a DeprecationWarning that is an error. */
AL_NODISCARD PyObject *
al_throw_parse(PyObject *const *args, Py_ssize_t nargs);

#endif
