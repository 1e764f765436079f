/* sockaddr.c - socket addresses: Python's form <-> the kernel's. */
#include "sys/sockaddr.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

/* --- to Python ---------------------------------------------------------- */

static PyObject *
sockaddr_inet(const struct sockaddr_in *in)
{
    char host[INET_ADDRSTRLEN];

    if (inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host)) == NULL) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return Py_BuildValue("(si)", host, (int)ntohs(in->sin_port));
}

static PyObject *
sockaddr_inet6(const struct sockaddr_in6 *in6)
{
    char host[INET6_ADDRSTRLEN];

    if (inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)) == NULL) {
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return Py_BuildValue("(siII)", host, (int)ntohs(in6->sin6_port),
                         (unsigned)ntohl(in6->sin6_flowinfo),
                         (unsigned)in6->sin6_scope_id);
}

static PyObject *
sockaddr_unix(const struct sockaddr_un *un, socklen_t size)
{
    const size_t start = offsetof(struct sockaddr_un, sun_path);

#ifdef __linux__
    if (size > start && un->sun_path[0] == '\0') {
        return PyBytes_FromStringAndSize(un->sun_path,
                                         (Py_ssize_t)(size - start));
    }
#endif
    /* A path that fills sun_path comes without a terminating zero. */
    size_t length = size > start ? strnlen(un->sun_path, size - start) : 0;
    return PyUnicode_DecodeFSDefaultAndSize(un->sun_path, (Py_ssize_t)length);
}

PyObject *
al_sockaddr_to_python(const al_sockaddr *self)
{
    if (self->size == 0) {
        Py_RETURN_NONE;
    }
    switch (self->any.sa.sa_family) {
    case AF_INET:
        return sockaddr_inet(&self->any.in);
    case AF_INET6:
        return sockaddr_inet6(&self->any.in6);
    case AF_UNIX:
        return sockaddr_unix(&self->any.un, self->size);
    }
    return Py_BuildValue("iy#", (int)self->any.sa.sa_family,
                         self->any.sa.sa_data,
                         (Py_ssize_t)sizeof(self->any.sa.sa_data));
}

al_sockaddr *
al_sockaddr_copy(const al_sockaddr *self)
{
    size_t size = offsetof(al_sockaddr, any) + self->size;
    al_sockaddr *copy = PyMem_Malloc(size);

    if (copy == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    memcpy(copy, self, size);
    return copy;
}

/* --- from Python -------------------------------------------------------- */

/* The host of an (host, port, ...) tuple as text without NUL.
 * 0; 1: the socket module has to do it; -1 with an exception set. */
static int
sockaddr_host(PyObject *host, const char **text)
{
    Py_ssize_t size;

    if (PyUnicode_Check(host) && PyUnicode_IS_ASCII(host)) {
        *text = PyUnicode_AsUTF8AndSize(host, &size);
        if (*text == NULL) {
            return -1;
        }
        return strlen(*text) == (size_t)size ? 0 : 1;
    }
    /* The socket module knows IDNA names, bytes, and the errors for others. */
    return 1;
}

static int
sockaddr_port(PyObject *object, in_port_t *port)
{
    long value = PyLong_AsLong(object);

    if (value == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (value < 0 || value > 0xffff) {
        PyErr_SetString(PyExc_OverflowError, "port must be 0-65535.");
        return -1;
    }
    *port = htons((in_port_t)value);
    return 0;
}

static int
sockaddr_from_inet(al_sockaddr *self, PyObject *address)
{
    struct sockaddr_in *in = &self->any.in;
    const char *host;

    if (!PyTuple_Check(address) || PyTuple_GET_SIZE(address) != 2 ||
        !PyLong_Check(PyTuple_GET_ITEM(address, 1)))
    {
        return 1;
    }
    int rc = sockaddr_host(PyTuple_GET_ITEM(address, 0), &host);
    if (rc != 0) {
        return rc;
    }
    memset(in, 0, sizeof(*in));
    if (host[0] == '\0') {
        in->sin_addr.s_addr = htonl(INADDR_ANY);
    }
    else if (inet_pton(AF_INET, host, &in->sin_addr) != 1) {
        return 1;
    }
    if (sockaddr_port(PyTuple_GET_ITEM(address, 1), &in->sin_port) < 0) {
        return -1;
    }
    in->sin_family = AF_INET;
    self->size = sizeof(*in);
    return 0;
}

/* An optional unsigned number of the tuple; 0 if it is left out.
 * 0; 1: the socket module has to do it; -1 with an exception set. */
static int
sockaddr_number(PyObject *address, Py_ssize_t index, unsigned long max,
                const char *message, uint32_t *number)
{
    *number = 0;
    if (PyTuple_GET_SIZE(address) <= index) {
        return 0;
    }
    PyObject *object = PyTuple_GET_ITEM(address, index);
    if (!PyLong_Check(object)) {
        return 1;
    }
    unsigned long value = PyLong_AsUnsignedLong(object);
    if (value == (unsigned long)-1 && PyErr_Occurred()) {
        return -1;
    }
    if (value > max) {
        PyErr_SetString(PyExc_OverflowError, message);
        return -1;
    }
    *number = (uint32_t)value;
    return 0;
}

static int
sockaddr_from_inet6(al_sockaddr *self, PyObject *address)
{
    struct sockaddr_in6 *in6 = &self->any.in6;
    const char *host;
    uint32_t flowinfo, scope_id;

    if (!PyTuple_Check(address) || PyTuple_GET_SIZE(address) < 2 ||
        PyTuple_GET_SIZE(address) > 4 ||
        !PyLong_Check(PyTuple_GET_ITEM(address, 1)))
    {
        return 1;
    }
    int rc = sockaddr_host(PyTuple_GET_ITEM(address, 0), &host);
    if (rc != 0) {
        return rc;
    }
    memset(in6, 0, sizeof(*in6));
    if (host[0] != '\0' && inet_pton(AF_INET6, host, &in6->sin6_addr) != 1) {
        return 1; /* (an empty host is ::, which is all zeroes) */
    }
    if (sockaddr_port(PyTuple_GET_ITEM(address, 1), &in6->sin6_port) < 0) {
        return -1;
    }
    rc = sockaddr_number(address, 2, 0xfffff, "flowinfo must be 0-1048575.",
                         &flowinfo);
    if (rc != 0) {
        return rc;
    }
    rc = sockaddr_number(address, 3, UINT32_MAX, "scope id is too large",
                         &scope_id);
    if (rc != 0) {
        return rc;
    }
    in6->sin6_family = AF_INET6;
    in6->sin6_flowinfo = htonl(flowinfo);
    in6->sin6_scope_id = scope_id;
    self->size = sizeof(*in6);
    return 0;
}

static int
sockaddr_from_unix(al_sockaddr *self, PyObject *address)
{
    const size_t start = offsetof(struct sockaddr_un, sun_path);
    struct sockaddr_un *un = &self->any.un;
    PyObject *path = NULL;

    if (PyUnicode_Check(address)) {
        path = PyUnicode_EncodeFSDefault(address);
        if (path == NULL) {
            return -1;
        }
    }
    else if (PyBytes_Check(address)) {
        path = Py_NewRef(address);
    }
    else {
        return 1;
    }
    size_t length = (size_t)PyBytes_GET_SIZE(path);
    const char *text = PyBytes_AS_STRING(path);
    /* An abstract name may fill sun_path; a path needs a terminating zero. The
     * empty path gets none: with it, it would be the abstract name "\0". */
    size_t zero = length == 0 || text[0] == '\0' ? 0 : 1;
    if (length > sizeof(un->sun_path) - zero) {
        Py_DECREF(path);
        PyErr_SetString(PyExc_OSError, "AF_UNIX path too long");
        return -1;
    }
    memset(un, 0, sizeof(*un));
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, text, length);
    self->size = (socklen_t)(start + length + zero);
    Py_DECREF(path);
    return 0;
}

int
al_sockaddr_from_python(al_sockaddr *self, int family, PyObject *address)
{
    switch (family) {
    case AF_INET:
        return sockaddr_from_inet(self, address);
    case AF_INET6:
        return sockaddr_from_inet6(self, address);
    case AF_UNIX:
        return sockaddr_from_unix(self, address);
    }
    return 1;
}
