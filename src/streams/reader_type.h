/* reader_type.h - StreamReader, as Python sees it. */
#ifndef AL_STREAMS_READER_TYPE_H
#define AL_STREAMS_READER_TYPE_H

#include "base/state.h"

AL_NODISCARD int
al_reader_init_type(PyObject *module);

#endif
