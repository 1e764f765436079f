/* wakeup.h - ends a poll from another thread or for a signal. */
#ifndef AL_IO_WAKEUP_H
#define AL_IO_WAKEUP_H

#include "sys/file_id.h"
#include "io/watch_set.h"

typedef struct {
    al_source source; /* the end of a pipe that is read */
    int sender;       /* owned: the other end, -1 with source.fd */
    al_file_id pipe;  /* both ends are the same file */
    bool is_lent;     /* CPython writes the numbers of signals to it */
} al_wakeup;

/* Have a pipe, in the set of watches: 0, or an errno. One that is there already
 * and still is ours is entered again. Where one was lent that somebody has
 * closed, CPython is told of the other by _move_wakeup(). */
int
al_wakeup_open(al_wakeup *self, al_watch_set *set);

/* One that is lent stays open: its number must not become somebody else's. The
 * set may be NULL: it is closed already. */
void
al_wakeup_close(al_wakeup *self, al_watch_set *set);

/* In a child process: close what is the parent's, lent or not. */
void
al_wakeup_forked(al_wakeup *self, al_watch_set *set);

/* Let the present poll return, or the next one that waits. */
void
al_wakeup_send(al_wakeup *self);

#endif
