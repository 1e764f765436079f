/* wakeup.c - ends a poll from another thread or for a signal.
 *
 *     call_soon_threadsafe() ---> 0 ---> pipe ---> (readable) ---> poll ends
 *     CPython's signal handler ---> n ---> '  `--- n ---> ready queue
 *
 * What another thread has queued is in the ready queue already: its zero says
 * nothing.  It is written only while the loop sleeps (or is about to) and no
 * earlier one is on its way.
 *
 * While the loop handles signals, CPython writes their numbers to the same pipe
 * (asyncloop/_signals.py): so none is missing when the process has no descriptor
 * left. */
#include "io/wakeup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/reactor.h"
#include "sched/ready.h"
#include "sched/report.h"

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

/* al_run_fn of the numbers of signals, in bytes. */
static int
wakeup_run_signals(al_loop_head *loop, PyObject *numbers)
{
    PyObject *op = (PyObject *)loop;

    PyObject *result = PyObject_CallMethodOneArg(
        op, loop->state->names._handle_signals, numbers);
    if (result != NULL) {
        Py_DECREF(result);
        return 0;
    }
    const al_report_item items[] = {{NULL, NULL}};
    return al_report_exception(
        op, loop->state,
        PyUnicode_FromString("Exception in callback Loop._handle_signals()"),
        items);
}

/* Queue the numbers among `size` bytes: 0, or -1 without memory for it. */
static int
wakeup_queue_signals(al_loop_head *loop, const char *bytes, ssize_t size)
{
    ssize_t zeros = 0;

    while (zeros < size && bytes[zeros] == 0) {
        zeros++;
    }
    if (zeros == size) {
        return 0;
    }
    PyObject *numbers = PyBytes_FromStringAndSize(bytes, size);
    int rc = numbers == NULL
                 ? -1
                 : al_ready_push(loop, wakeup_run_signals, numbers);
    Py_XDECREF(numbers);
    if (rc < 0) {
        PyErr_Clear();
    }
    return rc;
}

static void
wakeup_on_ready(al_loop_head *loop, bool failed)
{
    al_wakeup *self = &loop->reactor->wakeup;
    char bytes[64];
    ssize_t size;

    if (failed) {
        return; /* the set of watches asks for another */
    }
    do {
        size = read(self->source.fd, bytes, sizeof bytes);
        if (size > 0 && wakeup_queue_signals(loop, bytes, size) < 0) {
            /* Back into the pipe: the next poll tries again. */
            (void)!write(self->sender, bytes, (size_t)size);
            return;
        }
    } while (size == (ssize_t)sizeof bytes);
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
    self->is_lent = false;
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
    if (!self->is_lent && wakeup_is_ours(self, self->source.fd)) {
        close(self->source.fd);
    }
    if (!self->is_lent && wakeup_is_ours(self, self->sender)) {
        close(self->sender);
    }
    self->source.fd = self->sender = -1;
}

void
al_wakeup_forked(al_loop_head *loop)
{
    loop->reactor->wakeup.is_lent = false;
    al_wakeup_close(loop);
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
    int tries = 3; /* a wake-up that is lost may be a loop that stands */

    /* A pipe that is full is readable, too. */
    while (tries > 0 && write(loop->reactor->wakeup.sender, "", 1) < 0 &&
           errno != EAGAIN)
    {
        tries--;
    }
}
