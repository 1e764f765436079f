/* descriptor.c - a transport's descriptor: does its number still name our
 * file?
 *
 *     accept4() --------------------> PRIVATE --- the program asks for
 *                                       |   ^     the number ---.
 *     create_connection(host, port) ----+---'                   v
 *     create_connection(sock=s), a pipe, a listener --------> SHARED
 *                                       |                        |
 *                                       |     another file has the number
 *                                       v                        v
 *                                   released <----------------- GONE
 *
 * A program can close a SHARED descriptor in many ways: s.close(), the end of
 * a `with` block, s.detach(), os.close(n), os.dup2(x, n).  So before each use
 * we ask two questions.  Does the socket object still have the number?
 * (detach() leaves the file open.) Does the number still name the same device
 * and inode? (Each socket has an inode of its own.) The second question costs
 * a system call of 0.2 us.  A PRIVATE descriptor saves that: the program
 * cannot close it.
 *
 * If the descriptor is GONE, the caller acts as after EBADF from a system
 * call.
 *
 * Invariant
 *   (1) A GONE descriptor is neither read, written, shut down, watched nor
 *       closed, not even when our socket or file object is freed. */
#include "net/descriptor.h"

#include "base/call.h"
#include "sys/nowait.h"

/* Note which file fd names. */
static void
descriptor_learn(al_descriptor *self)
{
    self->file = (al_file_id){0};
    if (!al_file_id_matches(&self->file, self->fd)) {
        self->phase = AL_DESCRIPTOR_GONE;
    }
}

/* Whether the object is a socket.socket. */
static bool
descriptor_is_socket(const al_descriptor *self, al_state *state)
{
    return self->object != NULL &&
           PyObject_TypeCheck(self->object,
                              (PyTypeObject *)state->imports.socket_socket);
}

/* The number that a socket object has now, -1 if it has none. Calls
 * socket.socket.fileno(), even if the object's class overrides fileno(). */
static int
descriptor_number(const al_descriptor *self, al_state *state)
{
    PyObject *number =
        PyObject_CallOneArg(state->imports.socket_fileno, self->object);
    if (number == NULL) {
        PyErr_Clear(); /* no memory: rely on the second question */
        return self->fd;
    }
    int fd = (int)PyLong_AsLong(number);
    Py_DECREF(number);
    return fd;
}

void
al_descriptor_take(al_descriptor *self, int fd, PyObject *object)
{
    self->fd = fd;
    self->object = Py_XNewRef(object);
    self->phase =
        object == NULL ? AL_DESCRIPTOR_PRIVATE : AL_DESCRIPTOR_SHARED;
    if (object != NULL) {
        descriptor_learn(self);
    }
}

void
al_descriptor_give_back(al_descriptor *self)
{
    self->phase = AL_DESCRIPTOR_NONE;
    Py_CLEAR(self->object);
}

void
al_descriptor_trust(al_descriptor *self)
{
    if (self->phase == AL_DESCRIPTOR_SHARED && !self->is_shown) {
        self->phase = AL_DESCRIPTOR_PRIVATE;
    }
}

void
al_descriptor_show(al_descriptor *self)
{
    self->is_shown = true;
    if (self->phase == AL_DESCRIPTOR_PRIVATE) {
        self->phase = AL_DESCRIPTOR_SHARED;
        descriptor_learn(self);
    }
}

void
al_descriptor_mark_gone(al_descriptor *self)
{
    if (self->phase != AL_DESCRIPTOR_NONE) {
        self->phase = AL_DESCRIPTOR_GONE;
    }
}

bool
al_descriptor_check(al_descriptor *self, al_state *state)
{
    if (self->phase != AL_DESCRIPTOR_SHARED) {
        return self->phase == AL_DESCRIPTOR_PRIVATE;
    }
    if ((descriptor_is_socket(self, state) &&
         descriptor_number(self, state) != self->fd) ||
        !al_file_id_matches(&self->file, self->fd))
    {
        self->phase = AL_DESCRIPTOR_GONE;
        return false;
    }
    return true;
}

/* object.method(): 0, or -1 with its exception set. */
static int
descriptor_call(al_descriptor *self, PyObject *method)
{
    PyObject *object = Py_NewRef(self->object);
    PyObject *result = PyObject_CallMethodNoArgs(object, method);
    Py_DECREF(object);
    return al_call_finish(result);
}

/* Keep the object from closing a file that is not ours when it is freed, by
 * (1).
 * 0, or -1 with an exception set. */
static int
descriptor_disarm(al_descriptor *self, al_state *state)
{
    if (descriptor_is_socket(self, state)) {
        return descriptor_number(self, state) == self->fd
                   ? descriptor_call(self, state->names.detach)
                   : 0;
    }
    /* A file object has no detach() that makes it forget its number. So keep
     * it alive for ever, in a list. */
    int is_closed = 0;
    PyObject *closed = PyObject_GetAttr(self->object, state->names.closed);
    if (closed == NULL) {
        PyErr_Clear(); /* not a file object, but freeing it may close fd */
    }
    else {
        is_closed = al_call_is_true(closed);
    }
    if (is_closed != 0) {
        return is_closed > 0 ? 0 : -1;
    }
    return PyList_Append(state->imports.strays, self->object);
}

int
al_descriptor_release(al_descriptor *self, al_state *state)
{
    if (self->phase == AL_DESCRIPTOR_NONE) {
        return 0;
    }
    bool is_ours = al_descriptor_is_ours(self, state);
    self->phase = AL_DESCRIPTOR_NONE; /* first: close() may run anything */
    if (self->object != NULL) {
        return is_ours ? descriptor_call(self, state->names.close)
                       : descriptor_disarm(self, state);
    }
    if (is_ours) {
        al_nowait_close(self->fd);
    }
    return 0;
}
