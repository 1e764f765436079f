/* wakeup.c - ends a poll from another thread or for a signal.
 *
 *     call_soon_threadsafe() ---> 0 ---> pipe ---> (readable) ---> poll ends
 *     CPython's signal handler ---> n ---> '  `--- n ---> ready queue
 *
 * The zero carries no data: the entry of the other thread is in the ready
 * queue already.  It is written only if the loop waits or is about to wait,
 * and if no earlier zero is in the pipe.
 *
 * While the loop handles signals, CPython writes their numbers to the same
 * pipe (asyncloop/_signals.py).  So signal handling needs no descriptor of its
 * own, and works in a process that has none left.
 *
 * Invariant
 *   (1) source.fd < 0 <=> sender < 0 <=> there is no pipe. */
#include "io/wakeup.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/call.h"
#include "base/errors.h"
#include "base/features.h"
#include "sched/ready.h"
#include "sched/report.h"

#ifdef AL_DEBUG

static void
wakeup_check(const al_wakeup *self)
{
    AL_HOLDS(1, (self->source.fd < 0) == (self->sender < 0));
}

#endif

/* Make a pipe on systems without pipe2(): 0, or an errno. */
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
#if AL_HAS_PIPE2
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0) {
        return 0;
    }
    if (!al_errno_is_refusal(errno)) {
        return errno;
    }
#endif
    return wakeup_make_plain_pipe(ends);
}

/* Call loop.name(arg), or loop.name() if arg is NULL. For run functions:
 * reports an exception. */
static int
wakeup_call(al_loop_head *loop, PyObject *name, PyObject *arg)
{
    PyObject *op = (PyObject *)loop;

    PyObject *result = arg == NULL ? PyObject_CallMethodNoArgs(op, name)
                                   : PyObject_CallMethodOneArg(op, name, arg);
    if (al_call_finish(result) == 0) {
        return 0;
    }
    const al_report_item items[] = {{NULL, NULL}};
    return al_report_exception(
        op, loop->state,
        PyUnicode_FromFormat("Exception in callback Loop.%U()", name), items);
}

/* al_run_fn: `numbers` is a bytes object of signal numbers. */
static int
wakeup_run_signals(al_loop_head *loop, PyObject *numbers)
{
    return wakeup_call(loop, loop->state->names._handle_signals, numbers);
}

/* al_run_fn: the program has closed the pipe that CPython writes signals
 * to. */
static int
wakeup_run_move(al_loop_head *loop, PyObject *Py_UNUSED(object))
{
    return wakeup_call(loop, loop->state->names._move_wakeup, NULL);
}

/* Queue the signal numbers among `size` bytes: 0, or -1 if there is no
 * memory. */
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

    AL_CHECK(wakeup_check, self);
    if (failed) {
        return; /* the set makes a new wake-up by al_wakeup_open() */
    }
    do {
        size = read(self->source.fd, bytes, sizeof bytes);
        if (size > 0 && wakeup_queue_signals(loop, bytes, size) < 0) {
            /* Write them back into the pipe: the next poll tries again. */
            (void)!write(self->sender, bytes, (size_t)size);
            return;
        }
    } while (size == (ssize_t)sizeof bytes);
}

/* Whether the number still is an end of our pipe. The program may have closed
 * it (os.closerange()) and opened another file with the number. */
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
    self->has_signals = false;
    self->pipe = (al_file_id){0};
    (void)al_file_id_matches(&self->pipe, ends[0]);
    return 0;
}

void
al_wakeup_close(al_wakeup *self, al_watch_set *set)
{
    AL_CHECK(wakeup_check, self);
    if (self->source.fd < 0) {
        return;
    }
    if (set != NULL) {
        set->kind->remove(set, &self->source);
    }
    if (!self->has_signals && wakeup_is_ours(self, self->source.fd)) {
        close(self->source.fd);
    }
    if (!self->has_signals && wakeup_is_ours(self, self->sender)) {
        close(self->sender);
    }
    self->source.fd = self->sender = -1;
}

void
al_wakeup_forked(al_wakeup *self, al_watch_set *set)
{
    self->has_signals = false;
    al_wakeup_close(self, set);
}

int
al_wakeup_open(al_wakeup *self, al_watch_set *set)
{
    int errnum = 0;

    AL_CHECK(wakeup_check, self);
    if (!wakeup_is_ours(self, self->source.fd) ||
        !wakeup_is_ours(self, self->sender))
    {
        if (self->has_signals &&
            al_ready_push(set->loop, wakeup_run_move, Py_None) < 0)
        {
            PyErr_Clear();
            return ENOMEM;
        }
        al_wakeup_close(self, set);
        errnum = wakeup_make(self, set);
    }
    AL_CHECK(wakeup_check, self);
    return errnum != 0 ? errnum : set->kind->add(set, &self->source);
}

void
al_wakeup_send(al_wakeup *self)
{
    int tries = 3; /* if the wake-up is lost, the loop may wait for ever */

    /* EAGAIN: the pipe is full, so it is readable, which is enough. */
    while (tries > 0 && write(self->sender, "", 1) < 0 && errno != EAGAIN) {
        tries--;
    }
}
