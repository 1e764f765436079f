/* wakeup.h - ends a poll from another thread or for a signal. */
#ifndef AL_IO_WAKEUP_H
#define AL_IO_WAKEUP_H

#include "sys/file_id.h"
#include "io/watch_set.h"

typedef struct {
    al_source source; /* the end of the pipe that we read */
    int sender;       /* owned: the other end; -1 <=> there is no pipe */
    al_file_id pipe;  /* of both ends: a pipe is one file */
    bool has_signals; /* CPython writes the numbers of signals to `sender` */
} al_wakeup;

/* Have a pipe that the set watches: 0, or an errno. A pipe that is open and
 * ours is kept and added to the set. If CPython writes signals to it and the
 * program has closed it, loop._move_wakeup() tells CPython of the new one. */
int
al_wakeup_open(al_wakeup *self, al_watch_set *set);

/* Close the pipe, but not while CPython writes signals to it: its number may
 * become another file's, which would get them. `set` may be NULL if the set is
 * closed already. */
void
al_wakeup_close(al_wakeup *self, al_watch_set *set);

/* In a child process: close our copy of the parent's pipe in any case. */
void
al_wakeup_forked(al_wakeup *self, al_watch_set *set);

/* Make the present poll return, or the next one that waits. */
void
al_wakeup_send(al_wakeup *self);

#endif
