/* flow.h - telling the protocol when to stop writing, and when to go on. */
#ifndef AL_NET_FLOW_H
#define AL_NET_FLOW_H

#include "base/compat.h"

#include <stdbool.h>

struct TransportObject; /* net/transport.h */

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

/* Call pause_writing() if too much is queued, resume_writing() if little
 * enough is. What they raise is reported.
 * 0, or -1 with an exception set that ends the run. */
AL_NODISCARD int
al_flow_maybe_pause(struct TransportObject *transport);
AL_NODISCARD int
al_flow_maybe_resume(struct TransportObject *transport);

#endif
