/* loop_pipe.c - the hooks that BaseEventLoop calls in its subclasses to make
 * transports: for connect_read_pipe() and connect_write_pipe(). */
#include "loop/loop.h"

#include "base/args.h"
#include "net/pipe_transport.h"

static PyObject *
pipe_make(const al_signature *signature,
          PyObject *(*make)(al_loop_head *, const al_pipe_parts *),
          PyObject *op, PyObject *const *args, Py_ssize_t nargs,
          PyObject *kwnames)
{
    PyObject *a[4];

    if (al_args_parse(signature, args, nargs, kwnames, a) < 0) {
        return NULL;
    }
    al_pipe_parts parts = {
        .pipe = a[0], .protocol = a[1], .waiter = a[2], .extra = a[3]};
    return make(al_loop_head_CAST(op), &parts);
}

PyDoc_STRVAR(
    Loop__make_read_pipe_transport_doc,
    "_make_read_pipe_transport($self, pipe, protocol, waiter=None, "
    "extra=None)\n--\n\n"
    "Return a transport for the read end of a pipe, which it owns "
    "from now on.\nconnection_made() is called in the next turn, then "
    "the waiter gets its result.");

static PyObject *
Loop__make_read_pipe_transport(PyObject *op, PyObject *const *args,
                               Py_ssize_t nargs, PyObject *kwnames)
{
    static const al_signature signature = {
        "_make_read_pipe_transport",
        AL_ARGS("pipe", "protocol", "waiter", "extra"), .required = 2,
        .positional = 4};

    return pipe_make(&signature, al_pipe_read_new, op, args, nargs, kwnames);
}

PyDoc_STRVAR(
    Loop__make_write_pipe_transport_doc,
    "_make_write_pipe_transport($self, pipe, protocol, waiter=None, "
    "extra=None)\n--\n\n"
    "Return a transport for the write end of a pipe, which it owns "
    "from now on.\nconnection_made() is called in the next turn, then "
    "the waiter gets its result.");

static PyObject *
Loop__make_write_pipe_transport(PyObject *op, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames)
{
    static const al_signature signature = {
        "_make_write_pipe_transport",
        AL_ARGS("pipe", "protocol", "waiter", "extra"), .required = 2,
        .positional = 4};

    return pipe_make(&signature, al_pipe_write_new, op, args, nargs, kwnames);
}

AL_LOCKS_KEYWORDS(Loop__make_read_pipe_transport, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop__make_write_pipe_transport, al_loop_lock)

PyMethodDef al_loop_pipe_methods[] = {
    {"_make_read_pipe_transport",
     AL_KEYWORDS(AL_LOCKED(Loop__make_read_pipe_transport)),
     Loop__make_read_pipe_transport_doc},
    {"_make_write_pipe_transport",
     AL_KEYWORDS(AL_LOCKED(Loop__make_write_pipe_transport)),
     Loop__make_write_pipe_transport_doc},
    {NULL, NULL, 0, NULL},
};
