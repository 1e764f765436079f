/* wakeup.c - ends a poll from another thread or a signal handler.
 *
 *     call_soon_threadsafe() ---> write() ---> pipe ---> (readable) ---> poll ends
 *
 * What was queued is in the ready queue already: what comes out of the pipe
 * says nothing.  A byte is written only while the loop sleeps (or is about to)
 * and no earlier one is on its way. */
#include "io/wakeup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/reactor.h"

#if defined(__linux__)

static int
wakeup_make_pipe(int ends[2])
{
    return pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0 ? errno : 0;
}

#else

static int
wakeup_make_pipe(int ends[2])
{
    if (pipe(ends) < 0) {
        return errno;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFL, fcntl(ends[i], F_GETFL) | O_NONBLOCK);
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    }
    return 0;
}

#endif

static void
wakeup_on_ready(al_loop_head *loop, bool Py_UNUSED(failed))
{
    char bytes[64];

    while (read(loop->reactor->wakeup.source.fd, bytes, sizeof bytes) ==
           (ssize_t)sizeof bytes)
    {
    }
}

/* Whether a number still is an end of our pipe: programs close descriptors that
 * they do not know (closerange()), and open others. */
static bool
wakeup_is_ours(const al_wakeup *self, int fd)
{
    struct stat status;

    return fd >= 0 && fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode) &&
           status.st_ino == self->inode;
}

static int
wakeup_make(al_wakeup *self)
{
    struct stat status;
    int ends[2];

    int errnum = wakeup_make_pipe(ends);
    if (errnum != 0) {
        return errnum;
    }
    self->source = (al_source){
        .fd = ends[0], .place = AL_SOURCE_WAKEUP, .on_ready = wakeup_on_ready};
    self->sender = ends[1];
    self->inode = fstat(ends[0], &status) == 0 ? status.st_ino : 0;
    return 0;
}

void
al_wakeup_close(al_loop_head *loop)
{
    al_wakeup *self = &loop->reactor->wakeup;
    al_watch_set *set = loop->reactor->set;

    if (self->source.fd < 0) {
        return;
    }
    if (set != NULL) {
        set->kind->remove(set, &self->source);
    }
    if (wakeup_is_ours(self, self->source.fd)) {
        close(self->source.fd);
    }
    if (wakeup_is_ours(self, self->sender)) {
        close(self->sender);
    }
    self->source.fd = self->sender = -1;
}

int
al_wakeup_open(al_loop_head *loop)
{
    al_wakeup *self = &loop->reactor->wakeup;
    al_watch_set *set = loop->reactor->set;
    int errnum = 0;

    if (!wakeup_is_ours(self, self->source.fd) ||
        !wakeup_is_ours(self, self->sender))
    {
        al_wakeup_close(loop);
        errnum = wakeup_make(self);
    }
    return errnum != 0 ? errnum : set->kind->add(set, &self->source);
}

void
al_wakeup_send(al_loop_head *loop)
{
    ssize_t n;

    /* A pipe that is full is readable, too. */
    do {
        n = write(loop->reactor->wakeup.sender, "", 1);
    } while (n < 0 && errno == EINTR);
}
