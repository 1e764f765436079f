/* pipe_transport.c - what is the same for both ends of a pipe: the start, the
 * entries in the watch, the end.
 *
 *     a file object ---> al_pipe_init() ---> fd_transport.c
 *                                                |
 *                                  pipe_read.c, pipe_write.c
 *
 * Invariants
 *   (1) desc.object is the file object.  It is NULL before the start and once
 *       the pipe is closed.
 *   (2) Before the pipe is closed, our entries are cleared, and only ours: the
 *       program may have replaced them by add_reader(), or closed the file and
 *       used the number again.
 */
#include "net/pipe_transport.h"

#include "base/errors.h"

#include <errno.h>
#include <fcntl.h>

/* --- watching ----------------------------------------------------------- */

/* The loop's watch of our descriptor: borrowed, NULL if there is none. */
static al_fdwatch *
pipe_watch(PipeTransportObject *self)
{
    al_loop_head *loop = self->base.loop;

    return loop == NULL ? NULL : al_fdwatch_find(loop, self->base.desc.fd);
}

bool
al_pipe_is_reading(PipeTransportObject *self)
{
    al_fdwatch *watch = pipe_watch(self);

    return watch != NULL && watch->reader.object == (PyObject *)self;
}

bool
al_pipe_is_writing(PipeTransportObject *self)
{
    al_fdwatch *watch = pipe_watch(self);

    return watch != NULL && watch->writer.object == (PyObject *)self;
}

#ifdef AL_DEBUG

void
al_pipe_check(PipeTransportObject *self)
{
    bool is_ours = self->base.desc.phase != AL_DESCRIPTOR_NONE;

    AL_HOLDS(1, is_ours == (self->base.desc.object != NULL));
}

#endif

/* The watch for setting an entry: borrowed, or NULL with an exception set. */
static al_fdwatch *
pipe_get_watch(PipeTransportObject *self)
{
    TransportObject *base = &self->base;

    if (al_loop_check_closed(base->loop) < 0) {
        return NULL;
    }
    if (!al_transport_is_ours(base)) {
        al_error_set_errno(EBADF);
        return NULL;
    }
    return al_fdwatch_get(base->loop, base->desc.fd, base->desc.object);
}

int
al_pipe_watch_reader(PipeTransportObject *self)
{
    al_fdwatch *watch = pipe_get_watch(self);

    return watch == NULL
               ? -1
               : al_fdwatch_set_reader(watch, self->on_read, (PyObject *)self);
}

int
al_pipe_watch_writer(PipeTransportObject *self, al_run_fn run)
{
    /* If the watch has our reader entry, it is the right one. */
    al_fdwatch *watch =
        al_pipe_is_reading(self) ? pipe_watch(self) : pipe_get_watch(self);

    return watch == NULL ? -1
                         : al_fdwatch_set_writer(watch, run, (PyObject *)self);
}

void
al_pipe_unwatch_reader(TransportObject *base)
{
    PipeTransportObject *self = PipeTransportObject_CAST(base);

    if (al_pipe_is_reading(self)) {
        al_fdwatch_clear_reader(pipe_watch(self));
    }
}

void
al_pipe_unwatch_writer(PipeTransportObject *self)
{
    if (al_pipe_is_writing(self)) {
        al_fdwatch_clear_writer(pipe_watch(self));
    }
}

/* --- what transport.c asks of us ---------------------------------------- */

void
al_pipe_release(TransportObject *base)
{
    PipeTransportObject *self = (PipeTransportObject *)base;

    al_pipe_unwatch_reader(base); /* by (2) */
    al_pipe_unwatch_writer(self);
    int rc = al_descriptor_release(&base->desc, base->state);
    PyObject *raised = PyErr_GetRaisedException();
    Py_CLEAR(base->desc.object); /* by (1) */
    PyErr_SetRaisedException(raised);
    /* close() of a file object flushes what the program has written to it, and
     * that may fail. */
    if (rc < 0 &&
        (al_error_is_fatal() ||
         al_transport_report_callback(base, (PyObject *)base,
                                      "_call_connection_lost", Py_None) < 0))
    {
        PyErr_WriteUnraisable((PyObject *)self);
    }
}

/* --- start -------------------------------------------------------------- */

/* Call pipe.fileno() and fstat(). 0, or -1 with an exception set. */
static int
pipe_look(PipeTransportObject *self, al_state *state, PyObject *pipe,
          struct stat *status)
{
    PyObject *fileno = PyObject_CallMethodNoArgs(pipe, state->names.fileno);
    if (fileno == NULL) {
        return -1;
    }
    /* A closed socket returns -1, which fstat() refuses. */
    int overflow;
    long fd = PyLong_AsLongAndOverflow(fileno, &overflow);
    Py_DECREF(fileno);
    if (fd == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (overflow != 0 || fd < INT_MIN || fd > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError,
                        "Python int too large to convert to C int");
        return -1;
    }
    self->base.desc.fd = (int)fd;
    int errnum = 0;
    Py_BEGIN_ALLOW_THREADS; /* fstat() of a network file may take long */
    if (fstat((int)fd, status) < 0) {
        errnum = errno;
    }
    Py_END_ALLOW_THREADS;
    if (errnum != 0) {
        al_error_set_errno(errnum);
        return -1;
    }
    return 0;
}

/* The pipe is read and written with the GIL held, so it must not block. 0, or
 * -1 with OSError set. */
static int
pipe_set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 ||
        (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
    {
        al_error_set_errno(errno);
        return -1;
    }
    return 0;
}

int
al_pipe_init(PipeTransportObject *self, const al_transport_kind *kind,
             al_loop_head *loop, const al_pipe_parts *parts,
             const char *refusal, struct stat *status)
{
    TransportObject *base = &self->base;

    if (pipe_look(self, loop->state, parts->pipe, status) < 0) {
        return -1;
    }
    if (!S_ISFIFO(status->st_mode) && !S_ISSOCK(status->st_mode) &&
        !S_ISCHR(status->st_mode))
    {
        PyErr_SetString(PyExc_ValueError, refusal);
        return -1;
    }
    if (al_transport_init(base, kind, loop, parts->protocol, parts->extra,
                          NULL) < 0 ||
        (base->extra == NULL && (base->extra = PyDict_New()) == NULL) ||
        PyDict_SetItemString(base->extra, "pipe", parts->pipe) < 0 ||
        pipe_set_nonblocking(base->desc.fd) < 0 ||
        al_protocol_expect(&base->protocol, loop->state) < 0)
    {
        return -1;
    }
    al_descriptor_take(&base->desc, base->desc.fd, parts->pipe); /* by (1) */
    return 0;
}

/* --- Python: repr and attributes ----------------------------------------- */

const char *
al_pipe_repr_unknown(PipeTransportObject *self)
{
    if (self->base.desc.object == NULL) {
        return "closed";
    }
    return self->base.loop == NULL || self->base.loop->is_closed ? "open"
                                                                 : NULL;
}

PyObject *
al_pipe_repr_head(PipeTransportObject *self)
{
    const char *phase = self->base.desc.object == NULL      ? " closed"
                        : al_transport_is_open(&self->base) ? ""
                                                            : " closing";

    return PyUnicode_FromFormat("<asyncloop.%s%s fd=%d", self->base.kind->name,
                                phase, self->base.desc.fd);
}

PyMemberDef al_pipe_members[] = {
    AL_TRANSPORT_MEMBERS,
    AL_TRANSPORT_MEMBER("_fileno", T_INT, desc.fd),
    AL_TRANSPORT_MEMBER("_pipe", T_OBJECT, desc.object),
    {NULL, 0, 0, 0, NULL},
};
