/* descriptor.h - a descriptor that we work on, and whether it is still ours.
 *
 * A descriptor is a number. When the program closes the file behind it, the
 * next file that it opens gets the same number. Whoever goes on using the
 * number then reads, writes or closes a file of somebody else. So nobody uses
 * a number of al_descriptor without asking al_descriptor_is_ours() first. */
#ifndef AL_NET_DESCRIPTOR_H
#define AL_NET_DESCRIPTOR_H

#include "sys/file_id.h"
#include "sched/loop_head.h"

typedef enum {
    AL_DESCRIPTOR_NONE, /* not taken over yet, or released */
    /* Ours, and the program has no way to the number: it is trusted. */
    AL_DESCRIPTOR_PRIVATE,
    /* Ours, but the program has the number or the object: it is looked at
     * before each use. */
    AL_DESCRIPTOR_SHARED,
    /* Another file has the number, or none has: it is never used again. */
    AL_DESCRIPTOR_LOST,
} al_descriptor_phase;

typedef struct {
    int fd; /* kept for the repr when it is closed */
    al_descriptor_phase phase;
    bool is_shown; /* the program has asked for the number */
    /* The socket or file object whose close() closes fd. Owned; NULL: fd is
     * closed without one. A released one keeps it until it is cleared. */
    PyObject *object;
    al_file_id file; /* which one it is; known while it is SHARED */
} al_descriptor;

/* Take over a descriptor: of an `object` (borrowed) that the program may know,
 * or of none (NULL), which is PRIVATE. */
void
al_descriptor_take(al_descriptor *self, int fd, PyObject *object);

/* Undo that after a failure: the descriptor is the caller's again. */
void
al_descriptor_give_back(al_descriptor *self);

/* The loop has made the socket itself: PRIVATE, unless it was shown. */
void
al_descriptor_trust(al_descriptor *self);

/* The program gets to know the number: never PRIVATE again. */
void
al_descriptor_show(al_descriptor *self);

/* Another file is known to have the number. */
void
al_descriptor_lose(al_descriptor *self);

/* al_descriptor_is_ours() of one that is not PRIVATE. */
bool
al_descriptor_look(al_descriptor *self, al_state *state);

/* Whether fd still is the file that was taken over. Ask before each use: once
 * the answer is no, it stays no. Runs no code of the user. */
static inline bool
al_descriptor_is_ours(al_descriptor *self, al_state *state)
{
    return AL_LIKELY(self->phase == AL_DESCRIPTOR_PRIVATE) ||
           al_descriptor_look(self, state);
}

/* Close the descriptor if it still is ours, by its object if there is one; does
 * nothing on one that is NONE. May run any code.
 * 0, or -1 with the exception of the object's close() set. */
AL_NODISCARD int
al_descriptor_release(al_descriptor *self, al_state *state);

#endif
