/* fd_transport.c - what is the same for sockets, datagrams and pipes.
 *
 *     new ---> al_fd_transport_start()
 *                    | next turn
 *              connection_made(), start reading, wake the waiter
 *                    |
 *              sock_*.c, dgram_*.c, pipe_*.c, until transport.c ends it
 *
 * The transport of a socket embeds a watch, which is in the loop's table from
 * the start to the end.  If the watch is not in the table although the loop is
 * open, another transport has taken over the descriptor's number
 * (net/claim.c).  The first transport ends as soon as it uses the watch.  A
 * pipe may have two transports, one for each direction, which share a watch
 * that the loop's table has made: pipe_transport.c. */
#include "net/fd_transport.h"

#include "base/errors.h"
#include "task/future.h"

/* --- start ---------------------------------------------------------------- */

/* Wake the waiter, if there is one: 0, or -1 with an exception set. */
static int
fd_transport_wake(TransportObject *self)
{
    PyObject *waiter = self->waiter;

    if (waiter == NULL) {
        return 0;
    }
    self->waiter = NULL;
    int rc = al_future_resolve(waiter, Py_None);
    Py_DECREF(waiter);
    return rc;
}

/* Call connection_made(): 0, or -1 with an exception set that ends the run. */
static int
fd_transport_call_made(TransportObject *self)
{
    PyObject *op = (PyObject *)self;
    PyObject *protocol = Py_NewRef(self->protocol.object);

    int rc = al_transport_enter(self);
    if (rc == 0) {
        rc = al_transport_leave(
            self, al_protocol_connection_made(&self->protocol, op));
    }
    if (rc < 0) {
        rc = al_transport_report_callback(self, protocol, "connection_made",
                                          op);
    }
    Py_DECREF(protocol);
    return rc;
}

/* al_run_fn: what asyncio queues as three callbacks. If one of them fails, the
 * next ones are done all the same. */
static int
fd_transport_run_begin(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    TransportObject *self = TransportObject_CAST(op);

    AL_CHECK(al_transport_check, self);
    /* Either the loop was closed and the transport finalised, or the program
     * has called _begin() itself. */
    if (self->phase == AL_TRANSPORT_CLOSED ||
        self->protocol.connection_made == NULL)
    {
        return 0;
    }
    PyObject *raised =
        fd_transport_call_made(self) < 0 ? PyErr_GetRaisedException() : NULL;
    /* connection_made() may have paused, closed or aborted us. */
    if (self->phase != AL_TRANSPORT_CLOSED &&
        self->kind->start_reading(self) < 0)
    {
        self->is_paused = true; /* resume_reading() may try again */
        if (al_transport_refuse_start(self) < 0) {
            Py_XSETREF(raised, PyErr_GetRaisedException());
        }
    }
    if (fd_transport_wake(self) < 0) {
        PyErr_WriteUnraisable(op);
    }
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
        return -1;
    }
    return 0;
}

int
al_fd_transport_start(TransportObject *self, PyObject *waiter)
{
    if (waiter != Py_None) {
        self->waiter = Py_XNewRef(waiter);
    }
    return al_transport_call_soon(self, fd_transport_run_begin, "_begin");
}

/* --- a socket's watch ------------------------------------------------------ */

int
al_fd_transport_watch_reader(TransportObject *self, al_fdwatch *watch,
                             al_run_fn run)
{
    return AL_UNLIKELY(watch->loop == NULL)
               ? al_transport_force_close(self, NULL)
               : al_fdwatch_set_reader(watch, run, (PyObject *)self);
}

int
al_fd_transport_watch_writer(TransportObject *self, al_fdwatch *watch,
                             al_run_fn run)
{
    if (watch->writer.object != NULL) {
        return 0;
    }
    if (al_loop_check_closed(self->loop) < 0) {
        return -1;
    }
    return AL_UNLIKELY(watch->loop == NULL)
               ? al_transport_force_close(self, NULL)
               : al_fdwatch_set_writer(watch, run, (PyObject *)self);
}

int
al_fd_transport_resume_writing(TransportObject *self)
{
    int rc = al_transport_maybe_resume(self); /* may write, close, abort */

    if (self->lost > 0 || self->kind->queued(self) > 0) {
        return rc;
    }
    PyObject *raised = rc < 0 ? PyErr_GetRaisedException() : NULL;
    rc = self->kind->drained(self);
    if (rc == 0 && al_transport_is_draining(self)) {
        self->lost = 1;
        rc = al_transport_run_lost(self->loop, (PyObject *)self);
    }
    if (raised != NULL) {
        PyErr_SetRaisedException(raised);
        rc = -1;
    }
    return rc;
}

/* --- Python: methods ------------------------------------------------------- */

PyObject *
al_fd_transport_py_begin(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    if (fd_transport_run_begin(NULL, op) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

AL_LOCKS(al_fd_transport_py_begin, al_transport_lock)

PyObject *
al_fd_transport_py_is_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(al_transport_is_reading(TransportObject_CAST(op)));
}

AL_LOCKS(al_fd_transport_py_is_reading, al_transport_lock)

static void
fd_transport_log(TransportObject *self, const char *format)
{
    if (self->loop != NULL && self->loop->is_debug) {
        al_transport_debug(self, format);
    }
}

PyObject *
al_fd_transport_py_pause_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = TransportObject_CAST(op);

    AL_CHECK(al_transport_check, self);
    if (al_transport_is_reading(self)) {
        self->is_paused = true;
        self->kind->stop_reading(self);
        fd_transport_log(self, "%r pauses reading");
    }
    Py_RETURN_NONE;
}

AL_LOCKS(al_fd_transport_py_pause_reading, al_transport_lock)

PyObject *
al_fd_transport_py_resume_reading(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = TransportObject_CAST(op);

    AL_CHECK(al_transport_check, self);
    if (!al_transport_is_open(self) || !self->is_paused) {
        Py_RETURN_NONE;
    }
    self->is_paused = false;
    if (self->kind->start_reading(self) < 0) {
        self->is_paused = true; /* the program may try again */
        return NULL;
    }
    fd_transport_log(self, "%r resumes reading");
    Py_RETURN_NONE;
}

AL_LOCKS(al_fd_transport_py_resume_reading, al_transport_lock)

const char al_fd_transport_is_closing_doc[] =
    "is_closing($self, /)\n--\n\n"
    "Return whether the transport is closing or closed.";
const char al_fd_transport_get_protocol_doc[] =
    "get_protocol($self, /)\n--\n\n"
    "Return the protocol, None after connection_lost().";
const char al_fd_transport_set_protocol_doc[] =
    "set_protocol($self, /, protocol)\n--\n\n"
    "Talk to another protocol from now on; its connection_made() is not "
    "called.";
const char al_fd_transport_get_extra_info_doc[] =
    "get_extra_info($self, name, default=None)\n--\n\n"
    "Return what is known under a name: \"socket\", \"sockname\" and "
    "\"peername\" of a socket,\n\"pipe\" of a pipe; else the default.";
const char al_fd_transport_is_reading_doc[] =
    "is_reading($self, /)\n--\n\n"
    "Return whether the transport is receiving: neither paused nor closing.";
const char al_fd_transport_pause_reading_doc[] =
    "pause_reading($self, /)\n--\n\n"
    "Hand nothing to the protocol until resume_reading(). May be called "
    "twice.";
const char al_fd_transport_resume_reading_doc[] =
    "resume_reading($self, /)\n--\n\n"
    "Receive again after pause_reading(). May be called twice. Raises OSError "
    "if the\nkernel cannot watch the descriptor.";
const char al_fd_transport_abort_doc[] =
    "abort($self, /)\n--\n\n"
    "End the transport without sending what is queued; connection_lost(None) "
    "follows.";
const char al_fd_transport_can_write_eof_doc[] =
    "can_write_eof($self, /)\n--\n\n"
    "Return True: write_eof() tells the reader of the end.";
const char al_fd_transport_get_write_buffer_size_doc[] =
    "get_write_buffer_size($self, /)\n--\n\n"
    "Return the number of bytes queued: written, and not taken by the kernel "
    "yet. Of\ndatagrams, from Python 3.13 on, with 8 more for each.";
const char al_fd_transport_get_write_buffer_limits_doc[] =
    "get_write_buffer_limits($self, /)\n--\n\n"
    "Return the limits for flow control in bytes, as (low, high).";
const char al_fd_transport_set_write_buffer_limits_doc[] =
    "set_write_buffer_limits($self, high=None, low=None)\n--\n\n"
    "Pause the protocol's writing when more than `high` bytes are queued, "
    "resume it when\nnot more than `low` are (of a pipe: when all is "
    "written). Defaults: 64 KiB, or four\ntimes low; a quarter of high. "
    "Raises ValueError unless high >= low >= 0.";

/* --- Python: repr and lifetime --------------------------------------------- */

PyObject *
al_fd_transport_repr(TransportObject *self, const al_fdwatch *watch,
                     size_t size)
{
    const char *phase = self->phase == AL_TRANSPORT_OPEN      ? ""
                        : self->phase == AL_TRANSPORT_CLOSING ? " closing"
                                                              : " closed";
    const char *name = self->kind->name;

    if (self->loop == NULL || self->loop->is_closed) {
        return PyUnicode_FromFormat("<asyncloop.%s%s fd=%d>", name, phase,
                                    self->desc.fd);
    }
    return PyUnicode_FromFormat(
        "<asyncloop.%s%s fd=%d read=%s write=<%s, bufsize=%zu>>", name, phase,
        self->desc.fd, watch->reader.object != NULL ? "polling" : "idle",
        watch->writer.object != NULL ? "polling" : "idle", size);
}

void
al_fd_transport_finalize(PyObject *op)
{
    TransportObject *self = TransportObject_CAST(op);

    if (self->desc.phase != AL_DESCRIPTOR_NONE) {
        AL_LOCK(al_transport_lock(op));
        al_transport_finalize(self);
        AL_UNLOCK();
    }
}

/* The last tp_clear. */
static void
fd_transport_clear(PyObject *op, inquiry clear)
{
#if AL_FREE_THREADED
    PyObject *loop = Py_XNewRef((PyObject *)TransportObject_CAST(op)->loop);
    if (loop != NULL) {
        AL_LOCK(loop);
        (void)clear(op);
        AL_UNLOCK();
        Py_DECREF(loop);
        return;
    }
#endif
    (void)clear(op);
}

void
al_fd_transport_dealloc(PyObject *op, inquiry clear, void (*free)(PyObject *))
{
    if (PyObject_CallFinalizerFromDealloc(op) < 0) {
        return; /* a handler of the warning keeps the transport */
    }
    PyObject_GC_UnTrack(op);
    if (TransportObject_CAST(op)->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    fd_transport_clear(op, clear);
    if (free != NULL) {
        free(op);
    }
    al_transport_free(TransportObject_CAST(op));
}
