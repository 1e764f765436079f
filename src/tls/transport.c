/* transport.c - the transport that a user of TLS writes to.
 *
 * It is asyncio's own class, which calls its SSLProtocol for everything.  Only
 * the methods that write bytes are in C.  So the object has no field that
 * asyncio's does not have.
 */
#include "tls/protocol.h"

#include "base/args.h"
/* Call asyncio's method of a protocol that is not ours. The protocol is None
 * after a second close(); the call then fails as in asyncio. 0, or -1 with an
 * exception set. */
static int
tls_transport_pass_on(PyObject *protocol, PyObject *name,
                      PyObject *const *items, Py_ssize_t count)
{
    PyObject *list = PyTuple_New(count);
    if (list == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyTuple_SET_ITEM(list, i, Py_NewRef(items[i]));
    }
    PyObject *result = PyObject_CallMethodOneArg(protocol, name, list);
    Py_DECREF(list);
    return al_call_finish(result);
}

/* 0, or -1 with an exception set. */
static int
tls_transport_write(PyObject *op, PyObject *const *items, Py_ssize_t count)
{
    al_state *state = al_state_from_type(Py_TYPE(op));
    if (state == NULL) {
        return -1;
    }
    PyObject *protocol = PyObject_GetAttr(op, state->names._ssl_protocol);
    if (protocol == NULL) {
        return -1;
    }
    int rc;
    if (AL_LIKELY(PyObject_TypeCheck(protocol, state->SSLProtocolType))) {
        AL_LOCK(protocol);
        rc = al_tls_write(SSLProtocolObject_CAST(protocol), items, count);
        AL_UNLOCK();
    }
    else {
        rc = tls_transport_pass_on(protocol, state->names._write_appdata,
                                   items, count);
    }
    Py_DECREF(protocol);
    return rc;
}

PyDoc_STRVAR(SSLTransport_write_doc,
             "write($self, /, data)\n--\n\n"
             "Encrypt bytes, a bytearray or a memoryview and send them; what "
             "the kernel does not\ntake now is queued. Raises TypeError for "
             "other data.");

static PyObject *
SSLTransport_write(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    static const al_signature signature = {"write", AL_ARGS("data"), 1, 1, 0};
    PyObject *data = al_args_one(&signature, args, nargs, kwnames);

    if (data == NULL) {
        return NULL;
    }
    if (AL_UNLIKELY(!PyBytes_Check(data) && !PyByteArray_Check(data) &&
                    !PyMemoryView_Check(data)))
    {
        PyObject *name =
            PyObject_GetAttrString((PyObject *)Py_TYPE(data), "__name__");
        if (name != NULL) {
            PyErr_Format(PyExc_TypeError,
                         "data: expecting a bytes-like instance, got %S",
                         name);
            Py_DECREF(name);
        }
        return NULL;
    }
    int is_some = PyObject_IsTrue(data);
    if (is_some < 0 || (is_some && tls_transport_write(op, &data, 1) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(SSLTransport_writelines_doc,
             "writelines($self, /, list_of_data)\n--\n\n"
             "Like write() for each of an iterable of bytes-like objects, in "
             "one go.");

static PyObject *
SSLTransport_writelines(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    static const al_signature signature = {"writelines",
                                           AL_ARGS("list_of_data"), 1, 1, 0};
    PyObject *list = al_args_one(&signature, args, nargs, kwnames);

    if (list == NULL) {
        return NULL;
    }
    /* Copy the list to a tuple: a buffer class in Python could change it. */
    PyObject *items = PySequence_Tuple(list);
    if (items == NULL) {
        return NULL;
    }
    int rc = tls_transport_write(op, PySequence_Fast_ITEMS(items),
                                 PyTuple_GET_SIZE(items));
    Py_DECREF(items);
    return al_call_none(rc);
}

static PyMethodDef SSLTransport_methods[] = {
    {"write", AL_KEYWORDS(SSLTransport_write), SSLTransport_write_doc},
    {"writelines", AL_KEYWORDS(SSLTransport_writelines),
     SSLTransport_writelines_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(SSLTransport_doc,
             "The upper end of a TLS connection as an asyncio.Transport.");

static PyType_Slot SSLTransport_slots[] = {
    {Py_tp_doc, (void *)SSLTransport_doc},
    {Py_tp_methods, SSLTransport_methods},
    {0, NULL},
};

/* All other slots are inherited from a Python class. */
static PyType_Spec SSLTransport_spec = {
    .name = "asyncloop._core.SSLTransport",
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = SSLTransport_slots,
};

int
al_tls_transport_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->SSLTransportType = al_state_add_type(
        module, &SSLTransport_spec, state->imports.asyncio_SSLTransport);
    return state->SSLTransportType == NULL ? -1 : 0;
}
