/* held.h - small writes that wait for the end of the step that made them. */
#ifndef AL_NET_HELD_H
#define AL_NET_HELD_H

#include "base/chunks.h"
#include "net/transport.h"

/* What a transport has learned about the way it is written to. */
typedef struct al_habit {
    uint32_t step;   /* of the loop, in which it was written to last */
    uint16_t trials; /* steps with several writes to try before one is held */
    uint16_t
        more_trials; /* and after the next one that takes long, or fewer */
    bool in_parts;   /* the last step has written several times */
} al_habit;

/* Of a new, zeroed transport. */
void
al_held_init(al_habit *habit);

/* Of a new loop. */
void
al_held_init_loop(al_loop_head *loop);

/* Whether to hold a write of `size` bytes that nothing is queued before; takes
 * note of the write, and may begin a trial. `is_watched`: the descriptor is, for
 * writing. The only place that decides: see held.c for the reasons. */
bool
al_held_decide(TransportObject *self, al_habit *habit, size_t size,
               bool is_watched);

/* Take note of a write that is not to be decided about. */
void
al_held_note(const TransportObject *self, al_habit *habit);

/* The transport's queue is held from now on: `send` will be called before the
 * next thing that others can see. */
void
al_held_begin(TransportObject *self, al_habit *habit, al_run_fn send);

/* Nothing is held any more; the queue is going to be sent.
 * -> the transport, whose reference is the caller's now. */
AL_NODISCARD PyObject *
al_held_end(al_loop_head *loop);

/* Whether it is a transport's queue that is held, on its loop (or NULL). */
static inline bool
al_held_is_of(const al_loop_head *loop, const void *transport)
{
    return loop != NULL && loop->held.object == transport &&
           !loop->held_is_trial;
}

/* Whether a transport's step is on trial. */
static inline bool
al_held_is_trial_of(const al_loop_head *loop, const void *transport)
{
    return loop != NULL && loop->held.object == transport &&
           loop->held_is_trial;
}

/* Whether the transport's queue, which is held, has grown too large, or has
 * waited for too long. */
bool
al_held_is_full(const TransportObject *self, const al_chunks *queue);

#endif
