/* sleep.c - asyncio.sleep(): a timer that sets the result of a future.
 *
 * asyncio's own function does it for a delay that is neither an int nor a
 * float, and for one that is not a number. */
#include "waits/sleep.h"

#include "base/args.h"
#include "base/errors.h"
#include "primitives/awaitable.h"
#include "task/future.h"
#include "waits/clock.h"
#include "waits/function.h"

#include <math.h>

/* The places of the operation. */
enum { SLEEP_TURN, SLEEP_TIMER, SLEEP_AS_STOCK };

/* Await asyncio's sleep(delay, result). */
static al_outcome
sleep_as_stock(al_awaitable *await)
{
    PyObject *stack[2] = {await->argument, await->saved};

    await->place = SLEEP_AS_STOCK;
    return al_awaitable_wait_stolen(
        await, PyObject_Vectorcall(await->state->imports.stock_sleep, stack, 2,
                                   NULL));
}

/* Cancel the timer. If an exception is set, it stays set, or becomes the context
 * of another one. 0, or -1 with an exception set. */
static int
sleep_disarm(al_awaitable *await)
{
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *handle = Py_NewRef(await->saved);
    int rc = al_clock_disarm(await->state, handle);

    Py_DECREF(handle);
    if (AL_UNLIKELY(raised != NULL)) {
        al_error_chain(raised);
        return -1;
    }
    return rc;
}

/* Wait for a future whose result a timer sets. The handle is then
 * await->saved. */
static al_outcome
sleep_for(al_awaitable *await, double seconds)
{
    al_state *state = await->state;
    PyObject *handle = NULL, *future = NULL;
    PyObject *loop = al_clock_running_loop(state);

    if (loop != NULL) {
        future =
            AL_LIKELY(al_loop_is_ours(loop))
                ? al_future_new(al_loop_head_CAST(loop))
                : PyObject_CallMethodNoArgs(loop, state->names.create_future);
    }
    if (future != NULL) {
        handle = al_clock_call_later(
            state, loop, await->argument, seconds,
            state->imports.set_result_unless_cancelled, future, await->saved);
    }
    Py_XDECREF(loop);
    al_outcome outcome = AL_RAISES;
    if (handle != NULL) {
        await->place = SLEEP_TIMER;
        Py_XSETREF(await->saved, handle);
        outcome = al_awaitable_wait(await, future);
        if (outcome == AL_RAISES) {
            (void)sleep_disarm(await);
        }
    }
    Py_XDECREF(future);
    return outcome;
}

static al_outcome
sleep_start(al_awaitable *await, PyObject **Py_UNUSED(result))
{
    double seconds;

    if (AL_UNLIKELY(!al_clock_seconds(await->argument, &seconds) ||
                    isnan(seconds)))
    {
        return sleep_as_stock(await);
    }
    return seconds <= 0 ? al_awaitable_yield(await)
                        : sleep_for(await, seconds);
}

static al_outcome
sleep_resume(al_awaitable *await, PyObject *value, PyObject **result)
{
    if (await->place == SLEEP_TIMER && sleep_disarm(await) < 0) {
        return AL_RAISES;
    }
    return value != NULL && await->place == SLEEP_TURN
               ? al_awaitable_return(await->saved, result)
               : al_awaitable_hand_on(await, value, result);
}

static const al_operation sleep_operation = {"sleep", sleep_start,
                                             sleep_resume};

/* --- Python ---------------------------------------------------------------- */

static PyObject *
sleep_call(al_state *state, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames)
{
    static const al_signature signature = {"sleep", AL_ARGS("delay", "result"),
                                           1, 2, 0};
    PyObject *given[2] = {NULL};

    if (AL_LIKELY(nargs == 1 && kwnames == NULL)) {
        given[0] = args[0];
    }
    else if (al_args_parse(&signature, args, nargs, kwnames, given) < 0) {
        return NULL;
    }
    PyObject *await =
        al_awaitable_new(state, &sleep_operation, NULL, given[0]);
    if (await != NULL) {
        al_awaitable_CAST(await)->saved = Py_NewRef(al_or_none(given[1]));
    }
    return await;
}

static const al_function sleep_function = {
    "sleep",
    "Return `result` after `delay` seconds; to be awaited: "
    "asyncio.sleep().\n\n"
    "With a delay of 0 or less, other tasks and callbacks run first.",
    sleep_call};

int
al_sleep_init(PyObject *module)
{
    return al_function_add(module, &sleep_function);
}
