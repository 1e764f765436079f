/* loop_fds.h - whose turn it is to wait for a descriptor. */
#ifndef AL_LOOP_LOOP_FDS_H
#define AL_LOOP_LOOP_FDS_H

#include "io/fdwatch.h"

/* Make {run, object} the reader (EV_READ) or writer (EV_WRITE) of a watch. A
 * handle whose place it takes is cancelled: it must not run even if it is
 * queued. 0, or -1 with an exception set. */
AL_NODISCARD int
al_loop_fds_set(al_fdwatch *watch, int event, al_run_fn run, PyObject *object);

#endif
