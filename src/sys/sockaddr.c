/* sockaddr.c - socket addresses: Python's form <-> the kernel's. */
#include "sys/sockaddr.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

#include "base/features.h"

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

#if AL_HAS_ABSTRACT_ADDRESSES
    if (size > start && un->sun_path[0] == '\0') {
        return PyBytes_FromStringAndSize(un->sun_path,
                                         (Py_ssize_t)(size - start));
    }
#endif
    /* A path that fills sun_path has its terminating zero behind it, or
     * none. */
    size_t room = size > start ? size - start : 0;
    size_t length = strnlen(un->sun_path, Py_MIN(room, sizeof(un->sun_path)));
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
    struct sockaddr other = {0}; /* that of a copy may be shorter */
    memcpy(&other, &self->any.sa, Py_MIN(self->size, sizeof(other)));
    return Py_BuildValue("iy#", (int)other.sa_family, other.sa_data,
                         (Py_ssize_t)sizeof(other.sa_data));
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

/* A numeric host; the empty one is the address of all zeroes, which is in `to`
 * already. The socket module knows names, bytes, and the errors for others. */
static bool
sockaddr_host(int family, PyObject *host, void *to)
{
    if (!PyUnicode_Check(host) || !PyUnicode_IS_ASCII(host)) {
        return false;
    }
    const char *text = (const char *)PyUnicode_1BYTE_DATA(host);
    if (strlen(text) != (size_t)PyUnicode_GET_LENGTH(host)) {
        return false; /* with a zero inside */
    }
    return text[0] == '\0' || inet_pton(family, text, to) == 1;
}

/* A number of the tuple, at most `max`; 0 if it is left out. */
static bool
sockaddr_number(PyObject *address, Py_ssize_t index, long long max,
                uint32_t *number)
{
    int overflow;

    *number = 0;
    if (PyTuple_GET_SIZE(address) <= index) {
        return true;
    }
    PyObject *object = PyTuple_GET_ITEM(address, index);
    if (!PyLong_Check(object)) {
        return false;
    }
    /* (-1 if it overflows) */
    long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (value < 0 || value > max) {
        return false;
    }
    *number = (uint32_t)value;
    return true;
}

static bool
sockaddr_from_inet(al_sockaddr *self, PyObject *address)
{
    struct sockaddr_in *in = &self->any.in;
    uint32_t port;

    memset(in, 0, sizeof(*in));
    if (!PyTuple_Check(address) || PyTuple_GET_SIZE(address) != 2 ||
        !sockaddr_host(AF_INET, PyTuple_GET_ITEM(address, 0), &in->sin_addr) ||
        !sockaddr_number(address, 1, UINT16_MAX, &port))
    {
        return false;
    }
    in->sin_family = AF_INET;
    in->sin_port = htons((in_port_t)port);
    self->size = sizeof(*in);
    return true;
}

static bool
sockaddr_from_inet6(al_sockaddr *self, PyObject *address)
{
    struct sockaddr_in6 *in6 = &self->any.in6;
    uint32_t port, flowinfo, scope_id;

    memset(in6, 0, sizeof(*in6));
    if (!PyTuple_Check(address) || PyTuple_GET_SIZE(address) < 2 ||
        PyTuple_GET_SIZE(address) > 4 ||
        !sockaddr_host(AF_INET6, PyTuple_GET_ITEM(address, 0),
                       &in6->sin6_addr) ||
        !sockaddr_number(address, 1, UINT16_MAX, &port) ||
        !sockaddr_number(address, 2, 0xfffff, &flowinfo) ||
        !sockaddr_number(address, 3, UINT32_MAX, &scope_id))
    {
        return false;
    }
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons((in_port_t)port);
    in6->sin6_flowinfo = htonl(flowinfo);
    in6->sin6_scope_id = scope_id;
    self->size = sizeof(*in6);
    return true;
}

static bool
sockaddr_from_unix(al_sockaddr *self, PyObject *address)
{
    const size_t start = offsetof(struct sockaddr_un, sun_path);
    struct sockaddr_un *un = &self->any.un;
    PyObject *path = PyUnicode_Check(address)
                         ? PyUnicode_EncodeFSDefault(address)
                         : Py_NewRef(address);

    if (path == NULL || !PyBytes_Check(path)) {
        PyErr_Clear();
        Py_XDECREF(path);
        return false;
    }
    size_t length = (size_t)PyBytes_GET_SIZE(path);
    const char *text = PyBytes_AS_STRING(path);
    /* An abstract name may fill sun_path; a path needs a terminating zero. The
     * empty path gets none: with it, it would be the abstract name "\0". */
    size_t zero = length == 0 || text[0] == '\0' ? 0 : 1;
    bool fits = length + zero <= sizeof(un->sun_path);
    if (fits) {
        memset(un, 0, sizeof(*un));
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, text, length);
        self->size = (socklen_t)(start + length + zero);
    }
    Py_DECREF(path);
    return fits;
}

bool
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
    return false;
}
