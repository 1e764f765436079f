/* reader_type.c - StreamReader, as Python sees it.
 *
 * Methods that are not here, and what these leave to them, are asyncio's
 * Python code: repr(), set_exception(), set_transport() ... */
#include "streams/reader_type.h"

#include "base/args.h"
#include "sched/loop_head.h"
#include "primitives/field.h"
#include "streams/read.h"
#include "streams/reader.h"

/* --- reading ------------------------------------------------------------------- */

/* The awaitable of an operation. `argument` may be NULL. If it is not what the
 * operation takes, it is asyncio's coroutine. -> new reference, or NULL. */
static PyObject *
reader_await(PyObject *op, const al_operation *operation, const char *name,
             PyObject *argument, bool is_usual)
{
    if (AL_UNLIKELY(!is_usual)) {
        return al_primitive_state(op) == NULL
                   ? NULL
                   : al_primitive_call_stock(op, AL_STREAM_READER, name,
                                             &argument, argument != NULL);
    }
    return al_primitive_await(op, AL_STREAM_READER, operation, name, argument);
}

PyDoc_STRVAR(StreamReader_read_doc,
             "read($self, /, n=-1)\n--\n\n"
             "Read up to n bytes, at least one; to be awaited.\n\n"
             "n: how many bytes; -1 means all up to the end of the stream.\n\n"
             "Returns bytes, none at the end of the stream.");

static PyObject *
StreamReader_read(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    static const al_signature signature = {"read", AL_ARGS("n"), 0, 1, 0};
    PyObject *size = NULL;

    if (AL_LIKELY(nargs == 1 && kwnames == NULL)) {
        size = args[0];
    }
    else if (al_args_parse(&signature, args, nargs, kwnames, &size) < 0) {
        return NULL;
    }
    if (size != NULL) {
        return reader_await(op, &al_read_operation, "read", size,
                            PyLong_CheckExact(size));
    }
    size = PyLong_FromLong(-1);
    if (size == NULL) {
        return NULL;
    }
    PyObject *await = reader_await(op, &al_read_operation, "read", size, true);
    Py_DECREF(size);
    return await;
}

PyDoc_STRVAR(
    StreamReader_readexactly_doc,
    "readexactly($self, /, n)\n--\n\n"
    "Read exactly n bytes; to be awaited.\n\n"
    "n: how many bytes.\n\n"
    "Returns bytes. Raises asyncio.IncompleteReadError if the stream ends\n"
    "before; its partial has the bytes up to there. Raises ValueError if n\n"
    "is negative.");

static PyObject *
StreamReader_readexactly(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    static const al_signature signature = {"readexactly", AL_ARGS("n"), 1, 1,
                                           0};
    PyObject *size = al_args_one(&signature, args, nargs, kwnames);

    if (size == NULL) {
        return NULL;
    }
    int overflow;
    bool is_usual = PyLong_CheckExact(size) &&
                    PyLong_AsLongAndOverflow(size, &overflow) >= 0 &&
                    overflow == 0;
    return reader_await(op, &al_readexactly_operation, "readexactly", size,
                        is_usual);
}

PyDoc_STRVAR(
    StreamReader_readuntil_doc,
    "readuntil($self, /, separator=b'\\n')\n--\n\n"
    "Read up to a separator and the separator itself; to be awaited.\n\n"
    "separator: bytes, from Python 3.13 on also a tuple of them.\n\n"
    "Returns bytes. Raises asyncio.IncompleteReadError if the stream ends\n"
    "before, asyncio.LimitOverrunError if more bytes than the limit come\n"
    "before the separator: then they stay in the buffer.");

static PyObject *
StreamReader_readuntil(PyObject *op, PyObject *const *args, Py_ssize_t nargs,
                       PyObject *kwnames)
{
    static const al_signature signature = {"readuntil", AL_ARGS("separator"),
                                           0, 1, 0};
    PyObject *separator = NULL;

    if (al_args_parse(&signature, args, nargs, kwnames, &separator) < 0) {
        return NULL;
    }
    if (separator == NULL) {
        al_state *state = al_primitive_state(op);
        if (state == NULL) {
            return NULL;
        }
        separator = state->newline;
    }
    return reader_await(op, &al_readuntil_operation, "readuntil", separator,
                        PyBytes_CheckExact(separator) &&
                            PyBytes_GET_SIZE(separator) > 0);
}

PyDoc_STRVAR(
    StreamReader_readline_doc,
    "readline($self, /)\n--\n\n"
    "Read a line with its b'\\n'; to be awaited.\n\n"
    "Returns bytes, what is left if the stream ends without b'\\n'. Raises\n"
    "ValueError if the line is longer than the limit, and drops it.");

static PyObject *
StreamReader_readline(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return reader_await(op, &al_readline_operation, "readline", NULL, true);
}

static PyObject *
StreamReader_anext(PyObject *op)
{
    PyObject *await;

    AL_LOCK(op);
    await = reader_await(op, &al_anext_operation, "__anext__", NULL, true);
    AL_UNLOCK();
    return await;
}

PyDoc_STRVAR(StreamReader_at_eof_doc,
             "at_eof($self, /)\n--\n\n"
             "Return whether the stream has ended and all was read.");

static PyObject *
StreamReader_at_eof(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    StreamReaderObject *self = StreamReaderObject_CAST(op);

    if (!self->eof) {
        Py_RETURN_FALSE;
    }
    if (self->buffer == NULL) {
        return PyBool_FromLong(self->bytes.chunk == NULL);
    }
    int is_empty = PyObject_Not(self->buffer);
    return is_empty < 0 ? NULL : PyBool_FromLong(is_empty);
}

/* --- feeding ------------------------------------------------------------------- */

/* Call asyncio's method. */
static PyObject *
reader_call_stock(PyObject *op, const char *name, PyObject *argument)
{
    return reader_await(op, NULL, name, argument, false);
}

PyDoc_STRVAR(StreamReader_feed_data_doc,
             "feed_data($self, data, /)\n--\n\n"
             "Add bytes to the buffer, and wake the task that waits for "
             "them.");

static PyObject *
StreamReader_feed_data(PyObject *op, PyObject *data)
{
    StreamReaderObject *self = StreamReaderObject_CAST(op);
    int is_usual = al_reader_is_usual(self);

    if (is_usual < 0) {
        return NULL;
    }
    if (AL_LIKELY(is_usual && !self->eof)) {
        if (AL_LIKELY(PyBytes_CheckExact(data))) {
            return al_call_none(al_reader_feed(self, data));
        }
        if (PyByteArray_CheckExact(data) && PyByteArray_GET_SIZE(data) > 0) {
            return al_call_none(
                al_reader_feed_copy(self, PyByteArray_AS_STRING(data),
                                    PyByteArray_GET_SIZE(data)));
        }
    }
    return reader_call_stock(op, "feed_data", data);
}

PyDoc_STRVAR(StreamReader_feed_eof_doc,
             "feed_eof($self, /)\n--\n\n"
             "End the stream, and wake the task that waits for data.");

static PyObject *
StreamReader_feed_eof(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    StreamReaderObject *self = StreamReaderObject_CAST(op);
    int is_usual = al_reader_is_usual(self);

    if (is_usual <= 0) {
        return is_usual < 0 ? NULL : reader_call_stock(op, "feed_eof", NULL);
    }
    self->eof = true;
    return al_call_none(al_reader_wake(self));
}

PyDoc_STRVAR(StreamReader_wakeup_waiter_doc,
             "_wakeup_waiter($self, /)\n--\n\n"
             "Wake the task that waits for data: asyncio's code calls it.");

static PyObject *
StreamReader_wakeup_waiter(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_state(op) == NULL
               ? NULL
               : al_call_none(al_reader_wake(StreamReaderObject_CAST(op)));
}

PyDoc_STRVAR(StreamReader_exception_doc,
             "exception($self, /)\n--\n\n"
             "Return the exception that has ended the stream, or None.");

static PyObject *
StreamReader_exception(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(al_or_none(StreamReaderObject_CAST(op)->exception));
}

/* --- attributes ------------------------------------------------------------------ */

static PyObject *
StreamReader_get_buffer(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *buffer;

    AL_LOCK(op);
    buffer = al_reader_get_buffer(StreamReaderObject_CAST(op));
    AL_UNLOCK();
    return buffer;
}

static int
StreamReader_set_buffer(PyObject *op, PyObject *value,
                        void *Py_UNUSED(closure))
{
    StreamReaderObject *self = StreamReaderObject_CAST(op);
    PyObject *old;

    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError,
                        "cannot delete attribute '_buffer'");
        return -1;
    }
    AL_LOCK(op);
    old = self->buffer;
    self->buffer = Py_NewRef(value);
    al_stream_buffer_clear(&self->bytes);
    AL_UNLOCK();
    Py_XDECREF(old);
    return 0;
}

static PyObject *
StreamReader_get_limit(PyObject *op, void *Py_UNUSED(closure))
{
    PyObject *limit;

    AL_LOCK(op);
    limit = Py_NewRef(al_or_none(StreamReaderObject_CAST(op)->limit));
    AL_UNLOCK();
    return limit;
}

/* The limit as a number: -1 if it is none, or negative. */
static Py_ssize_t
reader_limit_size(PyObject *limit)
{
    int overflow = 0;
    long long size = PyLong_CheckExact(limit)
                         ? PyLong_AsLongLongAndOverflow(limit, &overflow)
                         : -1;

    if (overflow > 0 || size > PY_SSIZE_T_MAX) {
        return PY_SSIZE_T_MAX;
    }
    return size < 0 ? -1 : (Py_ssize_t)size;
}

static int
StreamReader_set_limit(PyObject *op, PyObject *value, void *Py_UNUSED(closure))
{
    StreamReaderObject *self = StreamReaderObject_CAST(op);

    if (al_primitive_store(op, &self->limit, value, "_limit") < 0) {
        return -1;
    }
    self->limit_size = reader_limit_size(value);
    return 0;
}

/* --- lifetime ------------------------------------------------------------------ */

/* Whether asyncio's __init__() would only set attributes. */
static bool
reader_may_init(PyObject *const *args)
{
    const al_loop_head *loop;

    if (args[1] == NULL || args[1] == Py_None || !al_loop_is_ours(args[1])) {
        return false;
    }
    loop = al_loop_head_CAST(args[1]);
    return !loop->is_debug && !(loop->overrides & AL_OVERRIDES_GET_DEBUG) &&
           (args[0] == NULL ||
            (PyLong_CheckExact(args[0]) && reader_limit_size(args[0]) > 0));
}

static int
StreamReader_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {"StreamReader",
                                           AL_ARGS("limit", "loop"), 0, 2, 0};
    StreamReaderObject *self = StreamReaderObject_CAST(op);
    PyObject *given[2];

    al_state *state = al_primitive_state(op);
    if (state == NULL ||
        al_args_parse_tuple(&signature, args, kwargs, given) < 0)
    {
        return -1;
    }
    if (given[0] == NULL) {
        given[0] = state->default_limit;
    }
    if (!reader_may_init(given)) {
        PyObject *stack[] = {given[0], al_or_none(given[1])};
        return al_call_finish(al_primitive_call_stock(op, AL_STREAM_READER,
                                                      "__init__", stack, 2));
    }
    self->limit_size = reader_limit_size(given[0]);
    Py_XSETREF(self->limit, Py_NewRef(given[0]));
    Py_XSETREF(self->head.loop, Py_NewRef(given[1]));
    al_stream_buffer_clear(&self->bytes);
    Py_CLEAR(self->buffer);
    Py_CLEAR(self->head.waiters);
    Py_CLEAR(self->exception);
    Py_CLEAR(self->transport);
    self->eof = self->is_paused = false;
    return 0;
}

static int
StreamReader_traverse(PyObject *op, visitproc visit, void *arg)
{
    StreamReaderObject *self = StreamReaderObject_CAST(op);

    Py_VISIT(self->buffer);
    Py_VISIT(self->exception);
    Py_VISIT(self->transport);
    Py_VISIT(self->limit);
    Py_VISIT(self->source_traceback);
    return al_primitive_traverse(op, visit, arg);
}

static int
StreamReader_clear(PyObject *op)
{
    StreamReaderObject *self = StreamReaderObject_CAST(op);

    al_stream_buffer_clear(&self->bytes);
    self->limit_size = -1;
    Py_CLEAR(self->buffer);
    Py_CLEAR(self->exception);
    Py_CLEAR(self->transport);
    Py_CLEAR(self->limit);
    Py_CLEAR(self->source_traceback);
    return al_primitive_clear(op);
}

/* --- type ------------------------------------------------------------------------ */

AL_LOCKS_KEYWORDS(StreamReader_read, al_primitive_lock)
AL_LOCKS_KEYWORDS(StreamReader_readexactly, al_primitive_lock)
AL_LOCKS_KEYWORDS(StreamReader_readuntil, al_primitive_lock)
AL_LOCKS(StreamReader_readline, al_primitive_lock)
AL_LOCKS(StreamReader_at_eof, al_primitive_lock)
AL_LOCKS(StreamReader_feed_data, al_primitive_lock)
AL_LOCKS(StreamReader_feed_eof, al_primitive_lock)
AL_LOCKS(StreamReader_wakeup_waiter, al_primitive_lock)
AL_LOCKS(StreamReader_exception, al_primitive_lock)

static PyMethodDef StreamReader_methods[] = {
    {"read", AL_KEYWORDS(AL_LOCKED(StreamReader_read)), StreamReader_read_doc},
    {"readexactly", AL_KEYWORDS(AL_LOCKED(StreamReader_readexactly)),
     StreamReader_readexactly_doc},
    {"readuntil", AL_KEYWORDS(AL_LOCKED(StreamReader_readuntil)),
     StreamReader_readuntil_doc},
    {"readline", AL_LOCKED(StreamReader_readline), METH_NOARGS,
     StreamReader_readline_doc},
    {"at_eof", AL_LOCKED(StreamReader_at_eof), METH_NOARGS,
     StreamReader_at_eof_doc},
    {"feed_data", AL_LOCKED(StreamReader_feed_data), METH_O,
     StreamReader_feed_data_doc},
    {"feed_eof", AL_LOCKED(StreamReader_feed_eof), METH_NOARGS,
     StreamReader_feed_eof_doc},
    {"_wakeup_waiter", AL_LOCKED(StreamReader_wakeup_waiter), METH_NOARGS,
     StreamReader_wakeup_waiter_doc},
    {"exception", AL_LOCKED(StreamReader_exception), METH_NOARGS,
     StreamReader_exception_doc},
    {NULL, NULL, 0, NULL}};

static const al_field reader_exception = {
    offsetof(StreamReaderObject, exception), "_exception"};
static const al_field reader_transport = {
    offsetof(StreamReaderObject, transport), "_transport"};
static const al_field reader_source_traceback = {
    offsetof(StreamReaderObject, source_traceback), "_source_traceback"};
static const al_field reader_waiter = {
    offsetof(StreamReaderObject, head.waiters), "_waiter"};
static const al_field reader_eof = {offsetof(StreamReaderObject, eof), "_eof"};
static const al_field reader_paused = {offsetof(StreamReaderObject, is_paused),
                                       "_paused"};

static PyGetSetDef StreamReader_getset[] = {
    {"_loop", al_primitive_get_bound_loop, al_primitive_set_bound_loop, NULL,
     NULL},
    {"_buffer", StreamReader_get_buffer, StreamReader_set_buffer, NULL, NULL},
    {"_limit", StreamReader_get_limit, StreamReader_set_limit, NULL, NULL},
    AL_FIELD("_exception", reader_exception),
    AL_FIELD("_transport", reader_transport),
    AL_FIELD("_source_traceback", reader_source_traceback),
    AL_FIELD("_waiter", reader_waiter),
    AL_FIELD_BOOL("_eof", reader_eof),
    AL_FIELD_BOOL("_paused", reader_paused),
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(StreamReader_doc,
             "StreamReader(limit=65536, loop=None)\n--\n\n"
             "The bytes of a connection: asyncio.StreamReader, whose hot "
             "methods are C.");

static PyType_Slot StreamReader_slots[] = {
    {Py_tp_doc, (void *)StreamReader_doc},
    {Py_tp_init, StreamReader_init},
    {Py_tp_dealloc, al_primitive_dealloc},
    {Py_tp_traverse, StreamReader_traverse},
    {Py_tp_clear, StreamReader_clear},
    {Py_tp_setattro, al_primitive_setattro},
    {Py_tp_methods, StreamReader_methods},
    {Py_tp_getset, StreamReader_getset},
    {Py_am_aiter, PyObject_SelfIter},
    {Py_am_anext, StreamReader_anext},
    {0, NULL}};

static PyType_Spec StreamReader_spec = {
    .name = "asyncloop._core.StreamReader",
    .basicsize = sizeof(StreamReaderObject),
    .flags = AL_PRIMITIVE_FLAGS,
    .slots = StreamReader_slots,
};

int
al_reader_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->newline = PyBytes_FromString("\n");
    state->default_limit = PyLong_FromLong(0x10000); /* asyncio's */
    if (state->newline == NULL || state->default_limit == NULL) {
        return -1;
    }
    state->StreamReaderType =
        al_state_add_type(module, &StreamReader_spec, NULL);
    return state->StreamReaderType == NULL ? -1 : 0;
}
