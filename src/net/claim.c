/* claim.c - ends a transport whose descriptor number another file has got.
 *
 *     transport A has number 7 --- the program closes 7
 *                                       |
 *     B is opened and gets number 7 --> al_claim_number(7): A ends with EBADF,
 *                                       and B may watch 7 */
#include "net/claim.h"

#include <errno.h>

#include "io/fdwatch.h"

int
al_claim_number(al_loop_head *loop, int fd, bool just_opened)
{
    al_fdwatch *watch = al_fdwatch_find(loop, fd);

    if (AL_LIKELY(watch == NULL || watch->owner == NULL)) {
        return 0;
    }
    TransportObject *owner = TransportObject_CAST(Py_NewRef(watch->owner));
    int rc = 0;
    if (just_opened) {
        al_descriptor_mark_gone(&owner->desc);
    }
    if (!al_transport_is_ours(owner)) {
        rc =
            al_transport_fatal_errno(owner, EBADF, "The descriptor is closed");
        watch = al_fdwatch_find(loop, fd);
        if (watch != NULL && watch->owner == (PyObject *)owner) {
            al_fdwatch_close(watch);
        }
    }
    Py_DECREF(owner);
    return rc;
}

int
al_claim_check_free(al_loop_head *loop, int fd, PyObject *fileobj)
{
    return al_claim_number(loop, fd, false) < 0
               ? -1
               : al_fdwatch_check_free(loop, fd, fileobj);
}

PyObject *
al_claim_show_socket(TransportObject *transport)
{
    PyObject *sock = Py_NewRef(transport->desc.object);
    PyObject *args[] = {sock, (PyObject *)transport};
    PyObject *shown =
        PyObject_Vectorcall(transport->state->imports.ShownSocket, args,
                            Py_ARRAY_LENGTH(args), NULL);
    Py_DECREF(sock);
    return shown;
}

PyObject *
al_claim_py_show_number(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = TransportObject_CAST(op);

    if (al_transport_send_held(self) < 0) {
        return NULL;
    }
    al_descriptor_show(&self->desc);
    Py_RETURN_NONE;
}

AL_LOCKS(al_claim_py_show_number, al_transport_lock)

/* Whether nobody but the transport owns the socket object. An audit hook may
 * have got it, or a class that replaces socket.socket. */
static bool
claim_has_socket_alone(TransportObject *self)
{
    al_state *state = self->state;
    PyObject *sock = self->desc.object;
    PyObject *shown =
        self->extra == NULL
            ? NULL
            : PyDict_GetItemWithError(self->extra, state->names.socket);
    Py_ssize_t expected =
        shown != NULL &&
                Py_IS_TYPE(shown, (PyTypeObject *)state->imports.ShownSocket)
            ? 2
            : 1;

    PyErr_Clear(); /* no memory */
    return sock == NULL ||
           (Py_REFCNT(sock) <= expected &&
            Py_IS_TYPE(sock, (PyTypeObject *)state->imports.socket_socket));
}

PyObject *
al_claim_py_trust_number(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = TransportObject_CAST(op);

    if (claim_has_socket_alone(self)) {
        al_descriptor_trust(&self->desc);
    }
    Py_RETURN_NONE;
}

AL_LOCKS(al_claim_py_trust_number, al_transport_lock)

PyObject *
al_claim_py_own_number(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    TransportObject *self = TransportObject_CAST(op);

    return PyLong_FromLong(al_transport_is_ours(self) ? self->desc.fd : -1);
}

AL_LOCKS(al_claim_py_own_number, al_transport_lock)
