/* wakeup.h - ends a poll from another thread or for a signal. */
#ifndef AL_IO_WAKEUP_H
#define AL_IO_WAKEUP_H

#include "io/file_id.h"
#include "io/watch_set.h"

typedef struct {
    al_source source; /* the end of a pipe that is read */
    int sender;       /* owned: the other end, -1 with source.fd */
    al_file_id pipe;  /* both ends are the same file */
    bool is_lent;     /* CPython writes the numbers of signals to it */
} al_wakeup;

/* Have a pipe, in the loop's set of watches: 0, or an errno. One that is there
 * already and still is the loop's own is entered again. Where one was lent that
 * somebody has closed, CPython is told of the other by _move_wakeup(). */
int
al_wakeup_open(al_loop_head *loop);

/* One that is lent stays open: its number must not become somebody else's. */
void
al_wakeup_close(al_loop_head *loop);

/* In a child process: close what is the parent's, lent or not. */
void
al_wakeup_forked(al_loop_head *loop);

/* Let the loop's present poll return, or the next one that waits. */
void
al_wakeup_send(al_loop_head *loop);

/* Let the loop's poll return, if it is blocked in one (GIL held). Once is
 * enough: until the loop's thread has the GIL again it is on its way. */
static inline void
al_wakeup_if_blocked(al_loop_head *loop)
{
    if (loop->is_blocked) {
        loop->is_blocked = false;
        al_wakeup_send(loop);
    }
}

#endif
