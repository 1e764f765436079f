/* read.c - the operations of a StreamReader that wait for data.
 *
 *     start ---> enough is there? ---> take it ---> let the transport go on
 *       ^               | no
 *       +---- resume ---+--- wait for the future in _waiter
 *
 * If the reader is unusual, when the operation begins or after a wait, then
 * asyncio's own coroutine does the rest: it finds all in the reader.
 *
 * Invariant
 *   (1) Bytes are taken out of the buffer in the part of the operation that
 *       returns them. So a cancelled operation loses none. */
#include "streams/read.h"

#include <string.h>

#include "base/call.h"
#include "streams/reader.h"
#include "task/future.h"

/* What an operation waits for: al_awaitable.place. */
enum { FOR_DATA, FOR_STOCK, FOR_BLOCK };

/* The parts of an operation: take what is there, or wait. */
typedef al_outcome (*read_body)(al_awaitable *await, PyObject **result);

static inline StreamReaderObject *
read_reader(const al_awaitable *await)
{
    return StreamReaderObject_CAST(await->owner);
}

/* --- waiting ------------------------------------------------------------------ */

/* loop.create_future(). -> new reference, or NULL. */
static PyObject *
read_make_future(const StreamReaderObject *self)
{
    PyObject *loop = Py_NewRef(al_or_none(self->head.loop));
    PyObject *future = AL_LIKELY(al_loop_is_ours(loop))
                           ? al_future_new(al_loop_head_CAST(loop))
                           : PyObject_CallMethodNoArgs(
                                 loop, self->head.state->names.create_future);

    Py_DECREF(loop);
    return future;
}

/* Wait for data. `caller` is the method that is named if another one waits. */
static al_outcome
read_wait(al_awaitable *await, const char *caller)
{
    StreamReaderObject *self = read_reader(await);

    if (AL_UNLIKELY(self->head.waiters != NULL)) {
        PyErr_Format(PyExc_RuntimeError,
                     "%s() called while another coroutine is already waiting "
                     "for incoming data",
                     caller);
        return AL_RAISES;
    }
    /* The transport must not stay paused, however much is needed. */
    if (AL_UNLIKELY(self->is_paused) && al_reader_resume(self) < 0) {
        return AL_RAISES;
    }
    PyObject *future = read_make_future(self);
    if (future == NULL) {
        return AL_RAISES;
    }
    await->place = FOR_DATA;
    al_outcome outcome = al_awaitable_wait(await, future);
    if (AL_LIKELY(outcome == AL_AWAITS)) {
        Py_XSETREF(self->head.waiters, future);
    }
    else {
        Py_DECREF(future);
    }
    return outcome;
}

/* Wait for asyncio's coroutine, which does what is left to do. */
AL_COLD static al_outcome
read_defer(al_awaitable *await)
{
    PyObject *coroutine =
        al_primitive_call_stock(await->owner, AL_STREAM_READER,
                                strrchr(await->operation->qualname, '.') + 1,
                                &await->argument, await->argument != NULL);

    await->place = FOR_STOCK;
    return al_awaitable_wait_stolen(await, coroutine);
}

/* Begin an operation. */
static inline al_outcome
read_start(al_awaitable *await, PyObject **result, read_body body)
{
    StreamReaderObject *self = read_reader(await);
    int is_usual = al_reader_is_usual(self);

    if (AL_UNLIKELY(is_usual < 0)) {
        return AL_RAISES;
    }
    return AL_LIKELY(is_usual && self->exception == NULL) ? body(await, result)
                                                          : read_defer(await);
}

/* Go on after a wait. */
static inline al_outcome
read_resume(al_awaitable *await, PyObject *value, PyObject **result,
            read_body body)
{
    StreamReaderObject *self = read_reader(await);

    if (AL_UNLIKELY(await->place == FOR_STOCK)) {
        return value == NULL ? AL_RAISES : al_awaitable_return(value, result);
    }
    Py_CLEAR(self->head.waiters);
    if (AL_UNLIKELY(value == NULL)) {
        return AL_RAISES;
    }
    int is_usual = al_reader_is_usual(self);
    if (AL_UNLIKELY(is_usual <= 0)) {
        return is_usual < 0 ? AL_RAISES : read_defer(await);
    }
    return body(await, result);
}

/* --- taking ------------------------------------------------------------------- */

static inline al_outcome
read_take(StreamReaderObject *self, Py_ssize_t size, PyObject **result)
{
    *result = al_stream_buffer_take(&self->bytes, size);
    if (*result == NULL) {
        return AL_RAISES;
    }
    if (AL_UNLIKELY(al_reader_maybe_resume(self) < 0)) {
        Py_CLEAR(*result);
        return AL_RAISES;
    }
    return AL_RETURNS;
}

/* An int as a number of bytes; those that are too large are as the largest. */
static Py_ssize_t
read_size(const al_awaitable *await)
{
    int overflow;
    long long size = PyLong_AsLongLongAndOverflow(await->argument, &overflow);

    return overflow > 0 || size > PY_SSIZE_T_MAX ? PY_SSIZE_T_MAX
           : overflow < 0                        ? -1
                                                 : (Py_ssize_t)size;
}

/* Raise IncompleteReadError with all that there is. */
static al_outcome
read_incomplete(StreamReaderObject *self, PyObject *expected)
{
    PyObject *partial = al_stream_buffer_take(&self->bytes, PY_SSIZE_T_MAX);

    if (partial != NULL) {
        PyObject *type = self->head.state->imports.IncompleteReadError;
        PyObject *exc =
            PyObject_CallFunctionObjArgs(type, partial, expected, NULL);
        Py_DECREF(partial);
        if (exc != NULL) {
            PyErr_SetObject(type, exc);
            Py_DECREF(exc);
        }
    }
    return AL_RAISES;
}

/* --- read() -------------------------------------------------------------------- */

/* Up to `size` bytes after a wait, or if there are some: perhaps none. */
static al_outcome
read_some(al_awaitable *await, PyObject **result)
{
    return read_take(read_reader(await), read_size(await), result);
}

/* The concatenation of the blocks. */
static al_outcome
read_join(al_awaitable *await, PyObject **result)
{
    PyObject *empty = PyBytes_FromStringAndSize(NULL, 0);

    if (empty == NULL || await->saved == NULL) {
        *result = empty;
    }
    else if (PyList_GET_SIZE(await->saved) == 1) {
        *result = Py_NewRef(PyList_GET_ITEM(await->saved, 0));
        Py_DECREF(empty);
    }
    else {
        *result = PyObject_CallMethod(empty, "join", "O", await->saved);
        Py_DECREF(empty);
    }
    return *result == NULL ? AL_RAISES : AL_RETURNS;
}

/* Keep a block (stolen, may be NULL). 1; 0 if it is empty, which is the end; -1
 * with an exception set. */
static int
read_keep(al_awaitable *await, PyObject *block)
{
    int rc = block == NULL ? -1 : PyObject_IsTrue(block);

    if (rc > 0 && await->saved == NULL) {
        await->saved = PyList_New(0);
        rc = await->saved == NULL ? -1 : 1;
    }
    if (rc > 0 && PyList_Append(await->saved, block) < 0) {
        rc = -1;
    }
    Py_XDECREF(block);
    return rc;
}

/* Wait for asyncio's read() of one block. */
AL_COLD static al_outcome
read_defer_block(al_awaitable *await)
{
    StreamReaderObject *self = read_reader(await);
    PyObject *limit = Py_NewRef(al_or_none(self->limit));
    PyObject *coroutine = al_primitive_call_stock(
        await->owner, AL_STREAM_READER, "read", &limit, 1);

    Py_DECREF(limit);
    await->place = FOR_BLOCK;
    return al_awaitable_wait_stolen(await, coroutine);
}

/* Read blocks until there is an empty one, as asyncio does. */
static al_outcome
read_blocks(al_awaitable *await, PyObject **result)
{
    StreamReaderObject *self = read_reader(await);
    PyObject *block;
    int rc;

    do {
        rc = al_reader_is_usual(self);
        if (AL_UNLIKELY(rc <= 0 || self->exception != NULL)) {
            return rc < 0 ? AL_RAISES : read_defer_block(await);
        }
        if (self->bytes.chunk == NULL && !self->eof) {
            return read_wait(await, "read");
        }
        rc = read_take(self, self->limit_size, &block) == AL_RETURNS
                 ? read_keep(await, block)
                 : -1;
    } while (rc > 0);
    return rc < 0 ? AL_RAISES : read_join(await, result);
}

/* A wait is over: the block is what is there, even if it is empty. */
static al_outcome
read_blocks_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    StreamReaderObject *self = read_reader(await);
    PyObject *block = NULL;

    if (await->place == FOR_DATA) {
        Py_CLEAR(self->head.waiters);
    }
    if (value == NULL) {
        return AL_RAISES;
    }
    if (await->place == FOR_BLOCK) {
        block = Py_NewRef(value);
    }
    else {
        int is_usual = al_reader_is_usual(self);
        if (is_usual <= 0) {
            return is_usual < 0 ? AL_RAISES : read_defer_block(await);
        }
        if (read_take(self, self->limit_size, &block) != AL_RETURNS) {
            return AL_RAISES;
        }
    }
    int rc = read_keep(await, block);
    if (rc <= 0) {
        return rc < 0 ? AL_RAISES : read_join(await, result);
    }
    return read_blocks(await, result);
}

static al_outcome
read_begin(al_awaitable *await, PyObject **result)
{
    StreamReaderObject *self = read_reader(await);
    Py_ssize_t size = read_size(await);

    if (size < 0) {
        return read_blocks(await, result);
    }
    if (size == 0) {
        *result = PyBytes_FromStringAndSize(NULL, 0);
        return *result == NULL ? AL_RAISES : AL_RETURNS;
    }
    if (self->bytes.chunk == NULL && !self->eof) {
        return read_wait(await, "read");
    }
    return read_take(self, size, result);
}

static al_outcome
read_op_start(al_awaitable *await, PyObject **result)
{
    return read_start(await, result, read_begin);
}

static al_outcome
read_op_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    if (AL_UNLIKELY(await->place != FOR_STOCK && read_size(await) < 0)) {
        return read_blocks_resume(await, value, result);
    }
    return read_resume(await, value, result, read_some);
}

const al_operation al_read_operation = {"StreamReader.read", read_op_start,
                                        read_op_resume};

/* --- readexactly() --------------------------------------------------------------- */

static al_outcome
readexactly_body(al_awaitable *await, PyObject **result)
{
    StreamReaderObject *self = read_reader(await);
    Py_ssize_t size = read_size(await);

    if (al_stream_buffer_size(&self->bytes) < size) {
        return self->eof ? read_incomplete(self, await->argument)
                         : read_wait(await, "readexactly");
    }
    if (AL_UNLIKELY(size == 0)) {
        *result = PyBytes_FromStringAndSize(NULL, 0);
        return *result == NULL ? AL_RAISES : AL_RETURNS;
    }
    return read_take(self, size, result);
}

static al_outcome
readexactly_start(al_awaitable *await, PyObject **result)
{
    return read_start(await, result, readexactly_body);
}

static al_outcome
readexactly_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    return read_resume(await, value, result, readexactly_body);
}

const al_operation al_readexactly_operation = {
    "StreamReader.readexactly", readexactly_start, readexactly_resume};

/* --- readuntil(), readline() ------------------------------------------------------ */

/* Look for the separator. 1 and where it is; 0: wait, or the stream has ended;
 * -1: the limit is exceeded, *place is what was looked at. What was looked at
 * before a wait is not looked at again: that is await->saved, an int. */
static int
readuntil_find(al_awaitable *await, PyObject *separator, Py_ssize_t *place)
{
    StreamReaderObject *self = read_reader(await);
    Py_ssize_t size = al_stream_buffer_size(&self->bytes);
    Py_ssize_t length = PyBytes_GET_SIZE(separator);
    Py_ssize_t offset =
        await->saved == NULL ? 0 : PyLong_AsSsize_t(await->saved);

    *place = offset;
    if (size - offset < length) {
        return 0;
    }
    Py_ssize_t found = al_stream_buffer_find(&self->bytes, separator, offset);
    if (found >= 0) {
        *place = found;
        return found > self->limit_size ? -1 : 1;
    }
    *place = size + 1 - length;
    return *place > self->limit_size ? -1 : 0;
}

/* Raise LimitOverrunError. `place` is where the separator is, or what was
 * looked at. */
AL_COLD static void
readuntil_overrun(StreamReaderObject *self, PyObject *separator,
                  Py_ssize_t place)
{
    bool is_found = al_stream_buffer_size(&self->bytes) - place >=
                        PyBytes_GET_SIZE(separator) &&
                    memcmp(al_stream_buffer_data(&self->bytes) + place,
                           PyBytes_AS_STRING(separator),
                           (size_t)PyBytes_GET_SIZE(separator)) == 0;
    PyObject *type = self->head.state->imports.LimitOverrunError;
    PyObject *exc = PyObject_CallFunction(
        type, "sn",
        is_found ? "Separator is found, but chunk is longer than limit"
                 : "Separator is not found, and chunk exceed the limit",
        place);

    if (exc != NULL) {
        PyErr_SetObject(type, exc);
        Py_DECREF(exc);
    }
}

/* Wait for more. `place` is what was looked at. */
static al_outcome
readuntil_wait(al_awaitable *await, Py_ssize_t place)
{
    if (place > 0) {
        PyObject *saved = PyLong_FromSsize_t(place);
        if (saved == NULL) {
            return AL_RAISES;
        }
        Py_XSETREF(await->saved, saved);
    }
    return read_wait(await, "readuntil");
}

static al_outcome
readuntil_body(al_awaitable *await, PyObject **result)
{
    StreamReaderObject *self = read_reader(await);
    PyObject *separator = await->argument;
    Py_ssize_t place;

    int found = readuntil_find(await, separator, &place);
    if (AL_LIKELY(found > 0)) {
        return read_take(self, place + PyBytes_GET_SIZE(separator), result);
    }
    if (found < 0) {
        readuntil_overrun(self, separator, place);
        return AL_RAISES;
    }
    return self->eof ? read_incomplete(self, Py_None)
                     : readuntil_wait(await, place);
}

static al_outcome
readuntil_start(al_awaitable *await, PyObject **result)
{
    return read_start(await, result, readuntil_body);
}

static al_outcome
readuntil_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    return read_resume(await, value, result, readuntil_body);
}

const al_operation al_readuntil_operation = {
    "StreamReader.readuntil", readuntil_start, readuntil_resume};

/* Drop the line that is too long, or all if it has no end yet, and raise
 * ValueError, whose context is LimitOverrunError. */
AL_COLD static al_outcome
readline_overrun(StreamReaderObject *self, PyObject *newline, Py_ssize_t place)
{
    Py_ssize_t size = al_stream_buffer_size(&self->bytes);

    readuntil_overrun(self, newline, place);
    PyObject *overrun = PyErr_GetRaisedException();
    if (!PyErr_GivenExceptionMatches(
            overrun, self->head.state->imports.LimitOverrunError))
    {
        PyErr_SetRaisedException(overrun);
        return AL_RAISES;
    }
    al_stream_buffer_drop(&self->bytes, place < size ? place + 1 : size);
    if (al_reader_maybe_resume(self) == 0) {
        PyObject *args = PyObject_GetAttrString(overrun, "args");
        if (args != NULL && PyTuple_Check(args) && PyTuple_GET_SIZE(args) > 0)
        {
            PyErr_SetObject(PyExc_ValueError, PyTuple_GET_ITEM(args, 0));
        }
        Py_XDECREF(args);
    }
    PyObject *exc = PyErr_GetRaisedException();
    if (exc != NULL) {
        PyException_SetContext(exc, overrun); /* steals */
        PyErr_SetRaisedException(exc);
    }
    else {
        PyErr_SetRaisedException(overrun);
    }
    return AL_RAISES;
}

static al_outcome
readline_body(al_awaitable *await, PyObject **result)
{
    StreamReaderObject *self = read_reader(await);
    PyObject *newline = self->head.state->newline;
    Py_ssize_t place;

    int found = readuntil_find(await, newline, &place);
    if (AL_LIKELY(found > 0)) {
        return read_take(self, place + 1, result);
    }
    if (found < 0) {
        return readline_overrun(self, newline, place);
    }
    if (self->eof) {
        *result = al_stream_buffer_take(&self->bytes, PY_SSIZE_T_MAX);
        return *result == NULL ? AL_RAISES : AL_RETURNS;
    }
    return readuntil_wait(await, place);
}

static al_outcome
readline_start(al_awaitable *await, PyObject **result)
{
    return read_start(await, result, readline_body);
}

static al_outcome
readline_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    return read_resume(await, value, result, readline_body);
}

const al_operation al_readline_operation = {"StreamReader.readline",
                                            readline_start, readline_resume};

/* --- async for line in reader ------------------------------------------------------ */

/* An empty line is the end. */
static al_outcome
anext_check(al_awaitable *await, al_outcome outcome, PyObject **result)
{
    if (outcome == AL_RETURNS && await->place != FOR_STOCK &&
        PyBytes_GET_SIZE(*result) == 0)
    {
        Py_CLEAR(*result);
        PyErr_SetNone(PyExc_StopAsyncIteration);
        return AL_RAISES;
    }
    return outcome;
}

static al_outcome
anext_start(al_awaitable *await, PyObject **result)
{
    return anext_check(await, readline_start(await, result), result);
}

static al_outcome
anext_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    return anext_check(await, readline_resume(await, value, result), result);
}

const al_operation al_anext_operation = {"StreamReader.__anext__", anext_start,
                                         anext_resume};
