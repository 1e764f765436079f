/* held.h - holds small writes until the end of the step that made them. */
#ifndef AL_NET_HELD_H
#define AL_NET_HELD_H

#include "base/chunks.h"
#include "net/transport.h"

/* How a transport is written to. */
typedef struct al_habit {
    uint32_t step;        /* the loop's step that wrote to it last */
    uint16_t trials;      /* trials that are left before a step is held */
    uint16_t more_trials; /* trials after the next held step that takes long */
    bool in_parts;        /* the last step has written several times */
} al_habit;

/* For a new, zeroed transport. */
void
al_held_init(al_habit *habit);

/* For a new loop. */
void
al_held_init_loop(al_loop_head *loop);

/* Whether to hold a write of `size` bytes; the transport's queue is empty.
 * Takes note of the write, and may begin a trial. `is_watched`: the descriptor
 * is watched for writing. Only this function decides; held.c has the
 * reasons. */
bool
al_held_decide(TransportObject *self, al_habit *habit, size_t size,
               bool is_watched);

/* Take note of a write without deciding about it. */
void
al_held_note(const TransportObject *self, al_habit *habit);

/* From now on the transport's queue is held. The loop calls `send` at the end
 * of the step, or before the next action that the outside sees. */
void
al_held_begin(TransportObject *self, al_habit *habit, al_run_fn send);

/* From now on nothing is held; the caller sends the queue.
 * -> the transport, with the loop's reference to it. */
AL_NODISCARD PyObject *
al_held_end(al_loop_head *loop);

/* Whether the transport's queue is held. `loop` is its loop, or NULL. */
static inline bool
al_held_is_of(const al_loop_head *loop, const void *transport)
{
    return loop != NULL && loop->held.object == transport &&
           !loop->held_is_trial;
}

/* Whether the present step is on trial with this transport. */
static inline bool
al_held_is_trial_of(const al_loop_head *loop, const void *transport)
{
    return loop != NULL && loop->held.object == transport &&
           loop->held_is_trial;
}

/* Whether the transport's held queue has grown too large or was held for too
 * long. */
bool
al_held_is_full(const TransportObject *self, const al_chunks *queue);

#endif
