/* read.h - the operations of a StreamReader that wait for data. */
#ifndef AL_STREAMS_READ_H
#define AL_STREAMS_READ_H

#include "primitives/awaitable.h"

/* The owner is a StreamReader. Arguments: an int, */
extern const al_operation al_read_operation;
extern const al_operation al_readexactly_operation;
/* a bytes object that is not empty; */
extern const al_operation al_readuntil_operation;
/* none. */
extern const al_operation al_readline_operation;
extern const al_operation al_anext_operation;

#endif
