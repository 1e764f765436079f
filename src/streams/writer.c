/* writer.c - StreamWriter: what a program writes to a connection with.
 *
 *     write() ---> transport          drain() ---> reader: has it failed?
 *                                          |-----> transport: does it close?
 *                                          `-----> protocol: is it paused?
 *
 * If a connection has no problem, drain() does not wait.  Methods that are not
 * here are asyncio's Python code: start_tls(), write_eof(), repr() ... */
#include "streams/writer.h"

#include "base/args.h"
#include "primitives/field.h"
#include "streams/reader.h"
#include "streams/stock.h"

typedef struct {
    al_primitive head; /* `waiters` is not used */
    PyObject *transport;
    PyObject *protocol;
    PyObject *reader;
    PyObject *complete; /* _complete_fut, made when a program asks for it */
} StreamWriterObject;   /* all are owned, NULL <=> None */

#define StreamWriterObject_CAST(op) ((StreamWriterObject *)(op))

/* Call a method of what a field has. `argument` may be NULL. -> new reference,
 * or NULL. */
static PyObject *
writer_call(PyObject *field, PyObject *name, PyObject *argument)
{
    PyObject *object = Py_NewRef(al_or_none(field));
    PyObject *result = argument == NULL
                           ? PyObject_CallMethodNoArgs(object, name)
                           : PyObject_CallMethodOneArg(object, name, argument);

    Py_DECREF(object);
    return result;
}

/* --- drain() ------------------------------------------------------------------ */

/* What drain() waits for: al_awaitable.place. */
enum { FOR_CLOSING, FOR_PROTOCOL };

/* reader.exception(). -> new reference, or NULL. */
static PyObject *
writer_get_exception(const StreamWriterObject *self)
{
    al_state *state = self->head.state;
    PyObject *reader = self->reader, *exc;

    if (AL_LIKELY(PyObject_TypeCheck(reader, state->StreamReaderType))) {
        int is_plain = al_primitive_is_plain(reader, AL_STREAM_READER);
        if (is_plain < 0) {
            return NULL;
        }
        if (AL_LIKELY(is_plain)) {
            AL_LOCK(reader);
            exc = Py_NewRef(
                al_or_none(StreamReaderObject_CAST(reader)->exception));
            AL_UNLOCK();
            return exc;
        }
    }
    return writer_call(reader, state->names.exception, NULL);
}

/* Raise the exception of the reader, if there is one. 0, or -1. */
static int
drain_check_reader(const StreamWriterObject *self)
{
    if (self->reader == NULL) {
        return 0;
    }
    PyObject *exc = writer_get_exception(self);
    if (AL_UNLIKELY(exc == NULL)) {
        return -1;
    }
    if (AL_UNLIKELY(exc != Py_None)) {
        if (PyExceptionInstance_Check(exc)) {
            PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
        }
        else {
            PyErr_SetString(PyExc_TypeError,
                            "exceptions must derive from BaseException");
        }
    }
    int rc = exc == Py_None ? 0 : -1;
    Py_DECREF(exc);
    return rc;
}

/* Whether an attribute is False: 1, 0; or -1 with an exception set. */
static int
drain_is_false(PyObject *protocol, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(protocol, name);

    if (value == NULL) {
        return -1;
    }
    Py_DECREF(value);
    return value == Py_False;
}

/* Whether protocol._drain_helper() would return at once. 1, 0; or -1 with an
 * exception set. */
static int
drain_is_over(const al_state *state, PyObject *protocol, PyObject *helper)
{
    if (!al_streams_is_stock(state, helper, protocol)) {
        return 0;
    }
    int rc = drain_is_false(protocol, state->names._connection_lost);
    return rc > 0 ? drain_is_false(protocol, state->names._paused) : rc;
}

/* await protocol._drain_helper() */
static al_outcome
drain_protocol(al_awaitable *await, PyObject **result)
{
    const StreamWriterObject *self = StreamWriterObject_CAST(await->owner);
    PyObject *protocol = Py_NewRef(al_or_none(self->protocol));
    al_outcome outcome = AL_RAISES;

    PyObject *helper =
        PyObject_GetAttr(protocol, await->state->names._drain_helper);
    int is_over =
        helper == NULL ? -1 : drain_is_over(await->state, protocol, helper);
    if (AL_LIKELY(is_over > 0)) {
        outcome = al_awaitable_return(Py_None, result);
    }
    else if (is_over == 0) {
        await->place = FOR_PROTOCOL;
        outcome = al_awaitable_wait_stolen(await, PyObject_CallNoArgs(helper));
    }
    Py_XDECREF(helper);
    Py_DECREF(protocol);
    return outcome;
}

/* await sleep(0): so that the loop calls connection_lost(), and a program that
 * writes and drains in a circle gets its error. */
AL_COLD static al_outcome
drain_closing(al_awaitable *await)
{
    const al_state *state = await->state;
    PyObject *sleep;

    if (PyDict_GetItemRef(state->imports.streams_globals, state->names.sleep,
                          &sleep) <= 0)
    {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_NameError, "name 'sleep' is not defined");
        }
        return AL_RAISES;
    }
    await->place = FOR_CLOSING;
    PyObject *sleeping = PyObject_CallFunction(sleep, "i", 0);
    Py_DECREF(sleep);
    return al_awaitable_wait_stolen(await, sleeping);
}

static al_outcome
drain_start(al_awaitable *await, PyObject **result)
{
    const StreamWriterObject *self = StreamWriterObject_CAST(await->owner);

    if (AL_UNLIKELY(drain_check_reader(self) < 0)) {
        return AL_RAISES;
    }
    int is_closing = al_call_is_true(
        writer_call(self->transport, await->state->names.is_closing, NULL));
    if (AL_UNLIKELY(is_closing != 0)) {
        return is_closing < 0 ? AL_RAISES : drain_closing(await);
    }
    return drain_protocol(await, result);
}

static al_outcome
drain_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    if (value == NULL) {
        return AL_RAISES;
    }
    return await->place == FOR_CLOSING ? drain_protocol(await, result)
                                       : al_awaitable_return(Py_None, result);
}

static const al_operation drain_operation = {"StreamWriter.drain", drain_start,
                                             drain_resume};

/* --- wait_closed() -------------------------------------------------------------- */

static al_outcome
wait_closed_start(al_awaitable *await, PyObject **Py_UNUSED(result))
{
    const StreamWriterObject *self = StreamWriterObject_CAST(await->owner);

    return al_awaitable_wait_stolen(
        await,
        writer_call(self->protocol, await->state->names._get_close_waiter,
                    await->owner));
}

static const al_operation wait_closed_operation = {
    "StreamWriter.wait_closed", wait_closed_start, al_awaitable_end_with_none};

/* --- Python: methods -------------------------------------------------------------- */

/* Call a method of the transport, or asyncio's method, which has the same
 * name, if one is overridden. `argument` may be NULL. -> new reference, or
 * NULL. */
static PyObject *
writer_forward(PyObject *op, const char *text, PyObject *name,
               PyObject *argument)
{
    int is_plain = al_primitive_is_plain(op, AL_STREAM_WRITER);

    if (AL_UNLIKELY(is_plain <= 0)) {
        return is_plain < 0
                   ? NULL
                   : al_primitive_call_stock(op, AL_STREAM_WRITER, text,
                                             &argument, argument != NULL);
    }
    return writer_call(StreamWriterObject_CAST(op)->transport, name, argument);
}

/* The names, or NULL with RuntimeError set. */
#define NAME(op, name)                                                        \
    (al_primitive_state(op) == NULL                                           \
         ? NULL                                                               \
         : al_primitive_CAST(op)->state->names.name)

PyDoc_STRVAR(StreamWriter_write_doc,
             "write($self, data, /)\n--\n\n"
             "Write bytes to the transport, which does not wait: drain()\n"
             "does.");

static PyObject *
StreamWriter_write(PyObject *op, PyObject *data)
{
    PyObject *name = NAME(op, write);

    return name == NULL ? NULL
                        : al_call_none(al_call_finish(
                              writer_forward(op, "write", name, data)));
}

PyDoc_STRVAR(StreamWriter_writelines_doc,
             "writelines($self, data, /)\n--\n\n"
             "Write bytes objects of an iterable to the transport.");

static PyObject *
StreamWriter_writelines(PyObject *op, PyObject *data)
{
    PyObject *name = NAME(op, writelines);

    return name == NULL ? NULL
                        : al_call_none(al_call_finish(
                              writer_forward(op, "writelines", name, data)));
}

PyDoc_STRVAR(StreamWriter_close_doc,
             "close($self, /)\n--\n\n"
             "Close the connection, once all is sent that was written.");

static PyObject *
StreamWriter_close(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *name = NAME(op, close);

    return name == NULL ? NULL : writer_forward(op, "close", name, NULL);
}

PyDoc_STRVAR(StreamWriter_is_closing_doc,
             "is_closing($self, /)\n--\n\n"
             "Return whether the connection is closed or is being closed.");

static PyObject *
StreamWriter_is_closing(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    PyObject *name = NAME(op, is_closing);

    return name == NULL ? NULL : writer_forward(op, "is_closing", name, NULL);
}

PyDoc_STRVAR(StreamWriter_drain_doc,
             "drain($self, /)\n--\n\n"
             "Wait while too much is waiting to be sent; to be awaited.\n\n"
             "Raises the exception that has ended the connection, or\n"
             "ConnectionResetError if it is closed.");

static PyObject *
StreamWriter_drain(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_await(op, AL_STREAM_WRITER, &drain_operation, "drain",
                              NULL);
}

PyDoc_STRVAR(StreamWriter_wait_closed_doc,
             "wait_closed($self, /)\n--\n\n"
             "Wait until the connection is closed; to be awaited.\n\n"
             "Raises the exception that has ended the connection.");

static PyObject *
StreamWriter_wait_closed(PyObject *op, PyObject *Py_UNUSED(ignored))
{
    return al_primitive_await(op, AL_STREAM_WRITER, &wait_closed_operation,
                              "wait_closed", NULL);
}

/* --- Python: attributes -------------------------------------------------------------- */

/* A future that is done, as asyncio makes one for each writer. -> new reference,
 * or NULL. */
static PyObject *
writer_make_complete(al_state *state, PyObject *loop)
{
    PyObject *future =
        PyObject_CallMethodNoArgs(loop, state->names.create_future);

    if (future != NULL && al_waiter_set_result(state, future, Py_None) < 0) {
        Py_CLEAR(future);
    }
    return future;
}

static PyObject *
StreamWriter_get_complete(PyObject *op, void *Py_UNUSED(closure))
{
    StreamWriterObject *self = StreamWriterObject_CAST(op);
    al_state *state = al_primitive_state(op);
    PyObject *future;

    if (state == NULL) {
        return NULL;
    }
    AL_LOCK(op);
    if (self->complete == NULL) {
        PyObject *loop = Py_NewRef(al_or_none(self->head.loop));
        future = writer_make_complete(state, loop);
        Py_DECREF(loop);
        Py_XSETREF(self->complete, future);
    }
    future = Py_XNewRef(self->complete);
    AL_UNLOCK();
    return future;
}

static int
StreamWriter_set_complete(PyObject *op, PyObject *value,
                          void *Py_UNUSED(closure))
{
    return al_primitive_store(op, &StreamWriterObject_CAST(op)->complete,
                              value, "_complete_fut");
}

/* --- Python: lifetime ----------------------------------------------------------------- */

/* Whether it is a reader, or None: 1, 0; or -1 with an exception set. */
static int
writer_may_have(const al_state *state, PyObject *reader)
{
    if (reader == Py_None ||
        PyObject_TypeCheck(reader, state->StreamReaderType))
    {
        return 1;
    }
    PyObject *stock = al_primitive_stock(state, AL_STREAM_READER);
    int rc = stock == NULL ? -1 : PyObject_IsInstance(reader, stock);
    Py_XDECREF(stock);
    return rc;
}

static int
StreamWriter_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static const al_signature signature = {
        "StreamWriter", AL_ARGS("transport", "protocol", "reader", "loop"), 4,
        4, 0};
    StreamWriterObject *self = StreamWriterObject_CAST(op);
    PyObject *given[4];

    al_state *state = al_primitive_state(op);
    if (state == NULL ||
        al_args_parse_tuple(&signature, args, kwargs, given) < 0)
    {
        return -1;
    }
    int is_usual = writer_may_have(state, given[2]);
    if (is_usual < 0) {
        return -1;
    }
    if (!is_usual) {
        return al_call_finish(al_primitive_call_stock(op, AL_STREAM_WRITER,
                                                      "__init__", given, 4));
    }
    Py_XSETREF(self->transport, Py_NewRef(given[0]));
    Py_XSETREF(self->protocol, Py_NewRef(given[1]));
    Py_XSETREF(self->reader, given[2] == Py_None ? NULL : Py_NewRef(given[2]));
    Py_XSETREF(self->head.loop, Py_NewRef(given[3]));
    Py_CLEAR(self->complete);
    return 0;
}

static int
StreamWriter_traverse(PyObject *op, visitproc visit, void *arg)
{
    StreamWriterObject *self = StreamWriterObject_CAST(op);

    Py_VISIT(self->transport);
    Py_VISIT(self->protocol);
    Py_VISIT(self->reader);
    Py_VISIT(self->complete);
    return al_primitive_traverse(op, visit, arg);
}

static int
StreamWriter_clear(PyObject *op)
{
    StreamWriterObject *self = StreamWriterObject_CAST(op);

    Py_CLEAR(self->transport);
    Py_CLEAR(self->protocol);
    Py_CLEAR(self->reader);
    Py_CLEAR(self->complete);
    return al_primitive_clear(op);
}

/* --- type ------------------------------------------------------------------------------ */

AL_LOCKS(StreamWriter_write, al_primitive_lock)
AL_LOCKS(StreamWriter_writelines, al_primitive_lock)
AL_LOCKS(StreamWriter_close, al_primitive_lock)
AL_LOCKS(StreamWriter_is_closing, al_primitive_lock)
AL_LOCKS(StreamWriter_drain, al_primitive_lock)
AL_LOCKS(StreamWriter_wait_closed, al_primitive_lock)

static PyMethodDef StreamWriter_methods[] = {
    {"write", AL_LOCKED(StreamWriter_write), METH_O, StreamWriter_write_doc},
    {"writelines", AL_LOCKED(StreamWriter_writelines), METH_O,
     StreamWriter_writelines_doc},
    {"close", AL_LOCKED(StreamWriter_close), METH_NOARGS,
     StreamWriter_close_doc},
    {"is_closing", AL_LOCKED(StreamWriter_is_closing), METH_NOARGS,
     StreamWriter_is_closing_doc},
    {"drain", AL_LOCKED(StreamWriter_drain), METH_NOARGS,
     StreamWriter_drain_doc},
    {"wait_closed", AL_LOCKED(StreamWriter_wait_closed), METH_NOARGS,
     StreamWriter_wait_closed_doc},
    {NULL, NULL, 0, NULL}};

static const al_field writer_transport = {
    offsetof(StreamWriterObject, transport), "_transport"};
static const al_field writer_protocol = {
    offsetof(StreamWriterObject, protocol), "_protocol"};
static const al_field writer_reader = {offsetof(StreamWriterObject, reader),
                                       "_reader"};

static PyGetSetDef StreamWriter_getset[] = {
    {"_loop", al_primitive_get_bound_loop, al_primitive_set_bound_loop, NULL,
     NULL},
    {"transport", al_field_get, NULL, "The transport of the connection.",
     (void *)&writer_transport},
    {"_complete_fut", StreamWriter_get_complete, StreamWriter_set_complete,
     NULL, NULL},
    AL_FIELD("_transport", writer_transport),
    AL_FIELD("_protocol", writer_protocol),
    AL_FIELD("_reader", writer_reader),
    {NULL, NULL, NULL, NULL, NULL}};

PyDoc_STRVAR(StreamWriter_doc,
             "StreamWriter(transport, protocol, reader, loop)\n--\n\n"
             "What a program writes to a connection with: "
             "asyncio.StreamWriter, whose hot methods are C.");

static PyType_Slot StreamWriter_slots[] = {
    {Py_tp_doc, (void *)StreamWriter_doc},
    {Py_tp_init, StreamWriter_init},
    {Py_tp_dealloc, al_primitive_dealloc},
    {Py_tp_traverse, StreamWriter_traverse},
    {Py_tp_clear, StreamWriter_clear},
    {Py_tp_setattro, al_primitive_setattro},
    {Py_tp_methods, StreamWriter_methods},
    {Py_tp_getset, StreamWriter_getset},
    {0, NULL}};

static PyType_Spec StreamWriter_spec = {
    .name = "asyncloop._core.StreamWriter",
    .basicsize = sizeof(StreamWriterObject),
    .flags = AL_PRIMITIVE_FLAGS,
    .slots = StreamWriter_slots,
};

int
al_writer_init_type(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->StreamWriterType =
        al_state_add_type(module, &StreamWriter_spec, NULL);
    return state->StreamWriterType == NULL ? -1 : 0;
}
