/* pipe_transport.c - what the two ends of a pipe have in common: how they
 * begin and end, and how they are watched.
 *
 *     a file object ---> al_pipe_init(), al_pipe_start()
 *                             | next turn
 *                  connection_made(), watch for reading, wake the waiter
 *                             |
 *              pipe_read.c, pipe_write.c, until transport.c ends it
 *
 * Invariants
 *   (1) desc.object is the file object, NULL once it is closed or where it is
 *       not ours.
 *   (2) Our entries are out of the loop's watch before that, and only ours:
 *       others may have taken them over, or the number may have been used
 *       again behind our back.
 */
#include "net/pipe_transport.h"

#include "base/errors.h"
#include "task/future.h"

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

/* The watch to set an entry in: borrowed, or NULL with an exception set. */
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
    /* A watch that reads for us knows the descriptor: no need to ask. */
    al_fdwatch *watch =
        al_pipe_is_reading(self) ? pipe_watch(self) : pipe_get_watch(self);

    return watch == NULL ? -1
                         : al_fdwatch_set_writer(watch, run, (PyObject *)self);
}

void
al_pipe_unwatch_reader(PipeTransportObject *self)
{
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

    al_pipe_unwatch_reader(self); /* by (2) */
    al_pipe_unwatch_writer(self);
    Py_CLEAR(self->waiter);
    int rc = al_descriptor_release(&base->desc, base->state);
    PyObject *raised = PyErr_GetRaisedException();
    Py_CLEAR(base->desc.object); /* by (1) */
    PyErr_SetRaisedException(raised);
    /* It may have flushed what somebody had written there. */
    if (rc < 0 &&
        (al_error_is_fatal() ||
         al_transport_report_callback(base, (PyObject *)base,
                                      "_call_connection_lost", Py_None) < 0))
    {
        PyErr_WriteUnraisable((PyObject *)self);
    }
}

PyObject *
al_pipe_make_extra(TransportObject *Py_UNUSED(base), PyObject *Py_UNUSED(name))
{
    return NULL; /* all there is stands in the dict */
}

/* --- start -------------------------------------------------------------- */

/* Open, or closed with something left to be written. */
static bool
pipe_is_in_use(TransportObject *base)
{
    return al_transport_is_open(base) ||
           (al_transport_is_draining(base) && base->kind->pending(base) > 0);
}

/* al_run_fn: the three steps that asyncio queues one after another. A failure
 * of one does not keep the next from happening. */
static int
pipe_run_begin(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    PipeTransportObject *self = PipeTransportObject_CAST(op);
    TransportObject *base = &self->base;
    PyObject *raised = NULL;

    /* The loop was closed and the transport finalised; or somebody has called
     * _begin(). */
    if (base->phase == AL_TRANSPORT_CLOSED ||
        base->protocol.connection_made == NULL)
    {
        return 0;
    }
    PyObject *protocol = Py_NewRef(base->protocol.object);
    int rc = al_transport_enter(base);
    if (rc == 0) {
        rc = al_transport_leave(
            base, al_protocol_connection_made(&base->protocol, op));
    }
    if (rc < 0 && al_transport_report_callback(base, protocol,
                                               "connection_made", op) < 0)
    {
        raised = PyErr_GetRaisedException();
    }
    Py_DECREF(protocol);

    /* connection_made() may have paused, closed or aborted us. What cannot be
     * polled, such as /dev/null, shows here; as in asyncio that ends nothing.
     */
    if (self->on_read != NULL && pipe_is_in_use(base) && !self->is_paused &&
        al_pipe_watch_reader(self) < 0 &&
        (al_error_is_fatal() ||
         al_transport_report_callback(base, op, "_add_reader", Py_None) < 0))
    {
        Py_XSETREF(raised, PyErr_GetRaisedException());
    }
    PyObject *waiter = self->waiter;
    self->waiter = NULL;
    if (waiter != NULL && al_future_resolve(waiter, Py_None) < 0) {
        PyErr_WriteUnraisable(op);
    }
    Py_XDECREF(waiter);
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
        return -1;
    }
    return 0;
}

PyObject *
al_pipe_py_begin(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (pipe_run_begin(NULL, op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Ask pipe.fileno() and what that is. 0, or -1 with an exception set. */
static int
pipe_look(PipeTransportObject *self, al_state *state, PyObject *pipe,
          struct stat *status)
{
    PyObject *fileno = PyObject_CallMethodNoArgs(pipe, state->names.fileno);
    if (fileno == NULL) {
        return -1;
    }
    /* Of a closed socket -1, which fstat() is to refuse. */
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
    Py_BEGIN_ALLOW_THREADS; /* a file may be far away */
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

/* Both ends of a pipe are read and written with the GIL held. 0, or -1 with OSError set. */
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
    if (parts->waiter != NULL && parts->waiter != Py_None) {
        self->waiter = Py_NewRef(parts->waiter);
    }
    return 0;
}

int
al_pipe_start(PipeTransportObject *self, PyObject *pipe)
{
    al_descriptor *desc = &self->base.desc;

    al_descriptor_take(desc, desc->fd, pipe); /* by (1) */
    if (al_transport_call_soon(&self->base, pipe_run_begin, "_begin") < 0) {
        al_descriptor_give_back(desc); /* not begun: the caller closes it */
        return -1;
    }
    return 0;
}

/* --- Python: the repr ---------------------------------------------------- */

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
al_pipe_repr_head(PipeTransportObject *self, const char *name)
{
    const char *phase = self->base.desc.object == NULL      ? " closed"
                        : al_transport_is_open(&self->base) ? ""
                                                            : " closing";

    return PyUnicode_FromFormat("<asyncloop.%s%s fd=%d", name, phase,
                                self->base.desc.fd);
}

/* --- Python: lifetime ---------------------------------------------------- */

int
al_pipe_traverse(PyObject *op, visitproc visit, void *arg)
{
    PipeTransportObject *self = PipeTransportObject_CAST(op);

    /* The references of our entries are the loop's, which visits them. */
    Py_VISIT(self->waiter);
    return al_transport_traverse(&self->base, visit, arg);
}

int
al_pipe_clear(PyObject *op)
{
    PipeTransportObject *self = PipeTransportObject_CAST(op);

    Py_CLEAR(self->waiter);
    al_transport_clear(&self->base);
    return 0;
}

void
al_pipe_finalize(PyObject *op)
{
    TransportObject *base = TransportObject_CAST(op);

    if (base->desc.phase != AL_DESCRIPTOR_NONE) {
        al_transport_finalize(base);
    }
}

void
al_pipe_dealloc(PyObject *op, int (*clear)(PyObject *))
{

    if (PyObject_CallFinalizerFromDealloc(op) < 0) {
        return; /* the warning has brought it back to life */
    }
    PyObject_GC_UnTrack(op);
    if (TransportObject_CAST(op)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    (void)clear(op);
    al_transport_free(TransportObject_CAST(op));
}
