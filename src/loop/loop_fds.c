/* loop_fds.c - add_reader(), add_writer(), remove_reader(), remove_writer().
 *
 *     add_reader(fd, callback) ---> Handle ---> al_fdwatch ---> ready queue
 *
 * One Handle is queued each time the descriptor is ready.  When it is replaced
 * or removed, it is cancelled: so it does not run even if it is queued
 * already.
 */
#include "loop/loop_fds.h"

#include "loop/loop.h"

#include "base/args.h"
#include "io/fdwatch.h"
#include "net/claim.h"
#include "sched/handle.h"

/* --- descriptors -------------------------------------------------------- */

#define AL_FDS_NEGATIVE (-1)
#define AL_FDS_TOO_LARGE (-2) /* a number that is too large for an int */

/* The descriptor of an int or an object with fileno(), or a constant above.
 * 0, or -1 with ValueError set. */
static int
fds_fileno(al_state *state, PyObject *fileobj, int *fd)
{
    PyObject *number = NULL;

    if (PyLong_Check(fileobj)) {
        number = Py_NewRef(fileobj);
    }
    else {
        PyObject *result =
            PyObject_CallMethodNoArgs(fileobj, state->names.fileno);
        if (result != NULL) {
            number = PyNumber_Long(result);
            Py_DECREF(result);
        }
    }
    if (number == NULL) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError) ||
            PyErr_ExceptionMatches(PyExc_TypeError) ||
            PyErr_ExceptionMatches(PyExc_ValueError))
        {
            PyErr_Clear();
            PyErr_Format(PyExc_ValueError, "Invalid file object: %R", fileobj);
        }
        return -1;
    }
    int overflow;
    long value = PyLong_AsLongAndOverflow(number, &overflow);
    Py_DECREF(number);
    if (overflow > 0 || value > INT_MAX) {
        *fd = AL_FDS_TOO_LARGE;
    }
    else {
        *fd = overflow < 0 || value < 0 ? AL_FDS_NEGATIVE : (int)value;
    }
    return 0;
}

/* The same, and check that no open transport has the descriptor. */
static int
fds_free_fileno(al_loop_head *loop, PyObject *fileobj, int *fd)
{
    if (fds_fileno(loop->state, fileobj, fd) < 0) {
        return -1;
    }
    return al_claim_check_free(loop, *fd, fileobj);
}

static void
fds_set_invalid(int fd, PyObject *fileobj)
{
    if (fd == AL_FDS_TOO_LARGE) {
        PyErr_SetString(PyExc_OverflowError,
                        "Python int too large to convert to C int");
    }
    else if (PyLong_Check(fileobj)) {
        PyErr_Format(PyExc_ValueError, "Invalid file descriptor: %S", fileobj);
    }
    else {
        PyErr_SetString(PyExc_ValueError, "Invalid file descriptor: -1");
    }
}

/* --- add and remove ----------------------------------------------------- */

/* al_run_fn of the handles here. */
static int
fds_run(al_loop_head *loop, PyObject *handle)
{
    if (HandleObject_CAST(handle)->is_cancelled) {
        /* The program has cancelled the handle that _add_reader() returned.
         * Clear the entry, or each poll would queue it. */
        al_fdwatch_clear_object(loop, handle);
        return 0;
    }
    return al_handle_run(loop, handle);
}

/* Cancel a handle that was replaced or removed (stolen, may be NULL): it must
 * not run even if it is queued. 0, or -1 with an exception set. A sock_*
 * operation notices by itself that it was replaced. */
static int
fds_cancel(al_state *state, PyObject *object)
{
    int rc = 0;

    if (object != NULL && al_handle_check(state, object)) {
        rc = al_handle_cancel(HandleObject_CAST(object));
    }
    Py_XDECREF(object);
    return rc;
}

int
al_loop_fds_set(al_fdwatch *watch, int event, al_run_fn run, PyObject *object)
{
    al_state *state = watch->loop->state;
    PyObject *replaced;
    int rc;

    if (event == EV_READ) {
        replaced = Py_XNewRef(watch->reader.object);
        rc = al_fdwatch_set_reader(watch, run, object);
    }
    else {
        replaced = Py_XNewRef(watch->writer.object);
        rc = al_fdwatch_set_writer(watch, run, object);
    }
    if (rc < 0) { /* the old entry is still there */
        Py_XDECREF(replaced);
        return -1;
    }
    return fds_cancel(state, replaced);
}

/* Clear the entry: 1; 0 if it was not set; -1 with an exception set. */
static int
fds_clear(al_fdwatch *watch, int event)
{
    al_state *state = watch->loop->state;
    PyObject *removed;

    if (event == EV_READ) {
        removed = Py_XNewRef(watch->reader.object);
        al_fdwatch_clear_reader(watch);
    }
    else {
        removed = Py_XNewRef(watch->writer.object);
        al_fdwatch_clear_writer(watch);
    }
    int found = removed != NULL;
    return fds_cancel(state, removed) < 0 ? -1 : found;
}

/* -> new reference to the handle, or NULL with an exception set. */
static PyObject *
fds_add(al_loop_head *loop, int fd, int event, PyObject *const *args,
        Py_ssize_t nargs)
{
    PyObject *fileobj = args[0];

    if (al_loop_check_closed(loop) < 0) {
        return NULL;
    }
    if (fd < 0) {
        fds_set_invalid(fd, fileobj);
        return NULL;
    }
    PyObject *handle = al_handle_new(loop, args[1], args + 2, nargs - 2, NULL);
    if (handle == NULL) {
        return NULL;
    }
    al_fdwatch *watch = al_fdwatch_get(loop, fd, fileobj);
    if (watch == NULL || al_loop_fds_set(watch, event, fds_run, handle) < 0) {
        Py_DECREF(handle);
        return NULL;
    }
    return handle;
}

/* Whether there was an entry to remove: 1 or 0, or -1 with an exception
 * set. */
static int
fds_remove(al_loop_head *loop, int fd, int event, PyObject *fileobj)
{
    al_fdwatch *watch;

    if (loop->is_closed) {
        return 0;
    }
    if (fd != AL_FDS_NEGATIVE) {
        watch = al_fdwatch_find(loop, fd);
    }
    else {
        /* The program has closed the file first: fileno() fails now. */
        watch = al_fdwatch_find_object(loop, fileobj);
        if (watch == NULL) {
            fds_set_invalid(fd, fileobj);
            return -1;
        }
    }
    return watch == NULL ? 0 : fds_clear(watch, event);
}

/* --- Python: methods ---------------------------------------------------- */

/* Parse (fd, callback, *args): 0, or -1 with TypeError set. If there are
 * keywords, fd and callback are put into `out`, and *args and *nargs are
 * changed to it. */
static int
fds_parse_add(const al_signature *signature, PyObject *const **args,
              Py_ssize_t *nargs, PyObject *kwnames, PyObject **out)
{
    if (kwnames == NULL && *nargs >= 2) {
        return 0;
    }
    if (al_args_parse(signature, *args, *nargs, kwnames, out) < 0) {
        return -1;
    }
    *args = out;
    *nargs = 2;
    return 0;
}

/* The four methods that add. `is_public`: refuse a transport's descriptor. */
static PyObject *
fds_add_method(const al_signature *signature, PyObject *op, int event,
               bool is_public, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    al_loop_head *loop = al_loop_head_CAST(op);
    PyObject *parsed[2];
    int fd;

    if (fds_parse_add(signature, &args, &nargs, kwnames, parsed) < 0) {
        return NULL;
    }
    if (is_public ? fds_free_fileno(loop, args[0], &fd) < 0
                  : fds_fileno(loop->state, args[0], &fd) < 0)
    {
        return NULL;
    }
    PyObject *handle = fds_add(loop, fd, event, args, nargs);
    if (handle == NULL || !is_public) {
        return handle;
    }
    Py_DECREF(handle);
    Py_RETURN_NONE;
}

/* The four methods that remove. */
static PyObject *
fds_remove_method(const al_signature *signature, PyObject *op, int event,
                  bool is_public, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    al_loop_head *loop = al_loop_head_CAST(op);
    PyObject *fileobj;
    int fd;

    if (al_args_parse(signature, args, nargs, kwnames, &fileobj) < 0) {
        return NULL;
    }
    if (is_public ? fds_free_fileno(loop, fileobj, &fd) < 0
                  : fds_fileno(loop->state, fileobj, &fd) < 0)
    {
        return NULL;
    }
    int rc = fds_remove(loop, fd, event, fileobj);
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

PyDoc_STRVAR(
    Loop_add_reader_doc,
    "add_reader($self, fd, callback, *args)\n--\n\n"
    "Call callback(*args) whenever a descriptor can be read.\n\n"
    "fd: an int or an object with fileno(). A reader it has is replaced.\n"
    "Raises RuntimeError when the loop is closed or a transport uses fd,\n"
    "ValueError for what has no descriptor, OSError for what cannot be\n"
    "polled.");

static PyObject *
Loop_add_reader(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    static const al_signature signature = {"add_reader",
                                           AL_ARGS("fd", "callback"),
                                           .required = 2, .positional = 2};

    return fds_add_method(&signature, op, EV_READ, true, args, nargs, kwnames);
}

PyDoc_STRVAR(
    Loop_add_writer_doc,
    "add_writer($self, fd, callback, *args)\n--\n\n"
    "Call callback(*args) whenever a descriptor can be written.\n\n"
    "fd: an int or an object with fileno(). A writer it has is replaced.\n"
    "Raises as add_reader() does.");

static PyObject *
Loop_add_writer(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    static const al_signature signature = {"add_writer",
                                           AL_ARGS("fd", "callback"),
                                           .required = 2, .positional = 2};

    return fds_add_method(&signature, op, EV_WRITE, true, args, nargs,
                          kwnames);
}

PyDoc_STRVAR(Loop_remove_reader_doc,
             "remove_reader($self, fd)\n--\n\n"
             "Stop calling the reader of a descriptor.\n\n"
             "fd: as for add_reader(). Returns whether it had a reader.\n"
             "Raises RuntimeError when a transport uses fd, ValueError for\n"
             "what has no descriptor.");

static PyObject *
Loop_remove_reader(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    static const al_signature signature = {"remove_reader", AL_ARGS("fd"),
                                           .required = 1, .positional = 1};

    return fds_remove_method(&signature, op, EV_READ, true, args, nargs,
                             kwnames);
}

PyDoc_STRVAR(Loop_remove_writer_doc,
             "remove_writer($self, fd)\n--\n\n"
             "Stop calling the writer of a descriptor.\n\n"
             "fd: as for add_reader(). Returns whether it had a writer.\n"
             "Raises as remove_reader() does.");

static PyObject *
Loop_remove_writer(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                   PyObject *kwnames)
{
    static const al_signature signature = {"remove_writer", AL_ARGS("fd"),
                                           .required = 1, .positional = 1};

    return fds_remove_method(&signature, op, EV_WRITE, true, args, nargs,
                             kwnames);
}

/* The four private methods of asyncio's selector loop. Some libraries use them
 * for a descriptor that a transport has. */

PyDoc_STRVAR(Loop__add_reader_doc,
             "_add_reader($self, fd, callback, *args)\n--\n\n"
             "add_reader() that does not mind transports.\n\n"
             "Returns the Handle.");

static PyObject *
Loop__add_reader(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const al_signature signature = {"_add_reader",
                                           AL_ARGS("fd", "callback"),
                                           .required = 2, .positional = 2};

    return fds_add_method(&signature, op, EV_READ, false, args, nargs,
                          kwnames);
}

PyDoc_STRVAR(Loop__add_writer_doc,
             "_add_writer($self, fd, callback, *args)\n--\n\n"
             "add_writer() that does not mind transports.\n\n"
             "Returns the Handle.");

static PyObject *
Loop__add_writer(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const al_signature signature = {"_add_writer",
                                           AL_ARGS("fd", "callback"),
                                           .required = 2, .positional = 2};

    return fds_add_method(&signature, op, EV_WRITE, false, args, nargs,
                          kwnames);
}

PyDoc_STRVAR(Loop__remove_reader_doc,
             "_remove_reader($self, fd)\n--\n\n"
             "remove_reader() that does not mind transports.");

static PyObject *
Loop__remove_reader(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    static const al_signature signature = {"_remove_reader", AL_ARGS("fd"),
                                           .required = 1, .positional = 1};

    return fds_remove_method(&signature, op, EV_READ, false, args, nargs,
                             kwnames);
}

PyDoc_STRVAR(Loop__remove_writer_doc,
             "_remove_writer($self, fd)\n--\n\n"
             "remove_writer() that does not mind transports.");

static PyObject *
Loop__remove_writer(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames)
{
    static const al_signature signature = {"_remove_writer", AL_ARGS("fd"),
                                           .required = 1, .positional = 1};

    return fds_remove_method(&signature, op, EV_WRITE, false, args, nargs,
                             kwnames);
}

AL_LOCKS_KEYWORDS(Loop_add_reader, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop_add_writer, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop_remove_reader, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop_remove_writer, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop__add_reader, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop__add_writer, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop__remove_reader, al_loop_lock)
AL_LOCKS_KEYWORDS(Loop__remove_writer, al_loop_lock)

PyMethodDef al_loop_fds_methods[] = {
    {"add_reader", AL_KEYWORDS(AL_LOCKED(Loop_add_reader)),
     Loop_add_reader_doc},
    {"add_writer", AL_KEYWORDS(AL_LOCKED(Loop_add_writer)),
     Loop_add_writer_doc},
    {"remove_reader", AL_KEYWORDS(AL_LOCKED(Loop_remove_reader)),
     Loop_remove_reader_doc},
    {"remove_writer", AL_KEYWORDS(AL_LOCKED(Loop_remove_writer)),
     Loop_remove_writer_doc},
    {"_add_reader", AL_KEYWORDS(AL_LOCKED(Loop__add_reader)),
     Loop__add_reader_doc},
    {"_add_writer", AL_KEYWORDS(AL_LOCKED(Loop__add_writer)),
     Loop__add_writer_doc},
    {"_remove_reader", AL_KEYWORDS(AL_LOCKED(Loop__remove_reader)),
     Loop__remove_reader_doc},
    {"_remove_writer", AL_KEYWORDS(AL_LOCKED(Loop__remove_writer)),
     Loop__remove_writer_doc},
    {NULL, NULL, 0, NULL},
};
