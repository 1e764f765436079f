/* loop_sock.c - the sock_* methods: system calls that are awaited.
 *
 * Each method makes a SockOp (sock_op.h).  This file has the functions that
 * run when it is awaited and when the descriptor is ready.  On an exact
 * socket.socket, receiving and sending is one system call.  Calls with
 * addresses, and other classes of sockets, use the methods of the socket
 * object.
 */
#include "loop/loop.h"

#include "base/args.h"
#include "base/errors.h"
#include "loop/sock_op.h"
#include "sys/sock.h"

/* Up to this size, receive on the stack and make a bytes object of the exact
 * size; above it, receive directly into a bytes object. */
#define AL_SOCK_STACK_SIZE 16384

/* --- common to all ------------------------------------------------------ */

/* Check the socket as asyncio does: 0, or -1 with an exception set. */
static int
sock_check(SockOpObject *op)
{
    al_loop_head *loop = op->loop;

    if (!op->is_exact) {
        PyObject *checked = PyObject_CallOneArg(
            loop->state->imports.check_ssl_socket, op->sock);
        if (checked == NULL) {
            return -1;
        }
        Py_DECREF(checked);
    }
    if (AL_LIKELY(!loop->is_debug)) {
        return 0;
    }
    PyObject *timeout =
        PyObject_CallMethodNoArgs(op->sock, loop->state->names.gettimeout);
    PyObject *zero = PyLong_FromLong(0);
    int is_blocking = -1;
    if (timeout != NULL && zero != NULL) {
        is_blocking = PyObject_RichCompareBool(timeout, zero, Py_NE);
    }
    Py_XDECREF(timeout);
    Py_XDECREF(zero);
    if (is_blocking > 0) {
        PyErr_SetString(PyExc_ValueError, "the socket must be non-blocking");
    }
    return is_blocking == 0 ? 0 : -1;
}

/* The descriptor of an exact socket.socket; -1 if it is closed.
 * 0, or -1 with an exception set. */
static int
sock_fileno(SockOpObject *op, int *fd)
{
    PyObject *number =
        PyObject_CallMethodNoArgs(op->sock, op->loop->state->names.fileno);
    if (number == NULL) {
        return -1;
    }
    *fd = (int)PyLong_AsLong(number);
    Py_DECREF(number);
    return *fd == -1 && PyErr_Occurred() ? -1 : 0;
}

/* Some methods of asyncio call fileno() first, which may raise if the socket
 * is of another class: call it, too. 0, or -1 with an exception set. */
static int
sock_ask_fileno(SockOpObject *op)
{
    if (op->is_exact) {
        return 0;
    }
    PyObject *number =
        PyObject_CallMethodNoArgs(op->sock, op->loop->state->names.fileno);
    Py_XDECREF(number);
    return number == NULL ? -1 : 0;
}

/* A system call has failed: returns NULL, without an exception if the
 * descriptor was not ready. */
static PyObject *
sock_failed(ssize_t n)
{
    return al_sock_is_again(n) ? NULL : al_error_set_errno((int)-n);
}

/* A method of the socket has returned `result`: return it; or NULL, without an
 * exception if it raised because the descriptor was not ready. */
static PyObject *
sock_called(PyObject *result)
{
    if (result == NULL && (PyErr_ExceptionMatches(PyExc_BlockingIOError) ||
                           PyErr_ExceptionMatches(PyExc_InterruptedError)))
    {
        PyErr_Clear();
    }
    return result;
}

/* Count the bytes that were received or sent: `n` of them if it is > 0. */
static inline void
sock_note(uint64_t *counter, ssize_t n)
{
    if (n > 0) {
        AL_TALLY(*counter, (uint64_t)n);
    }
}

/* sock_called() of a method that has received or sent: count the bytes. The
 * result is them, or their number, or a tuple that begins with that. */
static PyObject *
sock_moved(uint64_t *counter, PyObject *result)
{
    PyObject *bytes = sock_called(result);

    if (bytes != NULL && PyTuple_Check(bytes) && PyTuple_GET_SIZE(bytes) > 0) {
        bytes = PyTuple_GET_ITEM(bytes, 0);
    }
    if (bytes != NULL && PyBytes_Check(bytes)) {
        sock_note(counter, PyBytes_GET_SIZE(bytes));
    }
    else if (bytes != NULL && PyLong_CheckExact(bytes)) {
        sock_note(counter, PyLong_AsSsize_t(bytes));
        PyErr_Clear(); /* a number that is too large */
    }
    return result;
}

/* Convert an argument that is a number of bytes: 0, or -1 with an exception
 * set. */
static int
sock_size(SockOpObject *op, PyObject *argument, const char *method)
{
    PyObject *index = PyNumber_Index(argument);
    if (index == NULL) {
        return -1;
    }
    op->size = PyLong_AsSsize_t(index);
    Py_DECREF(index);
    if (op->size < 0 && !PyErr_Occurred()) {
        PyErr_Format(PyExc_ValueError, "negative buffersize in %s", method);
    }
    return op->size < 0 ? -1 : 0;
}

/* --- sock_recv ---------------------------------------------------------- */

/* Receive. -> new bytes object; or NULL as sock_failed() returns it. */
static PyObject *
sock_recv_little(SockOpObject *op, int fd, Py_ssize_t size)
{
    char stack[AL_SOCK_STACK_SIZE];

    ssize_t n = al_sock_recv(fd, stack, (size_t)size);
    sock_note(&op->loop->metrics.bytes_in, n);
    return n < 0 ? sock_failed(n) : PyBytes_FromStringAndSize(stack, n);
}

static PyObject *
sock_recv_much(SockOpObject *op, int fd, Py_ssize_t size)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (bytes == NULL) {
        return NULL;
    }
    ssize_t n = al_sock_recv(fd, PyBytes_AS_STRING(bytes), (size_t)size);
    sock_note(&op->loop->metrics.bytes_in, n);
    if (n < 0) {
        Py_DECREF(bytes);
        return sock_failed(n);
    }
    if (n < size) {
        (void)_PyBytes_Resize(&bytes, n); /* on failure NULL and MemoryError */
    }
    return bytes;
}

static PyObject *
sock_recv_retry(SockOpObject *op)
{
    int fd;

    if (!op->is_exact) {
        return sock_moved(
            &op->loop->metrics.bytes_in,
            PyObject_CallMethodOneArg(op->sock, op->loop->state->names.recv,
                                      op->argument));
    }
    if (AL_UNLIKELY(op->size == 0)) { /* no system call, as socket.recv() */
        return PyBytes_FromStringAndSize(NULL, 0);
    }
    if (sock_fileno(op, &fd) < 0) {
        return NULL;
    }
    return op->size <= AL_SOCK_STACK_SIZE ? sock_recv_little(op, fd, op->size)
                                          : sock_recv_much(op, fd, op->size);
}

static PyObject *
sock_recv_begin(SockOpObject *op)
{
    if (sock_check(op) < 0 ||
        (op->is_exact && sock_size(op, op->argument, "recv") < 0))
    {
        return NULL;
    }
    return sock_recv_retry(op);
}

static const al_sock_call sock_recv = {"sock_recv", EV_READ, sock_recv_begin,
                                       sock_recv_retry, NULL};

/* --- sock_recv_into ----------------------------------------------------- */

static PyObject *
sock_recv_into_buffer(SockOpObject *op, Py_buffer *buffer)
{
    int fd;

    if (AL_UNLIKELY(buffer->len == 0)) { /* as socket.recv_into() */
        return PyLong_FromLong(0);
    }
    if (sock_fileno(op, &fd) < 0) {
        return NULL;
    }
    ssize_t n = al_sock_recv(fd, buffer->buf, (size_t)buffer->len);
    sock_note(&op->loop->metrics.bytes_in, n);
    return n < 0 ? sock_failed(n) : PyLong_FromSsize_t(n);
}

/* Hold the buffer during the system call only: while we wait, its owner may
 * resize it. */
static PyObject *
sock_recv_into_retry(SockOpObject *op)
{
    Py_buffer buffer;

    if (!op->is_exact) {
        return sock_moved(
            &op->loop->metrics.bytes_in,
            PyObject_CallMethodOneArg(
                op->sock, op->loop->state->names.recv_into, op->argument));
    }
    if (PyObject_GetBuffer(op->argument, &buffer, PyBUF_WRITABLE) < 0) {
        PyErr_Format(PyExc_TypeError,
                     "recv_into() argument 1 must be read-write bytes-like "
                     "object, not %.50s",
                     Py_TYPE(op->argument)->tp_name);
        return NULL;
    }
    PyObject *result = sock_recv_into_buffer(op, &buffer);
    PyObject *raised = PyErr_GetRaisedException();
    PyBuffer_Release(&buffer); /* may run anything */
    PyErr_SetRaisedException(raised);
    return result;
}

static PyObject *
sock_recv_into_begin(SockOpObject *op)
{
    return sock_check(op) < 0 ? NULL : sock_recv_into_retry(op);
}

static const al_sock_call sock_recv_into = {"sock_recv_into", EV_READ,
                                            sock_recv_into_begin,
                                            sock_recv_into_retry, NULL};

/* --- sock_recvfrom, sock_recvfrom_into ---------------------------------- */

static PyObject *
sock_recvfrom_retry(SockOpObject *op)
{
    return sock_moved(
        &op->loop->metrics.bytes_in,
        PyObject_CallMethodOneArg(op->sock, op->loop->state->names.recvfrom,
                                  op->argument));
}

static PyObject *
sock_recvfrom_begin(SockOpObject *op)
{
    return sock_check(op) < 0 ? NULL : sock_recvfrom_retry(op);
}

static const al_sock_call sock_recvfrom = {
    "sock_recvfrom", EV_READ, sock_recvfrom_begin, sock_recvfrom_retry, NULL};

static PyObject *
sock_recvfrom_into_retry(SockOpObject *op)
{
    return sock_moved(&op->loop->metrics.bytes_in,
                      PyObject_CallMethodObjArgs(
                          op->sock, op->loop->state->names.recvfrom_into,
                          op->argument, op->argument2, NULL));
}

static PyObject *
sock_recvfrom_into_begin(SockOpObject *op)
{
    if (sock_check(op) < 0) {
        return NULL;
    }
    int is_given = op->argument2 == NULL ? 0 : PyObject_IsTrue(op->argument2);
    if (is_given < 0) {
        return NULL;
    }
    if (!is_given) {
        Py_ssize_t length = PyObject_Size(op->argument);
        if (length < 0) {
            return NULL;
        }
        Py_XSETREF(op->argument2, PyLong_FromSsize_t(length));
        if (op->argument2 == NULL) {
            return NULL;
        }
    }
    return sock_recvfrom_into_retry(op);
}

static const al_sock_call sock_recvfrom_into = {
    "sock_recvfrom_into", EV_READ, sock_recvfrom_into_begin,
    sock_recvfrom_into_retry, NULL};

/* --- sock_sendall ------------------------------------------------------- */

/* Send the rest by the socket's method: the number of bytes; 0 if the
 * descriptor was not ready; -1 with an exception set. */
static Py_ssize_t
sock_send_method(SockOpObject *op)
{
    PyObject *view = PyMemoryView_FromObject(op->argument);
    if (view == NULL) {
        return -1;
    }
    PyObject *rest = PySequence_GetSlice(view, op->size, PY_SSIZE_T_MAX);
    Py_DECREF(view);
    if (rest == NULL) {
        return -1;
    }
    PyObject *sent =
        sock_moved(&op->loop->metrics.bytes_out,
                   PyObject_CallMethodOneArg(
                       op->sock, op->loop->state->names.send, rest));
    Py_DECREF(rest);
    if (sent == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_ssize_t n = PyNumber_AsSsize_t(sent, PyExc_OverflowError);
    Py_DECREF(sent);
    return n == -1 && PyErr_Occurred() ? -1 : n;
}

static PyObject *
sock_sendall_retry(SockOpObject *op)
{
    int fd;

    if (op->is_exact) {
        if (sock_fileno(op, &fd) < 0) {
            return NULL;
        }
        ssize_t n = al_sock_send(fd, (char *)op->buffer.buf + op->size,
                                 (size_t)(op->buffer.len - op->size));
        sock_note(&op->loop->metrics.bytes_out, n);
        if (n < 0) {
            return sock_failed(n);
        }
        op->size += n;
    }
    else {
        Py_ssize_t n = sock_send_method(op);
        if (n < 0) {
            return NULL;
        }
        op->size += n;
    }
    return op->size < op->buffer.len ? NULL : Py_NewRef(Py_None);
}

/* A socket of another class first gets the data object itself, as in asyncio:
 * it raises if the object is wrong. */
static PyObject *
sock_sendall_method_begin(SockOpObject *op)
{
    Py_ssize_t n = 0;
    PyObject *sent =
        sock_moved(&op->loop->metrics.bytes_out,
                   PyObject_CallMethodOneArg(
                       op->sock, op->loop->state->names.send, op->argument));

    if (sent == NULL && PyErr_Occurred()) {
        return NULL;
    }
    if (sent != NULL) {
        n = PyNumber_AsSsize_t(sent, PyExc_OverflowError);
        Py_DECREF(sent);
        if (n == -1 && PyErr_Occurred()) {
            return NULL;
        }
    }
    Py_ssize_t total = PyObject_Size(op->argument);
    if (total < 0) {
        return NULL;
    }
    if (n == total) {
        return Py_NewRef(Py_None);
    }
    op->size = n;
    (void)PyObject_GetBuffer(op->argument, &op->buffer, PyBUF_SIMPLE);
    return NULL; /* it failed, or the rest waits until it is writable */
}

static PyObject *
sock_sendall_begin(SockOpObject *op)
{
    if (sock_check(op) < 0) {
        return NULL;
    }
    if (!op->is_exact) {
        return sock_sendall_method_begin(op);
    }
    if (PyObject_GetBuffer(op->argument, &op->buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    return sock_sendall_retry(op);
}

static const al_sock_call sock_sendall = {
    "sock_sendall", EV_WRITE, sock_sendall_begin, sock_sendall_retry, NULL};

/* --- sock_sendto -------------------------------------------------------- */

static PyObject *
sock_sendto_retry(SockOpObject *op)
{
    return sock_moved(
        &op->loop->metrics.bytes_out,
        PyObject_CallMethodObjArgs(op->sock, op->loop->state->names.sendto,
                                   op->argument, op->argument2, NULL));
}

static PyObject *
sock_sendto_begin(SockOpObject *op)
{
    return sock_check(op) < 0 ? NULL : sock_sendto_retry(op);
}

static const al_sock_call sock_sendto = {
    "sock_sendto", EV_WRITE, sock_sendto_begin, sock_sendto_retry, NULL};

/* --- sock_connect ------------------------------------------------------- */

/* Whether an address needs no resolver: it is a tuple in the socket module's
 * form for the family, with a numeric host that is not empty. */
static bool
sock_is_numeric(int family, PyObject *address)
{
    al_sockaddr ignored;

    if (!PyTuple_CheckExact(address) ||
        PyTuple_GET_SIZE(address) != (family == AF_INET ? 2 : 4))
    {
        return false;
    }
    PyObject *host = PyTuple_GET_ITEM(address, 0);
    if (PyUnicode_Check(host) && PyUnicode_GET_LENGTH(host) == 0) {
        return false;
    }
    return al_sockaddr_from_python(&ignored, family, address);
}

/* Connect to argument2. */
static PyObject *
sock_connect_try(SockOpObject *op)
{
    if (sock_ask_fileno(op) < 0) {
        return NULL;
    }
    return sock_called(PyObject_CallMethodOneArg(
        op->sock, op->loop->state->names.connect, op->argument2));
}

static PyObject *
sock_connect_retry(SockOpObject *op)
{
    PyObject *error = PyObject_CallMethod(op->sock, "getsockopt", "ii",
                                          SOL_SOCKET, SO_ERROR);
    if (error == NULL) {
        return sock_called(NULL);
    }
    int errnum = (int)PyLong_AsLong(error);
    Py_DECREF(error);
    if (errnum == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (errnum != 0) {
        return al_error_set_errno_message(errnum, "Connect call failed %S",
                                          op->argument2);
    }
    Py_RETURN_NONE;
}

/* The coroutine that resolves the address. -> new reference, or NULL. */
static PyObject *
sock_resolve(SockOpObject *op, PyObject *family)
{
    PyObject *type = PyObject_GetAttr(op->sock, op->loop->state->names.type);
    PyObject *proto = PyObject_GetAttr(op->sock, op->loop->state->names.proto);
    PyObject *resolve = PyObject_GetAttr(
        (PyObject *)op->loop, op->loop->state->names._ensure_resolved);
    PyObject *args = PyTuple_Pack(1, op->argument);
    PyObject *kwargs = NULL;
    PyObject *coro = NULL;

    if (type != NULL && proto != NULL) {
        kwargs = Py_BuildValue("{sOsOsOsO}", "family", family, "type", type,
                               "proto", proto, "loop", op->loop);
    }
    if (kwargs != NULL && resolve != NULL && args != NULL) {
        coro = PyObject_Call(resolve, args, kwargs);
    }
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    Py_XDECREF(resolve);
    Py_XDECREF(proto);
    Py_XDECREF(type);
    return coro;
}

static PyObject *
sock_connect_begin(SockOpObject *op)
{
    if (sock_check(op) < 0) {
        return NULL;
    }
    PyObject *attribute =
        PyObject_GetAttr(op->sock, op->loop->state->names.family);
    if (attribute == NULL) {
        return NULL;
    }
    /* A family that is no int is none that has to be resolved. */
    long family = PyLong_Check(attribute) ? PyLong_AsLong(attribute) : 0;
    if (family == -1 && PyErr_Occurred()) {
        goto error;
    }
    if ((family == AF_INET || family == AF_INET6) &&
        !sock_is_numeric((int)family, op->argument))
    {
        PyObject *coro = sock_resolve(op, attribute);
        if (coro == NULL) {
            goto error;
        }
        op->iterator =
            PyObject_CallMethodNoArgs(coro, op->loop->state->names.__await__);
        Py_DECREF(coro);
        Py_DECREF(attribute);
        return NULL;
    }
    Py_DECREF(attribute);
    op->argument2 = Py_NewRef(op->argument);
    return sock_connect_try(op);

error:
    Py_DECREF(attribute);
    return NULL;
}

/* `infos` is the result of getaddrinfo(): use the first address. */
static PyObject *
sock_connect_resolved(SockOpObject *op, PyObject *infos)
{
    PyObject *info = PySequence_GetItem(infos, 0);
    if (info == NULL) {
        return NULL;
    }
    op->argument2 = PySequence_GetItem(info, 4);
    Py_DECREF(info);
    return op->argument2 == NULL ? NULL : sock_connect_try(op);
}

static const al_sock_call sock_connect = {
    "sock_connect", EV_WRITE, sock_connect_begin, sock_connect_retry,
    sock_connect_resolved};

/* --- sock_accept -------------------------------------------------------- */

static PyObject *
sock_accept_retry(SockOpObject *op)
{
    if (sock_ask_fileno(op) < 0) {
        return NULL;
    }
    PyObject *pair = sock_called(
        PyObject_CallMethodNoArgs(op->sock, op->loop->state->names.accept));
    if (pair == NULL) {
        return NULL;
    }
    PyObject *conn = PySequence_GetItem(pair, 0);
    PyObject *done = NULL;
    if (conn != NULL) {
        done = PyObject_CallMethodOneArg(
            conn, op->loop->state->names.setblocking, Py_False);
        Py_DECREF(conn);
    }
    if (done == NULL) {
        Py_DECREF(pair);
        return NULL;
    }
    Py_DECREF(done);
    return pair;
}

static PyObject *
sock_accept_begin(SockOpObject *op)
{
    return sock_check(op) < 0 ? NULL : sock_accept_retry(op);
}

static const al_sock_call sock_accept = {
    "sock_accept", EV_READ, sock_accept_begin, sock_accept_retry, NULL};

/* --- Python: methods ---------------------------------------------------- */

/* Parse the arguments, make the operation. */
static PyObject *
sock_method(PyObject *op, const al_sock_call *call,
            const al_signature *signature, PyObject *const *args,
            Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *parsed[3];

    if (al_args_parse(signature, args, nargs, kwnames, parsed) < 0) {
        return NULL;
    }
    return al_sock_op_new(al_loop_head_CAST(op), call, parsed,
                          signature->positional);
}

PyDoc_STRVAR(
    Loop_sock_recv_doc,
    "sock_recv($self, sock, n)\n--\n\n"
    "Receive at most n bytes.\n\n"
    "Returns bytes, empty at the end of the stream. Raises OSError, and\n"
    "ValueError for a blocking socket in debug mode.");

static PyObject *
Loop_sock_recv(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    static const al_signature signature = {"sock_recv", AL_ARGS("sock", "n"),
                                           .required = 2, .positional = 2};

    return sock_method(op, &sock_recv, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_sock_recv_into_doc,
             "sock_recv_into($self, sock, buf)\n--\n\n"
             "Receive into a writable buffer.\n\n"
             "Returns the number of bytes, 0 at the end of the stream. Raises "
             "OSError, and\n"
             "ValueError for a blocking socket in debug mode.");

static PyObject *
Loop_sock_recv_into(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    static const al_signature signature = {"sock_recv_into",
                                           AL_ARGS("sock", "buf"),
                                           .required = 2, .positional = 2};

    return sock_method(op, &sock_recv_into, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_sock_recvfrom_doc,
             "sock_recvfrom($self, sock, bufsize)\n--\n\n"
             "Receive a datagram of at most bufsize bytes.\n\n"
             "Returns (bytes, address of the sender). Raises OSError, and\n"
             "ValueError for a blocking socket in debug mode.");

static PyObject *
Loop_sock_recvfrom(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    static const al_signature signature = {"sock_recvfrom",
                                           AL_ARGS("sock", "bufsize"),
                                           .required = 2, .positional = 2};

    return sock_method(op, &sock_recvfrom, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(
    Loop_sock_recvfrom_into_doc,
    "sock_recvfrom_into($self, sock, buf, nbytes=0)\n--\n\n"
    "Receive a datagram into a writable buffer, at most nbytes (0: its "
    "length).\n\n"
    "Returns (number of bytes, address of the sender). Raises OSError, and\n"
    "ValueError for a blocking socket in debug mode.");

static PyObject *
Loop_sock_recvfrom_into(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *kwnames)
{
    static const al_signature signature = {"sock_recvfrom_into",
                                           AL_ARGS("sock", "buf", "nbytes"),
                                           .required = 2, .positional = 3};

    return sock_method(op, &sock_recvfrom_into, &signature, args, nargs,
                       kwnames);
}

PyDoc_STRVAR(Loop_sock_sendall_doc,
             "sock_sendall($self, sock, data)\n--\n\n"
             "Send all bytes of data.\n\n"
             "Returns None. After an error it is not known how much was sent. "
             "Raises OSError, and\n"
             "ValueError for a blocking socket in debug mode.");

static PyObject *
Loop_sock_sendall(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    static const al_signature signature = {"sock_sendall",
                                           AL_ARGS("sock", "data"),
                                           .required = 2, .positional = 2};

    return sock_method(op, &sock_sendall, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_sock_sendto_doc,
             "sock_sendto($self, sock, data, address)\n--\n\n"
             "Send a datagram to an address.\n\n"
             "Returns the number of bytes sent. Raises OSError, and\n"
             "ValueError for a blocking socket in debug mode.");

static PyObject *
Loop_sock_sendto(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const al_signature signature = {"sock_sendto",
                                           AL_ARGS("sock", "data", "address"),
                                           .required = 3, .positional = 3};

    return sock_method(op, &sock_sendto, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_sock_connect_doc,
             "sock_connect($self, sock, address)\n--\n\n"
             "Connect a socket; a host name is resolved.\n\n"
             "Returns None. Raises OSError, and\n"
             "ValueError for a blocking socket in debug mode.");

static PyObject *
Loop_sock_connect(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    static const al_signature signature = {"sock_connect",
                                           AL_ARGS("sock", "address"),
                                           .required = 2, .positional = 2};

    return sock_method(op, &sock_connect, &signature, args, nargs, kwnames);
}

PyDoc_STRVAR(Loop_sock_accept_doc,
             "sock_accept($self, sock)\n--\n\n"
             "Accept a connection on a listening socket.\n\n"
             "Returns (non-blocking socket, address of the other end). Raises "
             "OSError, and\n"
             "ValueError for a blocking socket in debug mode.");

static PyObject *
Loop_sock_accept(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const al_signature signature = {"sock_accept", AL_ARGS("sock"),
                                           .required = 1, .positional = 1};

    return sock_method(op, &sock_accept, &signature, args, nargs, kwnames);
}

AL_LOCKS_KEYWORDS(Loop_sock_recv, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop_sock_recv_into, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop_sock_recvfrom, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop_sock_recvfrom_into, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop_sock_sendall, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop_sock_sendto, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop_sock_connect, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop_sock_accept, al_loop_lock)

PyMethodDef al_loop_sock_methods[] = {
    {"sock_recv", AL_KEYWORDS(AL_LOCKED(Loop_sock_recv)), Loop_sock_recv_doc},
    {"sock_recv_into", AL_KEYWORDS(AL_LOCKED(Loop_sock_recv_into)),
     Loop_sock_recv_into_doc},
    {"sock_recvfrom", AL_KEYWORDS(AL_LOCKED(Loop_sock_recvfrom)),
     Loop_sock_recvfrom_doc},
    {"sock_recvfrom_into", AL_KEYWORDS(AL_LOCKED(Loop_sock_recvfrom_into)),
     Loop_sock_recvfrom_into_doc},
    {"sock_sendall", AL_KEYWORDS(AL_LOCKED(Loop_sock_sendall)),
     Loop_sock_sendall_doc},
    {"sock_sendto", AL_KEYWORDS(AL_LOCKED(Loop_sock_sendto)),
     Loop_sock_sendto_doc},
    {"sock_connect", AL_KEYWORDS(AL_LOCKED(Loop_sock_connect)),
     Loop_sock_connect_doc},
    {"sock_accept", AL_KEYWORDS(AL_LOCKED(Loop_sock_accept)),
     Loop_sock_accept_doc},
    {NULL, NULL, 0, NULL},
};
