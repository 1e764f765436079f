/* future_chain.h - a Future of ours follows one of an executor. */
#ifndef AL_LOOP_FUTURE_CHAIN_H
#define AL_LOOP_FUTURE_CHAIN_H

#include "base/compat.h"

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_future_chain_init_type(PyObject *module);

#endif
