/* wait_for.c - asyncio.wait_for() as it is from Python 3.12 on: an await within
 * a timeout.
 *
 * asyncio's own function does it if the time is over at the beginning, and if
 * the program has replaced asyncio.timeouts.timeout() or a method of Timeout. */
#include "waits/wait_for.h"

#include "base/args.h"
#include "base/call.h"
#include "base/errors.h"
#include "primitives/awaitable.h"
#include "waits/function.h"
#include "waits/timeout.h"

/* The places of the operation. */
enum { WAIT_FOR_INSIDE, WAIT_FOR_AS_STOCK };

/* await->argument is what is waited for. await->saved is the number of seconds
 * at first, then the Timeout. */

/* Await asyncio's wait_for(fut, timeout). */
static al_outcome
wait_for_as_stock(al_awaitable *await)
{
    PyObject *stack[2] = {await->argument, await->saved};

    await->place = WAIT_FOR_AS_STOCK;
    return al_awaitable_wait_stolen(
        await, PyObject_Vectorcall(await->state->imports.stock_wait_for, stack,
                                   2, NULL));
}

/* Whether asyncio's own function has to do it: 1, 0, or -1 with an exception
 * set. */
static int
wait_for_is_stock(const al_awaitable *await)
{
    al_state *state = await->state;
    PyObject *function;

    if (PyDict_GetItemRef(state->imports.timeouts_globals,
                          state->names.timeout, &function) < 0)
    {
        return -1;
    }
    bool is_stock = function != state->imports.stock_timeout &&
                    (function == NULL || !al_timeout_is_function(function));
    Py_XDECREF(function);
    if (AL_UNLIKELY(is_stock)) {
        return 1;
    }
    if (await->saved == Py_None) {
        return 0;
    }
    PyObject *zero = PyLong_FromLong(0);
    int is_over =
        zero == NULL
            ? -1
            : al_call_is_true(PyObject_RichCompare(await->saved, zero, Py_LE));
    Py_XDECREF(zero);
    return is_over;
}

/* The await has returned `value`, or has raised the exception that is set
 * (NULL). */
static al_outcome
wait_for_leave(al_awaitable *await, PyObject *value, PyObject **result)
{
    PyObject *exc = value == NULL ? PyErr_GetRaisedException() : NULL;
    PyObject *timeout = Py_NewRef(await->saved);
    int is_over = 0, rc = al_timeout_leave(timeout);

    if (AL_UNLIKELY(rc == 0)) {
        is_over = al_timeout_leave_as_stock(timeout, exc);
    }
    Py_DECREF(timeout);
    if (AL_UNLIKELY(rc < 0)) {
        if (exc != NULL) {
            al_error_chain(exc);
        }
        return AL_RAISES;
    }
    if (AL_LIKELY(exc == NULL)) {
        return is_over < 0 ? AL_RAISES : al_awaitable_return(value, result);
    }
    if (is_over == 0) {
        PyErr_SetRaisedException(exc);
        return AL_RAISES;
    }
    Py_DECREF(exc);
    return is_over < 0 ? AL_RAISES : al_awaitable_return(Py_None, result);
}

static al_outcome
wait_for_start(al_awaitable *await, PyObject **result)
{
    int is_stock = wait_for_is_stock(await);

    if (is_stock != 0) {
        return is_stock < 0 ? AL_RAISES : wait_for_as_stock(await);
    }
    PyObject *timeout = al_timeout_after(await->state, await->saved);
    int is_plain = timeout == NULL ? -1 : al_timeout_is_plain(timeout);
    if (is_plain <= 0) {
        Py_XDECREF(timeout);
        return is_plain < 0 ? AL_RAISES : wait_for_as_stock(await);
    }
    int rc = al_timeout_enter(timeout);
    if (rc <= 0) {
        Py_DECREF(timeout);
        return rc < 0 ? AL_RAISES : wait_for_as_stock(await);
    }
    Py_XSETREF(await->saved, timeout);
    al_outcome outcome = al_awaitable_wait(await, await->argument);
    return outcome == AL_AWAITS ? AL_AWAITS
                                : wait_for_leave(await, NULL, result);
}

static al_outcome
wait_for_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    return await->place == WAIT_FOR_INSIDE
               ? wait_for_leave(await, value, result)
               : al_awaitable_hand_on(await, value, result);
}

static const al_operation wait_for_operation = {"wait_for", wait_for_start,
                                                wait_for_resume};

/* --- Python ---------------------------------------------------------------- */

static PyObject *
wait_for_call(al_state *state, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames)
{
    static const al_signature signature = {"wait_for",
                                           AL_ARGS("fut", "timeout"), 2, 2, 0};
    PyObject *given[2] = {NULL};

    if (al_args_parse(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    PyObject *await =
        al_awaitable_new(state, &wait_for_operation, NULL, given[0]);
    if (await != NULL) {
        al_awaitable_CAST(await)->saved = Py_NewRef(given[1]);
    }
    return await;
}

static const al_function wait_for_function = {
    "wait_for",
    "Return what `fut` returns, or raise TimeoutError after `timeout` "
    "seconds; "
    "to be\nawaited: asyncio.wait_for().\n\n"
    "`fut` is then cancelled. `timeout` may be None: there is no limit.",
    wait_for_call};

int
al_wait_for_init(PyObject *module)
{
    return al_function_add(module, &wait_for_function);
}
