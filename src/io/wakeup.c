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
#include <unistd.h>

#include "base/errors.h"
#include "sched/ready.h"
#include "sched/report.h"

/* Make a pipe in steps, where there is no pipe2(): 0, or an errno. */
static int
wakeup_make_plain_pipe(int ends[2])
{
    if (pipe(ends) < 0) {
        return errno;
    }
    for (int i = 0; i < 2; i++) {
        if (fcntl(ends[i], F_SETFL, O_NONBLOCK) < 0 ||
            fcntl(ends[i], F_SETFD, FD_CLOEXEC) < 0)
        {
            int errnum = errno;
            close(ends[0]);
            close(ends[1]);
            return errnum;
        }
    }
    return 0;
}

static int
wakeup_make_pipe(int ends[2])
{
#if defined(__linux__)
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0) {
        return 0;
    }
    if (!al_errno_is_refusal(errno)) {
        return errno;
    }
#endif
    return wakeup_make_plain_pipe(ends);
}

/* Call loop.name(arg) (arg NULL: without) as an entry of the ready queue. */
static int
wakeup_call(al_loop_head *loop, PyObject *name, PyObject *arg)
{
    PyObject *op = (PyObject *)loop;

    PyObject *result = arg == NULL ? PyObject_CallMethodNoArgs(op, name)
                                   : PyObject_CallMethodOneArg(op, name, arg);
    if (result != NULL) {
        Py_DECREF(result);
        return 0;
    }
    const al_report_item items[] = {{NULL, NULL}};
    return al_report_exception(
        op, loop->state,
        PyUnicode_FromFormat("Exception in callback Loop.%U()", name), items);
}

/* al_run_fn of the numbers of signals, in bytes. */
static int
wakeup_run_signals(al_loop_head *loop, PyObject *numbers)
{
    return wakeup_call(loop, loop->state->names._handle_signals, numbers);
}

/* al_run_fn after a lent pipe was closed by somebody. */
static int
wakeup_run_move(al_loop_head *loop, PyObject *Py_UNUSED(object))
{
    return wakeup_call(loop, loop->state->names._move_wakeup, NULL);
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
wakeup_on_ready(al_source *source, bool failed)
{
    al_wakeup *self =
        (al_wakeup *)((char *)source - offsetof(al_wakeup, source));
    al_loop_head *loop = source->set->loop;
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
wakeup_is_ours(al_wakeup *self, int fd)
{
    return fd >= 0 && al_file_id_matches(&self->pipe, fd);
}

static int
wakeup_make(al_wakeup *self, al_watch_set *set)
{
    int ends[2];

    int errnum = wakeup_make_pipe(ends);
    if (errnum != 0) {
        return errnum;
    }
    self->source = (al_source){.set = set,
                               .fd = ends[0],
                               .place = AL_SOURCE_WAKEUP,
                               .on_ready = wakeup_on_ready};
    self->sender = ends[1];
    self->is_lent = false;
    self->pipe = (al_file_id){0};
    (void)al_file_id_matches(&self->pipe, ends[0]);
    return 0;
}

void
al_wakeup_close(al_wakeup *self, al_watch_set *set)
{
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
al_wakeup_forked(al_wakeup *self, al_watch_set *set)
{
    self->is_lent = false;
    al_wakeup_close(self, set);
}

int
al_wakeup_open(al_wakeup *self, al_watch_set *set)
{
    int errnum = 0;

    if (!wakeup_is_ours(self, self->source.fd) ||
        !wakeup_is_ours(self, self->sender))
    {
        if (self->is_lent &&
            al_ready_push(set->loop, wakeup_run_move, Py_None) < 0)
        {
            PyErr_Clear();
            return ENOMEM;
        }
        al_wakeup_close(self, set);
        errnum = wakeup_make(self, set);
    }
    return errnum != 0 ? errnum : set->kind->add(set, &self->source);
}

void
al_wakeup_send(al_wakeup *self)
{
    int tries = 3; /* a wake-up that is lost may be a loop that stands */

    /* A pipe that is full is readable, too. */
    while (tries > 0 && write(self->sender, "", 1) < 0 && errno != EAGAIN) {
        tries--;
    }
}
