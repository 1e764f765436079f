/* loop_net.c - the hooks that BaseEventLoop calls in its subclasses to make
 * transports and listeners: for create_connection() and create_server(). */
#include "loop/loop.h"

#include "base/args.h"
#include "net/dgram_transport.h"
#include "net/listener.h"
#include "net/sock_transport.h"

PyDoc_STRVAR(Loop__make_socket_transport_doc,
             "_make_socket_transport($self, sock, protocol, waiter=None, *, "
             "extra=None,\n"
             "                       server=None, context=None)\n--\n\n"
             "Return a transport for a connected stream socket. It owns the "
             "socket.\nconnection_made() is called in the next turn, then the "
             "waiter gets its result.");

static PyObject *
Loop__make_socket_transport(PyObject *op, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames)
{
    static const al_signature signature = {
        "_make_socket_transport",
        AL_ARGS("sock", "protocol", "waiter", "extra", "server", "context"),
        .required = 2, .positional = 3};
    al_loop_head *loop = al_loop_head_CAST(op);
    PyObject *a[6];

    if (al_args_parse(&signature, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    int fd = al_listener_fileno(loop->state, a[0]);
    if (fd < 0) {
        return NULL;
    }
    al_sock_transport_parts parts = {
        .fd = fd,
        .sock = a[0],
        .protocol = a[1],
        .waiter = a[2],
        .extra = a[3],
        .server = a[4],
        .context = a[5] == Py_None ? NULL : a[5],
    };
    return al_sock_transport_new(loop, &parts);
}

PyDoc_STRVAR(Loop__make_datagram_transport_doc,
             "_make_datagram_transport($self, sock, protocol, address=None, "
             "waiter=None,\n"
             "                         extra=None)\n--\n\n"
             "Return a transport for a datagram socket, which it owns; "
             "`address` is where all of\nit goes, None to say it with each "
             "datagram. connection_made() is called in the\nnext turn, then "
             "the waiter gets its result.");

static PyObject *
Loop__make_datagram_transport(PyObject *op, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames)
{
    static const al_signature signature = {
        "_make_datagram_transport",
        AL_ARGS("sock", "protocol", "address", "waiter", "extra"),
        .required = 2, .positional = 5};
    al_loop_head *loop = al_loop_head_CAST(op);
    PyObject *a[5];

    if (al_args_parse(&signature, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    int fd = al_listener_fileno(loop->state, a[0]);
    if (fd < 0) {
        return NULL;
    }
    al_dgram_transport_parts parts = {
        .fd = fd,
        .sock = a[0],
        .protocol = a[1],
        .address = a[2],
        .waiter = a[3],
        .extra = a[4],
    };
    return al_dgram_transport_new(loop, &parts);
}

PyDoc_STRVAR(Loop__start_serving_doc,
             "_start_serving($self, protocol_factory, sock, sslcontext=None, "
             "server=None,\n"
             "               backlog=100, ssl_handshake_timeout=None,\n"
             "               ssl_shutdown_timeout=None, context=None)\n--\n\n"
             "Accept connections on a listening socket, up to `backlog` of "
             "them in a turn.");

/* The arguments of _start_serving() in their order; borrowed, NULL: not
 * given. */
typedef union {
    struct {
        PyObject *protocol_factory;
        PyObject *sock;
        PyObject *sslcontext;
        PyObject *server;
        PyObject *backlog;
        PyObject *ssl_handshake_timeout;
        PyObject *ssl_shutdown_timeout;
        PyObject *context;
    };
    PyObject *all[8];
} net_serving;

/* The protocol factory for connections: the given one, or one that puts TLS
 * around it. -> new reference, or NULL with an exception set. */
static PyObject *
net_make_factory(PyObject *loop, const net_serving *given)
{
    int is_tls = PyObject_IsTrue(al_or_none(given->sslcontext));

    if (is_tls < 0) {
        return NULL;
    }
    if (!is_tls) {
        return Py_NewRef(given->protocol_factory);
    }
    return PyObject_CallMethod(loop, "_tls_factory", "OOOO",
                               given->protocol_factory, given->sslcontext,
                               al_or_none(given->ssl_handshake_timeout),
                               al_or_none(given->ssl_shutdown_timeout));
}

static PyObject *
Loop__start_serving(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    static const al_signature signature = {
        "_start_serving",
        AL_ARGS("protocol_factory", "sock", "sslcontext", "server", "backlog",
                "ssl_handshake_timeout", "ssl_shutdown_timeout", "context"),
        .required = 2, .positional = 8};
    net_serving given;
    long backlog = 100;

    if (al_args_parse(&signature, args, nargs, kwnames, given.all) < 0) {
        return NULL;
    }
    if (given.backlog != NULL) {
        backlog = PyLong_AsLong(given.backlog);
        if (backlog == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    PyObject *factory = net_make_factory(op, &given);
    if (factory == NULL) {
        return NULL;
    }
    al_listener_parts parts = {
        .factory = factory,
        .sock = given.sock,
        .server = given.server,
        .context = given.context,
        .backlog = backlog < 0       ? 0
                   : backlog > 65535 ? 65535
                                     : (int)backlog,
    };
    int rc = al_listener_start(al_loop_head_CAST(op), &parts);
    Py_DECREF(factory);
    if (rc < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(Loop__stop_serving_doc,
             "_stop_serving($self, sock, /)\n--\n\n"
             "Accept no more connections on a listening socket, and close "
             "it.");

static PyObject *
Loop__stop_serving(PyObject *op, PyObject *sock)
{
    if (al_loop_send_held(al_loop_head_CAST(op)) < 0 ||
        al_listener_stop(al_loop_head_CAST(op), sock) < 0)
    {
        return NULL;
    }
    Py_RETURN_NONE;
}

AL_LOCKS_KEYWORDS(Loop__make_socket_transport, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop__make_datagram_transport, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop__start_serving, al_loop_lock)
AL_LOCKS(Loop__stop_serving, al_loop_lock)

PyMethodDef al_loop_net_methods[] = {
    {"_make_socket_transport",
     AL_KEYWORDS(AL_LOCKED(Loop__make_socket_transport)),
     Loop__make_socket_transport_doc},
    {"_make_datagram_transport",
     AL_KEYWORDS(AL_LOCKED(Loop__make_datagram_transport)),
     Loop__make_datagram_transport_doc},
    {"_start_serving", AL_KEYWORDS(AL_LOCKED(Loop__start_serving)),
     Loop__start_serving_doc},
    {"_stop_serving", AL_LOCKED(Loop__stop_serving), METH_O,
     Loop__stop_serving_doc},
    {NULL, NULL, 0, NULL},
};
