/* flow.h - the limits for pause_writing() and resume_writing(). */
#ifndef AL_NET_FLOW_H
#define AL_NET_FLOW_H

#include "base/compat.h"

#include <stdbool.h>

typedef struct {
    size_t high;    /* pause the protocol above this number of queued bytes */
    size_t low;     /* resume it at this number of queued bytes or below */
    bool is_paused; /* pause_writing() was called last */
} al_flow;

/* asyncio's limits: 64 KiB and a quarter of it. */
void
al_flow_init(al_flow *self);

/* Set the limits, in bytes, from the arguments of set_write_buffer_limits().
 * NULL or None: derive this one from the other. 0, or -1 with ValueError or
 * TypeError set. */
AL_NODISCARD int
al_flow_set_limits(al_flow *self, PyObject *high, PyObject *low);

#endif
