/* sock_write.c - the write side of a socket transport.
 *
 *     write(data) ---> send                       usually takes all bytes
 *                        | the bytes that the kernel did not take
 *                        v
 *                     outgoing ---> (fd writable) ---> sendmsg
 *
 * As in asyncio, write() sends at once, and only the bytes that the kernel did
 * not take are queued.  So a slow peer pauses a protocol, but its own speed
 * never does.  One exception: if a step is expected to write several times,
 * its small writes are held until it returns (held.c).
 *
 * Invariants
 *   (1) outgoing is not empty => the writer entry is set, or outgoing is held,
 *       or the connection is lost, or the loop is closed.
 *   (2) While bytes are queued, new bytes go behind them: all leave in order.
 *   (3) Held bytes are sent by one call, and are at most the high-water mark.
 *   (4) If the watch is not in the loop's table although the loop is open,
 *       another transport has taken over the descriptor, while we were
 *       closing.
 */
#include "base/args.h"
#include "base/errors.h"
#include "net/held.h"
#include "sys/sock.h"
#include "net/sock_transport.h"

#ifdef AL_DEBUG

void
al_sock_write_check(TransportObject *base)
{
    const SocketTransportObject *self = SocketTransportObject_CAST(base);
    const al_fdwatch *watch = &self->watch;
    bool is_held = al_held_is_of(base->loop, self);

    al_chunks_check(&self->outgoing);
    AL_HOLDS(1, self->outgoing.count == 0 || watch->writer.object != NULL ||
                    is_held || base->lost > 0 || base->loop->is_closed ||
                    watch->loop == NULL);
    AL_HOLDS(3, !is_held || (self->outgoing.size <= base->flow.high &&
                             watch->writer.object == NULL));
}

#endif

#define AL_WRITE_IOV 1024 /* the most that Linux takes in one call (IOV_MAX) */

static int
sock_write_fail(SocketTransportObject *self, int errnum)
{
    PyObject *exc = NULL;

    al_error_set_errno(errnum);
    if (self->sendfile != NULL) { /* it waits until these bytes are sent */
        exc = PyErr_GetRaisedException();
        PyErr_SetRaisedException(Py_NewRef(exc));
    }
    int rc = al_transport_fatal_error(&self->base, AL_SOCK_WRITE_FAILED);
    if (exc != NULL) {
        al_sock_sendfile_fail(self, exc);
        Py_DECREF(exc);
    }
    return rc;
}

/* al_sock_send(), if the descriptor still names our file. */
static inline ssize_t
sock_write_send(SocketTransportObject *self, const char *data, size_t size)
{
    al_loop_note_event(self->base.loop);
    return al_transport_is_ours(&self->base)
               ? al_transport_note_out(
                     &self->base, al_sock_send(self->base.desc.fd, data, size))
               : -EBADF;
}

/* Send from the queue by one call of al_sock_sendv(), and return its
 * result. */
static ssize_t
sock_write_sendv(SocketTransportObject *self)
{
    struct iovec iov[AL_WRITE_IOV];

    if (!al_transport_is_ours(&self->base)) {
        return -EBADF;
    }
    int count = al_chunks_iovec(&self->outgoing, iov, AL_WRITE_IOV);
    al_loop_note_event(self->base.loop);
    return al_transport_note_out(
        &self->base, al_sock_sendv(self->base.desc.fd, iov, count));
}

/* al_sock_shutdown_write(), if the descriptor still names our file. */
static int
sock_write_shutdown(SocketTransportObject *self)
{
    al_loop_note_event(self->base.loop);
    return al_transport_is_ours(&self->base)
               ? al_sock_shutdown_write(self->base.desc.fd)
               : -EBADF;
}

/* Send from the queue once. The connection may be lost afterwards. 0, or -1
 * with an exception set that the caller returns. */
static int
sock_write_flush(SocketTransportObject *self)
{
    ssize_t n = sock_write_sendv(self);
    if (n >= 0) {
        al_chunks_consume(&self->outgoing, (size_t)n);
        return 0;
    }
    return al_sock_is_again(n) ? 0 : sock_write_fail(self, (int)-n);
}

int
al_sock_write_drained(TransportObject *base)
{
    SocketTransportObject *self = SocketTransportObject_CAST(base);

    al_fdwatch_clear_writer(&self->watch);
    al_sock_sendfile_wake(self);
    if (self->is_eof && al_transport_is_open(base)) {
        int rc = sock_write_shutdown(self);
        return rc < 0 ? sock_write_fail(self, -rc) : 0;
    }
    return 0;
}

/* al_run_fn: the descriptor is writable. */
static int
sock_write_run(al_loop_head *Py_UNUSED(loop), PyObject *op)
{
    SocketTransportObject *self = SocketTransportObject_CAST(op);

    AL_CHECK(al_transport_check, &self->base);
    if (self->base.lost > 0) {
        return 0; /* queued before an error */
    }
    if (AL_UNLIKELY(self->watch.loop == NULL)) {
        return al_transport_force_close(&self->base, NULL); /* by (4) */
    }
    if (self->outgoing.count == 0) { /* sock_write_push() had no memory */
        al_fdwatch_clear_writer(&self->watch);
        return 0;
    }
    if (sock_write_flush(self) < 0) {
        return -1;
    }
    if (self->base.lost > 0) {
        return 0;
    }
    return al_fd_transport_resume_writing(&self->base);
}

/* Set the writer entry before bytes are queued, by (1). If the kernel refuses
 * to watch, the connection ends: a part of the bytes may have been sent
 * already. The connection may be lost afterwards. 0, or -1 with an exception
 * set. */
static int
sock_write_watch(SocketTransportObject *self)
{
    int rc = al_fd_transport_watch_writer(&self->base, &self->watch,
                                          sock_write_run);
    al_loop_head *loop = self->base.loop;
    return rc < 0 && loop != NULL && !loop->is_closed
               ? al_transport_fatal_error(&self->base, AL_SOCK_WRITE_FAILED)
               : rc;
}

/* al_run_fn of held bytes: send them now. */
static int
sock_write_run_held(al_loop_head *loop, PyObject *Py_UNUSED(op))
{
    SocketTransportObject *self =
        SocketTransportObject_CAST(al_held_end(loop)); /* owned */
    int rc = 0;

    if (self->base.lost == 0) {
        rc = sock_write_flush(self);
        /* By (3), the protocol need not be paused. */
        if (rc == 0 && self->base.lost == 0 && self->outgoing.count > 0) {
            rc = sock_write_watch(self);
        }
    }
    Py_DECREF(self);
    return rc;
}

/* Queue `size` bytes at `data`. If `bytes` is not NULL, they are the last ones
 * of that object. 0, or -1 with MemoryError set. */
static inline int
sock_write_push(SocketTransportObject *self, PyObject *bytes, const char *data,
                size_t size)
{
    if (bytes != NULL) {
        size_t skip = (size_t)PyBytes_GET_SIZE(bytes) - size;
        return al_chunks_push(&self->outgoing, bytes, skip);
    }
    return al_chunks_push_copy(&self->outgoing, data, size);
}

/* Hold the first write of a step. 0, or -1 with MemoryError set. */
static int
sock_write_hold(SocketTransportObject *self, PyObject *bytes, const char *data,
                size_t size)
{
    if (sock_write_push(self, bytes, data, size) < 0) {
        return -1;
    }
    al_held_begin(&self->base, &self->habit, sock_write_run_held);
    return 0;
}

/* Queue a write behind the held bytes. 0, or -1 with an exception set. */
static int
sock_write_join(SocketTransportObject *self, PyObject *bytes, const char *data,
                size_t size)
{
    al_held_note(&self->base, &self->habit);
    if (sock_write_push(self, bytes, data, size) < 0) {
        return -1;
    }
    if (!al_held_is_full(&self->base, &self->outgoing)) {
        return 0;
    }
    if (al_loop_send_held(self->base.loop) < 0) {
        return -1;
    }
    return self->base.lost > 0 ? 0 : al_transport_maybe_pause(&self->base);
}

/* Whether the connection is lost. If so, count this write, which is ignored,
 * and warn from AL_TRANSPORT_LOST_WRITES on. */
static int
sock_write_is_lost(SocketTransportObject *self)
{
    TransportObject *base = &self->base;

    if (AL_LIKELY(base->lost == 0)) {
        return 0;
    }
    if (base->lost >= AL_TRANSPORT_LOST_WRITES) {
        al_transport_warn(base, "socket.send() raised exception.");
    }
    base->lost++;
    return 1;
}

/* Send or queue `size` bytes at `data`, which are the object `bytes` if that
 * is not NULL. 0, or -1 with an exception set. */
static int
sock_write(SocketTransportObject *self, PyObject *bytes, const char *data,
           size_t size)
{
    size_t sent = 0;

    AL_CHECK(al_transport_check, &self->base);
    if (size == 0) {
        return 0;
    }
    if (al_held_is_of(self->base.loop, self)) {
        return sock_write_join(self, bytes, data, size);
    }
    if (!al_held_is_trial_of(self->base.loop, self) &&
        al_transport_send_held(&self->base) < 0)
    {
        return -1;
    }
    if (sock_write_is_lost(self)) {
        return 0;
    }
    if (AL_LIKELY(self->outgoing.count == 0)) { /* by (2) */
        if (al_held_decide(&self->base, &self->habit, size,
                           self->watch.writer.object != NULL))
        {
            return sock_write_hold(self, bytes, data, size);
        }
        ssize_t n = sock_write_send(self, data, size);
        if (AL_LIKELY(n == (ssize_t)size)) {
            return 0;
        }
        if (n < 0 && !al_sock_is_again(n)) {
            return sock_write_fail(self, (int)-n);
        }
        sent = n < 0 ? 0 : (size_t)n;
    }
    else if (!al_transport_is_ours(&self->base)) {
        return sock_write_fail(self, EBADF);
    }
    if (sock_write_watch(self) < 0) {
        return -1;
    }
    if (AL_UNLIKELY(self->base.lost > 0)) {
        return al_transport_raise_lost(&self->base);
    }
    if (sock_write_push(self, bytes, data + sent, size - sent) < 0) {
        return -1; /* the writer entry, with nothing to send, is harmless */
    }
    return al_transport_maybe_pause(&self->base);
}

/* --- Python: methods ---------------------------------------------------- */

/* Set RuntimeError and return -1 after write_eof() and during sendfile(). */
static int
sock_write_check_free(SocketTransportObject *self, const char *method)
{
    if (AL_LIKELY(!self->is_eof && self->sendfile == NULL)) {
        return 0;
    }
    PyErr_Format(PyExc_RuntimeError,
                 self->is_eof ? "Cannot call %s() after write_eof()"
                              : "unable to %s; sendfile is in progress",
                 method);
    return -1;
}

int
al_sock_write_bytes(TransportObject *base, PyObject *bytes)
{
    SocketTransportObject *self = SocketTransportObject_CAST(base);

    return sock_write_check_free(self, "write") < 0
               ? -1
               : sock_write(self, bytes, PyBytes_AS_STRING(bytes),
                            (size_t)PyBytes_GET_SIZE(bytes));
}

PyObject *
al_sock_write_py_write(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    static const al_signature signature = {"write", AL_ARGS("data"), 1, 1, 0};
    SocketTransportObject *self = SocketTransportObject_CAST(op);
    Py_buffer view;
    PyObject *data = al_args_one(&signature, args, nargs, kwnames);

    if (data == NULL) {
        return NULL;
    }
    if (AL_LIKELY(PyBytes_Check(data))) {
        return al_call_none(al_sock_write_bytes(&self->base, data));
    }
    if (al_transport_check_data(&self->base, data, AL_WRITE_WANTS) < 0 ||
        sock_write_check_free(self, "write") < 0)
    {
        return NULL;
    }
    Py_ssize_t length = PyObject_Size(data);
    if (length < 0) {
        return NULL; /* a memoryview that was released */
    }
    if (length == 0) {
        Py_RETURN_NONE;
    }
    int rc;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        /* Not contiguous: asyncio's send() raises, and the connection ends. */
        rc = sock_write_is_lost(self)
                 ? (PyErr_Clear(), 0)
                 : al_transport_fatal_error(&self->base, AL_SOCK_WRITE_FAILED);
    }
    else {
        rc = sock_write(self, NULL, view.buf, (size_t)view.len);
        PyBuffer_Release(&view);
    }
    return al_call_none(rc);
}

AL_LOCKS_KEYWORDS(al_sock_write_py_write, al_transport_lock)

/* 0, or -1 with an exception set. */
static int
sock_write_collect(al_chunks *batch, PyObject *data)
{
    Py_buffer view;

    if (PyBytes_Check(data)) {
        return al_chunks_push(batch, data, 0);
    }
    int is_some = PyObject_IsTrue(data); /* asyncio skips false objects */
    if (is_some <= 0) {
        return is_some;
    }
    if (!PyObject_CheckBuffer(data)) { /* this sets asyncio's TypeError */
        Py_XDECREF(PyMemoryView_FromObject(data));
        return -1;
    }
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    int rc = al_chunks_push_copy(batch, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return rc;
}

/* Queue `batch`, and send once if nothing but held bytes was queued before:
 * otherwise the queue waits until the descriptor is writable. 0, or -1 with an
 * exception set. */
static int
sock_write_batch(SocketTransportObject *self, al_chunks *batch)
{
    bool is_held = al_held_is_of(self->base.loop, self);

    AL_CHECK(al_transport_check, &self->base);
    if (batch->count == 0) {
        return 0;
    }
    if (!is_held && al_transport_send_held(&self->base) < 0) {
        return -1;
    }
    if (sock_write_is_lost(self)) {
        return 0;
    }
    bool is_first = self->outgoing.count == 0 || is_held;
    if (al_chunks_take(&self->outgoing, batch) < 0) {
        return -1;
    }
    al_held_note(&self->base, &self->habit);
    if (is_held) {
        Py_DECREF(al_held_end(self->base.loop)); /* the caller owns one, too */
    }
    if (!is_first && !al_transport_is_ours(&self->base)) {
        return sock_write_fail(self, EBADF);
    }
    if (is_first && sock_write_flush(self) < 0) {
        return -1;
    }
    if (self->base.lost > 0 || self->outgoing.count == 0) {
        return 0;
    }
    if (sock_write_watch(self) < 0) {
        return -1;
    }
    return self->base.lost > 0 ? al_transport_raise_lost(&self->base)
                               : al_transport_maybe_pause(&self->base);
}

/* writelines() of older versions of asyncio: join the list and call
 * write(). */
static PyObject *
sock_write_joined(PyObject *op, PyObject *list)
{
    PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);
    if (empty == NULL) {
        return NULL;
    }
    PyObject *joined = PyObject_CallMethod(empty, "join", "(O)", list);
    Py_DECREF(empty);
    if (joined == NULL) {
        return NULL;
    }
    PyObject *result = al_sock_write_py_write(op, &joined, 1, NULL);
    Py_DECREF(joined);
    return result;
}

PyObject *
al_sock_write_py_writelines(PyObject *op, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames)
{
    static const al_signature signature = {"writelines",
                                           AL_ARGS("list_of_data"), 1, 1, 0};
    SocketTransportObject *self = SocketTransportObject_CAST(op);
    al_chunks batch = {0};
    PyObject *list = al_args_one(&signature, args, nargs, kwnames);

    if (list == NULL) {
        return NULL;
    }
    if (!AL_HAS_WRITELINES) {
        const al_state *state = self->base.state;
        int rc = al_transport_is_replaced(op, state->names.writelines,
                                          state->imports.stock_writelines);
        return rc < 0 ? NULL
               : rc == 0
                   ? sock_write_joined(op, list)
                   : al_transport_call_replaced(op, state->names.writelines,
                                                args, nargs, kwnames);
    }
    if (sock_write_check_free(self, "writelines") < 0) {
        return NULL;
    }
    int is_some = PyObject_IsTrue(list);
    if (is_some < 0) {
        return NULL;
    }
    if (is_some == 0 || sock_write_is_lost(self)) {
        Py_RETURN_NONE;
    }
    /* Copy the list to a tuple: a buffer class in Python could change it. */
    PyObject *items = PySequence_Tuple(list);
    if (items == NULL) {
        return NULL;
    }
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PyTuple_GET_SIZE(items); i++) {
        rc = sock_write_collect(&batch, PyTuple_GET_ITEM(items, i));
    }
    Py_DECREF(items);
    if (rc == 0) {
        rc = sock_write_batch(self, &batch);
    }
    al_chunks_clear(&batch);
    return al_call_none(rc);
}

AL_LOCKS_KEYWORDS(al_sock_write_py_writelines, al_transport_lock)

PyObject *
al_sock_write_py_write_eof(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    SocketTransportObject *self = SocketTransportObject_CAST(op);

    AL_CHECK(al_transport_check, &self->base);
    if (!al_transport_is_open(&self->base) || self->is_eof) {
        Py_RETURN_NONE;
    }
    if (al_transport_send_held(&self->base) < 0) {
        return NULL;
    }
    if (!al_transport_is_open(&self->base)) {
        Py_RETURN_NONE; /* sending the held bytes has ended us */
    }
    self->is_eof = true;
    if (self->outgoing.count == 0) {
        int rc = sock_write_shutdown(self);
        if (rc < 0) {
            return al_error_set_errno(-rc);
        }
    }
    Py_RETURN_NONE;
}

AL_LOCKS(al_sock_write_py_write_eof, al_transport_lock)
