/* protocol.c - calls the methods of the user's protocol.
 *
 *     recv ---> sock_read ---> al_protocol ---> Protocol.data_received()
 *
 * Transports of descriptors call their protocol in this file only.  With TLS
 * it is tls/read.c that calls the user's protocol.
 *
 * Invariants
 *   (1) Every call owns a reference to the protocol: the method may set
 *       another protocol or end the transport.
 *   (2) connection_made is the method of the first protocol.  As in asyncio, a
 *       protocol that replaces it before the call does not get the call.
 */
#include "net/protocol.h"

#include "base/call.h"

/* -> NULL: `object` has methods to call. Or an exception is set. */
static const al_receiver *
protocol_find_receiver(al_state *state, PyObject *object)
{
    const al_receiver *receiver = state->tls_receiver;

    if (receiver == NULL ||
        !PyObject_TypeCheck(object, state->SSLProtocolType))
    {
        return NULL;
    }
    PyObject *bound = PyObject_GetAttr(object, state->names.buffer_updated);
    if (bound == NULL) {
        return NULL;
    }
    bool is_ours = PyCFunction_Check(bound) &&
                   PyCFunction_GET_SELF(bound) == object &&
                   PyCFunction_GET_FUNCTION(bound) == receiver->buffer_updated;
    Py_DECREF(bound);
    return is_ours ? receiver : NULL;
}

int
al_protocol_set(al_protocol *self, al_state *state, PyObject *object)
{
    int is_buffered =
        PyObject_IsInstance(object, state->imports.asyncio_BufferedProtocol);
    if (is_buffered < 0) {
        return -1;
    }
    const al_receiver *receiver = protocol_find_receiver(state, object);
    if (receiver == NULL && PyErr_Occurred()) {
        return -1;
    }
    al_protocol old = *self;
    *self = (al_protocol){
        .object = Py_NewRef(object),
        .connection_made = old.connection_made, /* by (2) */
        .is_buffered = is_buffered,
        .is_stream = al_streams_is_protocol(
            object,
            (PyTypeObject *)state->imports.asyncio_StreamReaderProtocol),
        .receiver = receiver,
    };
    old.connection_made = NULL;
    al_protocol_clear(&old);
    return 0;
}

void
al_protocol_clear(al_protocol *self)
{
    al_protocol old = *self;

    *self = (al_protocol){0};
    Py_XDECREF(old.connection_made);
    Py_XDECREF(old.object);
}

int
al_protocol_traverse(al_protocol *self, visitproc visit, void *arg)
{
    Py_VISIT(self->object);
    Py_VISIT(self->connection_made);
    return 0;
}

/* Call a method without argument (NULL) or with one. */
static PyObject *
protocol_call(al_protocol *self, PyObject *name, PyObject *argument)
{
    PyObject *object = Py_NewRef(self->object); /* by (1) */
    PyObject *result = argument == NULL
                           ? PyObject_CallMethodNoArgs(object, name)
                           : PyObject_CallMethodOneArg(object, name, argument);
    Py_DECREF(object);
    return result;
}

int
al_protocol_expect(al_protocol *self, al_state *state)
{
    Py_XSETREF(self->connection_made,
               PyObject_GetAttr(self->object, state->names.connection_made));
    return self->connection_made == NULL ? -1 : 0;
}

int
al_protocol_connection_made(al_protocol *self, PyObject *transport)
{
    PyObject *method = self->connection_made;

    self->connection_made = NULL; /* we own its reference now */
    int rc = al_call_finish(PyObject_CallOneArg(method, transport));
    Py_DECREF(method);
    return rc;
}

int
al_protocol_tell(al_protocol *self, PyObject *name, PyObject *argument)
{
    return al_call_finish(protocol_call(self, name, argument));
}

int
al_protocol_find_reader(al_protocol *self, al_state *state,
                        al_stream_reader *reader)
{
    PyObject *object = Py_NewRef(self->object); /* getattr may replace it */
    int rc = -1;

    PyObject *bound = PyObject_GetAttr(object, state->names.data_received);
    if (bound != NULL) {
        rc = al_stream_reader_find(reader, state, object, bound);
        Py_DECREF(bound);
    }
    Py_DECREF(object);
    return rc;
}

int
al_protocol_datagram_received(al_protocol *self, al_state *state,
                              PyObject *data, PyObject *address)
{
    PyObject *args[] = {Py_NewRef(self->object), data, address}; /* by (1) */

    int rc = al_call_finish(PyObject_VectorcallMethod(
        state->names.datagram_received, args, 3, NULL));
    Py_DECREF(args[0]);
    return rc;
}

int
al_protocol_error_received(al_protocol *self, al_state *state, PyObject *exc)
{
    PyObject *handled = PyErr_GetHandledException();

    /* Set sys.exc_info() as an `except` clause does: the method may log it. */
    PyErr_SetHandledException(exc);
    int rc =
        al_call_finish(protocol_call(self, state->names.error_received, exc));
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    return rc;
}

/* Call a method with one argument, which is stolen; NULL if making the
 * argument has failed. */
static PyObject *
protocol_call_steal(al_protocol *self, PyObject *name, PyObject *argument)
{
    if (argument == NULL) {
        return NULL;
    }
    PyObject *result = protocol_call(self, name, argument);
    Py_DECREF(argument);
    return result;
}

PyObject *
al_protocol_get_buffer(al_protocol *self, al_state *state)
{
    return protocol_call_steal(self, state->names.get_buffer,
                               PyLong_FromLong(-1));
}

int
al_protocol_buffer_updated(al_protocol *self, al_state *state, size_t size)
{
    return al_call_finish(protocol_call_steal(
        self, state->names.buffer_updated, PyLong_FromSize_t(size)));
}

int
al_protocol_eof_received(al_protocol *self, al_state *state)
{
    return al_call_is_true(
        protocol_call(self, state->names.eof_received, NULL));
}
