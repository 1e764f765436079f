/* writer.h - StreamWriter: what a program writes to a connection with. */
#ifndef AL_STREAMS_WRITER_H
#define AL_STREAMS_WRITER_H

#include "base/state.h"

AL_NODISCARD int
al_writer_init_type(PyObject *module);

#endif
