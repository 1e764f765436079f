/* descriptor.h - a transport's descriptor: does its number still name our
 * file?
 *
 * When the program closes the file of a descriptor, the next file that it
 * opens gets the same number.  A transport that goes on using the number would
 * read, write or close that other file.  So no code uses the number of an
 * al_descriptor without asking al_descriptor_is_ours() first. */
#ifndef AL_NET_DESCRIPTOR_H
#define AL_NET_DESCRIPTOR_H

#include "sys/file_id.h"
#include "sched/loop_head.h"

typedef enum {
    AL_DESCRIPTOR_NONE, /* not taken over yet, or released */
    /* Ours, and the program has neither the number nor the object: used
     * without a check. */
    AL_DESCRIPTOR_PRIVATE,
    /* Ours, but the program may close it: checked before each use. */
    AL_DESCRIPTOR_SHARED,
    /* The number names another file or none: never used again. */
    AL_DESCRIPTOR_GONE,
} al_descriptor_phase;

typedef struct {
    int fd; /* stays after the release, for the repr */
    al_descriptor_phase phase;
    bool is_shown; /* the program has asked for the number */
    /* The socket or file object whose close() closes fd. Owned; NULL: we call
     * close(fd). Stays after the release until the transport is cleared. */
    PyObject *object;
    al_file_id file; /* the file that fd names; known while SHARED */
} al_descriptor;

/* Take over a descriptor. With an `object` (borrowed), which the program may
 * have, it is SHARED; without (NULL), it is PRIVATE. */
void
al_descriptor_take(al_descriptor *self, int fd, PyObject *object);

/* Undo that after a failure: the caller owns the descriptor again. */
void
al_descriptor_give_back(al_descriptor *self);

/* The loop has made the socket itself: make it PRIVATE, unless it was
 * shown. */
void
al_descriptor_trust(al_descriptor *self);

/* The program gets the number: it is SHARED from now on, never PRIVATE
 * again. */
void
al_descriptor_show(al_descriptor *self);

/* The caller knows that the number names another file. */
void
al_descriptor_mark_gone(al_descriptor *self);

/* al_descriptor_is_ours() of a descriptor that is not PRIVATE. */
bool
al_descriptor_check(al_descriptor *self, al_state *state);

/* Whether fd still names the file that was taken over. Ask before each use;
 * after the first no, the answer stays no. Runs no user code. */
static inline bool
al_descriptor_is_ours(al_descriptor *self, al_state *state)
{
    return AL_LIKELY(self->phase == AL_DESCRIPTOR_PRIVATE) ||
           al_descriptor_check(self, state);
}

/* Close the descriptor if it is ours, by its object if there is one. Does
 * nothing if it is NONE. May run any code.
 * 0, or -1 with the exception of the object's close() set. */
AL_NODISCARD int
al_descriptor_release(al_descriptor *self, al_state *state);

#endif
