/* sock_sendfile.c - lends the descriptor of a socket transport to sendfile().
 *
 *     _make_empty_waiter() ---> a future: all queued bytes are sent
 *     _lend(future) ----------> add_writer() and os.sendfile() use the fd
 *     _reset_empty_waiter() --> the transport has the fd again
 *
 * asyncio's code does the sending (asyncloop/_sendfile.py); we call it the
 * borrower.  Meanwhile write() raises, so the watch's writer entry is free for
 * the borrower's handle.  If the connection ends, nobody will call that
 * handle: we set an exception on the borrower's future.
 *
 * Invariants
 *   (1) sendfile != NULL => write() raises, so `outgoing` only shrinks.
 *   (2) watch.is_lent => sendfile != NULL and `outgoing` is empty; the writer
 *       entry, if it is set, is the borrower's.
 */
#include "net/sock_transport.h"

#include "task/future.h"

/* asyncio's message, whichever side has closed the connection. */
#define AL_SENDFILE_LOST "Connection is closed by peer"

void
al_sock_sendfile_wake(SocketTransportObject *self)
{
    if (AL_LIKELY(self->sendfile == NULL)) {
        return;
    }
    /* The future may be of any class, and run anything: own it. */
    PyObject *future = Py_NewRef(self->sendfile);
    if (al_future_resolve(future, Py_None) < 0) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    Py_DECREF(future);
}

void
al_sock_sendfile_fail(SocketTransportObject *self, PyObject *exc)
{
    if (AL_LIKELY(self->sendfile == NULL)) {
        return;
    }
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *future = Py_NewRef(self->sendfile); /* as above */
    if (al_future_fail(future, exc) < 0) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    Py_DECREF(future);
    PyErr_SetRaisedException(raised);
}

void
al_sock_sendfile_end(SocketTransportObject *self)
{
    al_loop_head *loop = self->base.loop;

    /* On a closed loop no task waits. */
    if (AL_LIKELY(self->sendfile == NULL) || loop == NULL || loop->is_closed) {
        return;
    }
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *exc =
        PyObject_CallFunction(PyExc_ConnectionError, "s", AL_SENDFILE_LOST);
    if (exc == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    else {
        al_sock_sendfile_fail(self, exc);
        Py_DECREF(exc);
    }
    PyErr_SetRaisedException(raised);
}

/* --- Python: methods, for BaseEventLoop.sendfile() ----------------------- */

/* Return a future that is done when all queued bytes are sent. */
PyObject *
al_sock_sendfile_py_make_empty_waiter(PyObject *op,
                                      PyObject *Py_UNUSED(ignored))
{
    SocketTransportObject *self = SocketTransportObject_CAST(op);
    TransportObject *base = &self->base;

    if (base->loop == NULL) {
        PyErr_SetString(PyExc_ConnectionError, AL_SENDFILE_LOST);
        return NULL;
    }
    if (al_transport_send_held(base) < 0) {
        return NULL;
    }
    if (base->loop == NULL) { /* sending failed and ran anything */
        PyErr_SetString(PyExc_ConnectionError, AL_SENDFILE_LOST);
        return NULL;
    }
    PyObject *waiter = PyObject_CallMethodNoArgs(
        (PyObject *)base->loop, base->state->names.create_future);
    if (waiter == NULL) {
        return NULL;
    }
    if (self->sendfile != NULL) { /* ask last: create_future() ran anything */
        PyErr_SetString(PyExc_RuntimeError, "Empty waiter is already set");
        Py_DECREF(waiter);
        return NULL;
    }
    self->sendfile = Py_NewRef(waiter);
    if (self->outgoing.count == 0 && al_future_resolve(waiter, Py_None) < 0) {
        Py_CLEAR(self->sendfile);
        Py_CLEAR(waiter);
    }
    return waiter;
}

AL_LOCKS(al_sock_sendfile_py_make_empty_waiter, al_transport_lock)

/* The borrower begins to send; `future` will be done at the end. */
PyObject *
al_sock_sendfile_py_lend(PyObject *op, PyObject *future)
{
    SocketTransportObject *self = SocketTransportObject_CAST(op);

    if (self->base.lost > 0 || self->watch.loop == NULL) {
        PyErr_SetString(PyExc_ConnectionError, AL_SENDFILE_LOST);
        return NULL;
    }
    if (self->sendfile == NULL || self->outgoing.count > 0) { /* (2) */
        PyErr_SetString(PyExc_RuntimeError, "the transport is writing");
        return NULL;
    }
    self->watch.is_lent = true;
    Py_SETREF(self->sendfile, Py_NewRef(future));
    Py_RETURN_NONE;
}

AL_LOCKS(al_sock_sendfile_py_lend, al_transport_lock)

PyObject *
al_sock_sendfile_py_reset_empty_waiter(PyObject *op,
                                       PyObject *Py_UNUSED(ignored))
{
    SocketTransportObject *self = SocketTransportObject_CAST(op);

    if (self->watch.is_lent) {
        self->watch.is_lent = false;
        /* The borrower's handle is still set if its coroutine was closed. */
        al_fdwatch_clear_writer(&self->watch);
    }
    Py_CLEAR(self->sendfile);
    Py_RETURN_NONE;
}

AL_LOCKS(al_sock_sendfile_py_reset_empty_waiter, al_transport_lock)
