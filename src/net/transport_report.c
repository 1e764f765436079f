/* transport_report.c - the errors of a transport: logs them, reports them to
 * the loop's exception handler, ends the connection.
 */
#include "net/transport.h"

#include "base/errors.h"
#include "sched/report.h"

#include <errno.h>

void
al_transport_log(TransportObject *self, const char *level, PyObject *args,
                 PyObject *exc)
{
    if (args == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
        return;
    }
    PyObject *saved = PyErr_GetRaisedException();
    PyObject *result = NULL;
    PyObject *kwargs = NULL;
    PyObject *log = PyObject_GetAttrString(self->state->imports.logger, level);

    if (log != NULL && (exc == NULL || (kwargs = Py_BuildValue(
                                            "{sO}", "exc_info", exc)) != NULL))
    {
        result = PyObject_Call(log, args, kwargs);
    }
    if (result == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    Py_XDECREF(result);
    Py_XDECREF(kwargs);
    Py_XDECREF(log);
    Py_DECREF(args);
    PyErr_SetRaisedException(saved);
}

void
al_transport_debug(TransportObject *self, const char *format)
{
    al_transport_log(self, "debug", Py_BuildValue("(sO)", format, self), NULL);
}

void
al_transport_info(TransportObject *self, const char *format)
{
    al_transport_log(self, "info", Py_BuildValue("(sO)", format, self), NULL);
}

void
al_transport_warn(TransportObject *self, const char *text)
{
    al_transport_log(self, "warning", Py_BuildValue("(s)", text), NULL);
}

int
al_transport_report(TransportObject *self, PyObject *message)
{
    al_state *state = self->state;
    if (self->loop == NULL) {
        /* A protocol method was called outside of the loop. It has run the
         * loop, and the loop has closed us. */
        Py_XDECREF(message);
        PyErr_WriteUnraisable((PyObject *)self);
        return 0;
    }
    PyObject *loop = Py_NewRef((PyObject *)self->loop);
    PyObject *protocol = Py_XNewRef(self->protocol.object);
    al_report_item items[] = {
        {state->names.transport, (PyObject *)self},
        {state->names.protocol, protocol},
        {NULL, NULL},
    };
    int rc = al_report_exception(loop, state, message, items);
    Py_XDECREF(protocol);
    Py_DECREF(loop);
    return rc;
}

int
al_transport_report_callback(TransportObject *self, PyObject *object,
                             const char *method, PyObject *argument)
{
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *message = NULL;
    PyObject *args =
        argument == NULL ? PyTuple_New(0) : PyTuple_Pack(1, argument);
    PyObject *callback = PyObject_GetAttrString(object, method);

    if (args != NULL && callback != NULL) {
        message = al_report_describe_failure(self->state, callback, args,
                                             self->loop != NULL &&
                                                 self->loop->is_debug);
    }
    Py_XDECREF(args);
    Py_XDECREF(callback);
    if (message == NULL) { /* a repr has raised: still report the error */
        PyErr_Clear();
        message = PyUnicode_FromFormat("Exception in callback %s()", method);
    }
    PyErr_SetRaisedException(exc);
    return al_transport_report(self, message);
}

int
al_transport_fatal_error(TransportObject *self, const char *message)
{
    if (al_error_is_fatal()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (PyErr_GivenExceptionMatches(exc, PyExc_OSError)) {
        if (self->loop != NULL && self->loop->is_debug) {
            al_transport_log(self, "debug",
                             Py_BuildValue("(sOs)", "%r: %s", self, message),
                             exc);
        }
    }
    else {
        PyErr_SetRaisedException(Py_NewRef(exc));
        if (al_transport_report(self, PyUnicode_FromString(message)) < 0) {
            Py_DECREF(exc);
            return -1;
        }
    }
    int rc = al_transport_force_close(self, exc);
    Py_DECREF(exc);
    return rc;
}

int
al_transport_refuse_start(TransportObject *self)
{
    return PyErr_ExceptionMatches(PyExc_OSError) ||
                   PyErr_ExceptionMatches(PyExc_RuntimeError)
               ? al_transport_report_callback(self, (PyObject *)self,
                                              "_add_reader", Py_None)
               : al_transport_fatal_error(self, self->kind->read_failed);
}

int
al_transport_fatal_errno(TransportObject *self, int errnum,
                         const char *message)
{
    al_error_set_errno(errnum);
    return al_transport_fatal_error(self, message);
}

int
al_transport_check_data(TransportObject *self, PyObject *data,
                        const char *wants)
{
    if (AL_LIKELY(PyBytes_Check(data) || PyByteArray_Check(data) ||
                  PyMemoryView_Check(data)))
    {
        return 0;
    }
    PyObject *name = PyObject_GetAttr((PyObject *)Py_TYPE(data),
                                      self->state->names.__name__);
    if (name != NULL) {
        PyErr_Format(PyExc_TypeError, "data argument must be %s, not %R",
                     wants, name);
        Py_DECREF(name);
    }
    return -1;
}

int
al_transport_raise_lost(TransportObject *self)
{
    if (self->lost_exc == NULL) {
        return 0;
    }
    PyErr_SetRaisedException(Py_NewRef(self->lost_exc));
    return -1;
}
