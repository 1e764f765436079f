/* protocol.c - the user's protocol, as a transport calls it.
 *
 *     recv ---> sock_read ---> al_protocol ---> Protocol.data_received()
 *
 * The only place that calls protocols.  What is called for every message is
 * bound once; what happens once in a connection is looked up when it happens.
 *
 * Invariants
 *   (1) A bound method set here is one of self->object, save (3).
 *   (2) Every call holds a reference to the method it calls: the method may
 *       switch the protocol or end the transport.
 *   (3) connection_made is the one of the first protocol: as in asyncio a
 *       protocol that takes over before it is called does not get the call.
 */
#include "net/protocol.h"

int
al_protocol_set(al_protocol *self, al_state *state, PyObject *object)
{
    int is_buffered =
        PyObject_IsInstance(object, state->imports.asyncio_BufferedProtocol);
    if (is_buffered < 0) {
        return -1;
    }
    al_protocol old = *self;
    *self = (al_protocol){
        .object = Py_NewRef(object),
        .connection_made = old.connection_made, /* by (3) */
        .is_buffered = is_buffered,
        .is_stream = Py_IS_TYPE(
            object,
            (PyTypeObject *)state->imports.asyncio_StreamReaderProtocol),
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
    Py_XDECREF(old.data_received);
    Py_XDECREF(old.get_buffer);
    Py_XDECREF(old.buffer_updated);
    Py_XDECREF(old.object);
}

int
al_protocol_traverse(al_protocol *self, visitproc visit, void *arg)
{
    Py_VISIT(self->object);
    Py_VISIT(self->connection_made);
    Py_VISIT(self->data_received);
    Py_VISIT(self->get_buffer);
    Py_VISIT(self->buffer_updated);
    return 0;
}

/* A method that is bound once. -> new reference (by (2)), or NULL. */
static PyObject *
protocol_bind(al_protocol *self, PyObject **method, PyObject *name)
{
    if (AL_LIKELY(*method != NULL)) {
        return Py_NewRef(*method);
    }
    PyObject *object = self->object;
    PyObject *bound = PyObject_GetAttr(object, name);
    /* The lookup itself may have switched the protocol (a property). */
    if (bound != NULL && AL_LIKELY(self->object == object)) {
        Py_XSETREF(*method, Py_NewRef(bound));
    }
    return bound;
}

/* Call a method that is bound once. `argument` is stolen, and NULL after a
 * failure to make it. -> its result, a new reference, or NULL. */
static PyObject *
protocol_call_bound(al_protocol *self, PyObject **method, PyObject *name,
                    PyObject *argument)
{
    PyObject *result = NULL;

    if (argument == NULL) {
        return NULL;
    }
    PyObject *bound = protocol_bind(self, method, name);
    if (AL_LIKELY(bound != NULL)) {
        result = PyObject_CallOneArg(bound, argument);
        Py_DECREF(bound);
    }
    Py_DECREF(argument);
    return result;
}

/* Whether a call went well; its result does not matter. */
static int
protocol_result(PyObject *result)
{
    if (result == NULL) {
        return -1;
    }
    Py_DECREF(result);
    return 0;
}

/* Call a method without argument (NULL) or with one. */
static PyObject *
protocol_call(al_protocol *self, PyObject *name, PyObject *argument)
{
    PyObject *object = Py_NewRef(self->object); /* by (2) */
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

    self->connection_made = NULL; /* by (2) the reference is ours now */
    int rc = protocol_result(PyObject_CallOneArg(method, transport));
    Py_DECREF(method);
    return rc;
}

int
al_protocol_connection_lost(al_protocol *self, al_state *state, PyObject *exc)
{
    return protocol_result(
        protocol_call(self, state->names.connection_lost, exc));
}

int
al_protocol_data_received(al_protocol *self, al_state *state, PyObject *data)
{
    return protocol_result(protocol_call_bound(self, &self->data_received,
                                               state->names.data_received,
                                               Py_NewRef(data)));
}

int
al_protocol_find_reader(al_protocol *self, al_state *state,
                        al_stream_reader *reader)
{
    PyObject *object = Py_NewRef(self->object); /* binding may switch it */
    int rc = -1;

    PyObject *bound =
        protocol_bind(self, &self->data_received, state->names.data_received);
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
    /* The first place is for the callee, which puts `self` there. */
    PyObject *args[] = {NULL, data, address};

    PyObject *bound = protocol_bind(self, &self->data_received,
                                    state->names.datagram_received);
    if (AL_UNLIKELY(bound == NULL)) {
        return -1;
    }
    int rc = protocol_result(PyObject_Vectorcall(
        bound, args + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL));
    Py_DECREF(bound);
    return rc;
}

int
al_protocol_error_received(al_protocol *self, al_state *state, PyObject *exc)
{
    PyObject *handled = PyErr_GetHandledException();

    PyErr_SetHandledException(exc); /* for the log, as in an `except` clause */
    int rc =
        protocol_result(protocol_call(self, state->names.error_received, exc));
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    return rc;
}

PyObject *
al_protocol_get_buffer(al_protocol *self, al_state *state)
{
    return protocol_call_bound(self, &self->get_buffer,
                               state->names.get_buffer, PyLong_FromLong(-1));
}

int
al_protocol_buffer_updated(al_protocol *self, al_state *state, size_t size)
{
    return protocol_result(protocol_call_bound(self, &self->buffer_updated,
                                               state->names.buffer_updated,
                                               PyLong_FromSize_t(size)));
}

int
al_protocol_eof_received(al_protocol *self, al_state *state)
{
    PyObject *result = protocol_call(self, state->names.eof_received, NULL);
    if (result == NULL) {
        return -1;
    }
    int keep_open = PyObject_IsTrue(result);
    Py_DECREF(result);
    return keep_open;
}

int
al_protocol_pause_writing(al_protocol *self, al_state *state)
{
    return protocol_result(
        protocol_call(self, state->names.pause_writing, NULL));
}

int
al_protocol_resume_writing(al_protocol *self, al_state *state)
{
    return protocol_result(
        protocol_call(self, state->names.resume_writing, NULL));
}
