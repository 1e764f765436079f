/* flow.h - the limits between which a protocol is told to stop writing. */
#ifndef AL_NET_FLOW_H
#define AL_NET_FLOW_H

#include "base/compat.h"

#include <stdbool.h>

typedef struct {
    size_t high;    /* bytes queued above which the protocol is paused */
    size_t low;     /* bytes queued down to which it is resumed */
    bool is_paused; /* pause_writing() was called last */
} al_flow;

/* asyncio's limits: 64 KiB and a quarter of it. */
void
al_flow_init(al_flow *self);

/* Take set_write_buffer_limits()'s arguments, numbers of bytes; NULL or None
 * means: derived from the other. 0, or -1 with ValueError or TypeError set. */
AL_NODISCARD int
al_flow_set_limits(al_flow *self, PyObject *high, PyObject *low);

#endif
