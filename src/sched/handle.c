/* handle.c - asyncio.Handle and TimerHandle: a callback that waits.
 *
 *     call_soon(cb) ----------------------> ready queue ---> al_handle_run()
 *     call_later(s, cb) ---> timers ---due----^
 *
 * cancel() does not search the ready queue: it empties the handle, and running
 * an empty handle does nothing.  So the callback and its arguments (often a
 * cycle) are freed at once.  An armed TimerHandle also leaves the timers at
 * once.
 *
 * Tracking every handle for the garbage collector would cost more than the
 * rest of call_soon().  So most handles are not tracked:
 *   - While the loop runs, it is alive, and so is everything that it will
 *     run.  A handle is tracked when it has run, or when the loop stops, and
 *     only if somebody besides the queue owns it by then.
 *   - While the loop does not run, a handle that the queue alone owns is a
 *     part of the queue: the loop visits the handle's references as its own.
 *     Whether the caller of call_soon() keeps the handle is known only at the
 *     next call.  So the newest handle (loop->newest_handle) is tracked.  The
 *     next call untracks it if the queue alone owns it then.
 *
 * (On free-threaded builds tracking is one store, and all are tracked.)
 *
 * Invariants
 *   (1) callback == NULL  <=>  is_cancelled (or cleared by the garbage
 *       collector); then there are no arguments, but if it was cancelled in
 *       debug mode there is its repr, in the place of the first one.
 *   (2) A handle that is not tracked is in a queue (ready, timers), or the
 *       loop has just taken it from there to run it. Nobody else owns it,
 *       unless the loop runs.
 *   (3) loop->newest_handle is in a queue. It is set to NULL whenever an entry
 *       is taken out of the ready queue, and when a timer is cancelled or
 *       dropped.
 *   (4) Any thread may call cancel(), only the loop's thread runs handles. */
#include "sched/handle.h"

#include "base/call.h"
#include "sched/context.h"
#include "sched/ready.h"
#include "sched/report.h"
#include "sched/timers.h"

#ifdef AL_DEBUG

/* Of one that is in a queue, which the garbage collector does not clear. */
static void
handle_check(const HandleObject *self)
{
    AL_HOLDS(1, self->callback != NULL || self->is_cancelled);
    AL_HOLDS(1, self->callback != NULL || self->count <= 1);
}

static bool
handle_is_queued(const al_loop_head *loop, PyObject *op)
{
    for (size_t i = 0; i < loop->ready.count; i++) {
        if (al_queue_object(&loop->ready, i) == op) {
            return true;
        }
    }
    for (Py_ssize_t i = 0; i < loop->timers.count; i++) {
        if (loop->timers.heap[i].handle == op) {
            return true;
        }
    }
    return false;
}

static void
handle_check_newest(const al_loop_head *loop)
{
    static size_t skipped;
    size_t queued = loop->ready.count + (size_t)loop->timers.count;

    if (loop->newest_handle != NULL && al_check_is_time(&skipped, queued)) {
        AL_HOLDS(3, handle_is_queued(loop, loop->newest_handle));
    }
}

#endif

/* --- garbage collection ------------------------------------------------- */

static inline void
handle_track(HandleObject *self)
{
    if (!self->is_tracked) {
        self->is_tracked = true;
        PyObject_GC_Track((PyObject *)self);
    }
}

/* The caller or a queue owns one reference. Track the handle if anybody else
 * owns one, too, strong or weak. */
static inline void
handle_track_if_shared(HandleObject *self)
{
    if (Py_REFCNT(self) > 1 || self->weakrefs != NULL) {
        handle_track(self);
    }
}

/* A new handle is in a queue and about to be returned to its caller. Track it
 * unless the loop runs, and untrack the one before if its caller dropped
 * it. */
static inline void
handle_note_newest(al_loop_head *loop, PyObject *op)
{
    AL_CHECK(handle_check_newest, loop);
    if (AL_FREE_THREADED) {
        return; /* all are tracked */
    }
    if (AL_UNLIKELY(loop->is_debug)) { /* debug mode gives it to Python code */
        handle_track((HandleObject *)op);
    }
    else if (AL_UNLIKELY(loop->thread_id == 0)) {
        HandleObject *last = (HandleObject *)loop->newest_handle;
        if (last != NULL && Py_REFCNT(last) == 1 && last->weakrefs == NULL) {
            last->is_tracked = false; /* by (3), the queue alone owns it */
            PyObject_GC_UnTrack((PyObject *)last);
        }
        ((HandleObject *)op)->is_tracked = true;
        PyObject_GC_Track(op);
        loop->newest_handle = op;
    }
}

void
al_handle_track_if_shared(al_state *state, PyObject *op)
{
    if (al_handle_check(state, op)) {
        handle_track_if_shared((HandleObject *)op);
    }
}

void
al_handle_expose(al_state *state, PyObject *op)
{
    if (al_handle_check(state, op)) {
        handle_track((HandleObject *)op);
    }
}

/* --- making ------------------------------------------------------------- */

/* The `count` of a handle whose arguments are in a tuple. */
#define HANDLE_TUPLE (AL_HANDLE_INLINE_ARGS + 1)

/* How many of arguments[] are in use. */
static inline int
handle_slots(const HandleObject *self)
{
    return self->count == HANDLE_TUPLE ? 1 : self->count;
}

/* Store the arguments: 0, or -1 with MemoryError set. */
static inline int
handle_take_arguments(HandleObject *self, PyObject *const *args,
                      Py_ssize_t nargs)
{
    if (AL_UNLIKELY(nargs > AL_HANDLE_INLINE_ARGS)) {
        PyObject *tuple = PyTuple_New(nargs);
        if (tuple == NULL) {
            return -1;
        }
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
        }
        self->arguments[0] = tuple;
        self->count = HANDLE_TUPLE;
        return 0;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        self->arguments[i] = Py_NewRef(args[i]);
    }
    self->count = (uint8_t)nargs;
    return 0;
}

/* Fill a new object, which is freed on failure.
 * -> `self`, not tracked, or NULL with an exception set. */
static inline PyObject *
handle_fill(HandleObject *self, al_loop_head *loop, PyObject *callback,
            PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    self->loop = (al_loop_head *)Py_NewRef((PyObject *)loop);
    self->callback = Py_NewRef(callback);
    self->flags = 0;
    if (context != NULL) {
        self->context = Py_NewRef(context);
    }
    else {
        self->context = al_context_snapshot(loop);
        self->has_snapshot = al_context_is_shared(loop->state);
    }
    self->source_traceback = NULL;
    self->weakrefs = NULL;
    if (AL_FREE_THREADED) { /* which costs nothing there */
        handle_track(self);
    }
    if (handle_take_arguments(self, args, nargs) < 0 || self->context == NULL)
    {
        Py_DECREF(self);
        return NULL;
    }
    if (AL_UNLIKELY(loop->is_debug)) {
        /* The stack ends at the caller of call_soon(): C code has no frame. */
        self->source_traceback =
            PyObject_CallNoArgs(loop->state->imports.extract_stack);
        if (self->source_traceback == NULL) {
            Py_DECREF(self);
            return NULL;
        }
    }
    return (PyObject *)self;
}

static inline PyObject *
handle_new(al_loop_head *loop, PyObject *callback, PyObject *const *args,
           Py_ssize_t nargs, PyObject *context)
{
    al_state *state = loop->state;
    PyObject *self = al_freelist_new(&state->handles, state->HandleType);

    return self == NULL ? NULL
                        : handle_fill((HandleObject *)self, loop, callback,
                                      args, nargs, context);
}

PyObject *
al_handle_new(al_loop_head *loop, PyObject *callback, PyObject *const *args,
              Py_ssize_t nargs, PyObject *context)
{
    /* The handle may run many times, each time in the same context: so give it
     * a context of its own instead of a snapshot. */
    PyObject *own =
        context != NULL ? Py_NewRef(context) : PyContext_CopyCurrent();
    if (own == NULL) {
        return NULL;
    }
    PyObject *self = handle_new(loop, callback, args, nargs, own);
    Py_DECREF(own);
    if (self != NULL) {
        handle_track((HandleObject *)self);
    }
    return self;
}

PyObject *
al_handle_call_at(al_loop_head *loop, double when, PyObject *deadline,
                  PyObject *callback, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *context)
{
    al_state *state = loop->state;
    PyObject *self =
        al_freelist_new(&state->timer_handles, state->TimerHandleType);

    if (self == NULL) {
        return NULL;
    }
    TimerHandleObject_CAST(self)->when = when;
    TimerHandleObject_CAST(self)->deadline = Py_XNewRef(deadline);
    TimerHandleObject_CAST(self)->index = -1;
    self = handle_fill((HandleObject *)self, loop, callback, args, nargs,
                       context);
    if (self == NULL) {
        return NULL;
    }
    if (al_timers_arm(loop, TimerHandleObject_CAST(self)) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    handle_note_newest(loop, self);
    return self;
}

/* Queue a new handle, or NULL with an exception set. -> `handle`, or NULL. */
static inline PyObject *
handle_queue(al_loop_head *loop, al_run_fn run, PyObject *handle)
{
    if (handle == NULL) {
        return NULL;
    }
    if (al_ready_push(loop, run, handle) < 0) {
        Py_DECREF(handle);
        return NULL;
    }
    handle_note_newest(loop, handle);
    return handle;
}

PyObject *
al_handle_call_soon(al_loop_head *loop, PyObject *callback,
                    PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    return handle_queue(loop, al_handle_run,
                        handle_new(loop, callback, args, nargs, context));
}

#if AL_HAS_THREADSAFE_HANDLE

/* al_run_fn */
static int
handle_run_threadsafe(al_loop_head *loop, PyObject *handle)
{
    AL_STORE(loop->handle_thread, PyThread_get_thread_ident());
    AL_STORE(HandleObject_CAST(handle)->is_running, true);
    int rc = al_handle_run(loop, handle);
    AL_STORE(HandleObject_CAST(handle)->is_running, false);
    return rc;
}

PyObject *
al_handle_call_soon_threadsafe(al_loop_head *loop, PyObject *callback,
                               PyObject *const *args, Py_ssize_t nargs,
                               PyObject *context)
{
    PyObject *handle = handle_new(loop, callback, args, nargs, context);

    if (handle != NULL) {
        HandleObject_CAST(handle)->is_threadsafe = true;
    }
    return handle_queue(loop, handle_run_threadsafe, handle);
}

#endif

/* --- running and cancelling --------------------------------------------- */

PyObject *
al_handle_arguments(const HandleObject *self)
{
    PyObject *kept[AL_HANDLE_INLINE_ARGS];

    if (self->count == HANDLE_TUPLE) {
        return Py_NewRef(self->arguments[0]);
    }
    /* Making the tuple may collect garbage, whose finalisers may cancel the
     * handle: take references to the arguments first. */
    int count = self->callback == NULL ? 0 : self->count; /* by (1) */
    for (int i = 0; i < count; i++) {
        kept[i] = Py_NewRef(self->arguments[i]);
    }
    PyObject *tuple = PyTuple_New(count);
    for (int i = 0; i < count; i++) {
        if (tuple != NULL) {
            PyTuple_SET_ITEM(tuple, i, kept[i]); /* moved */
        }
        else {
            Py_DECREF(kept[i]);
        }
    }
    return tuple;
}

/* "Exception in callback ..." -> new str, or NULL with an exception set. */
static PyObject *
handle_failure_message(HandleObject *self)
{
    PyObject *callback = Py_NewRef(al_or_none(self->callback));
    PyObject *arguments = al_handle_arguments(self);
    PyObject *message =
        arguments == NULL
            ? NULL
            : al_report_describe_failure(self->loop->state, callback,
                                         arguments, self->loop->is_debug);

    Py_XDECREF(arguments);
    Py_DECREF(callback);
    return message;
}

/* The callback raised: report it. 0, or -1 with an exception set that ends the
 * run. */
static int
handle_report(HandleObject *self)
{
    al_state *state = self->loop->state;
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *message = NULL;

    handle_track(self); /* the exception handler gets the handle */

    if (!PyErr_GivenExceptionMatches(exc, PyExc_SystemExit) &&
        !PyErr_GivenExceptionMatches(exc, PyExc_KeyboardInterrupt))
    {
        message = handle_failure_message(self);
        if (message == NULL) { /* the repr raised: report that error instead */
            Py_DECREF(exc);
            exc = PyErr_GetRaisedException();
            message = PyUnicode_FromString("Exception in callback");
        }
    }
    PyErr_SetRaisedException(exc);
    if (message == NULL) {
        return -1;
    }
    const al_report_item items[] = {
        {state->names.handle, (PyObject *)self},
        {state->names.source_traceback, self->source_traceback},
        {NULL, NULL}};
    return al_report_exception((PyObject *)self->loop, state, message, items);
}

/* Call the callback with the arguments: -> its result, or NULL. */
static inline PyObject *
handle_call(HandleObject *self)
{
    if (AL_UNLIKELY(self->callback == NULL)) { /* cancelled, by (1) */
        Py_RETURN_NONE;
    }
    /* The callback may cancel its own handle, which drops callback and
     * arguments under our feet: hold them for the duration of the call. */
    PyObject *callback = Py_NewRef(self->callback);
    PyObject *stack[AL_HANDLE_INLINE_ARGS + 1]; /* [0] is the callee's */
    int slots = handle_slots(self);
    PyObject *result;

    for (int i = 0; i < slots; i++) {
        stack[i + 1] = Py_NewRef(self->arguments[i]);
    }
    if (AL_UNLIKELY(self->count == HANDLE_TUPLE)) {
        result = PyObject_Call(callback, stack[1], NULL);
    }
    else {
        result = PyObject_Vectorcall(
            callback, stack + 1,
            (size_t)slots | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    /* Python code handles signals, C functions do not. Handle them here: a
     * KeyboardInterrupt that the next callback raises as it begins would lose
     * that callback. */
    if (AL_UNLIKELY(!PyFunction_Check(callback) &&
                    !PyMethod_Check(callback)) &&
        result != NULL && PyErr_CheckSignals() < 0)
    {
        Py_CLEAR(result);
    }
    for (int i = 0; i < slots; i++) {
        Py_DECREF(stack[i + 1]);
    }
    Py_DECREF(callback);
    return result;
}

/* The same if `context` is no contextvars.Context: call context.run(callback,
 * ...), which is all that asyncio needs of it. */
static PyObject *
handle_call_in_other(HandleObject *self, PyObject *context)
{
    PyObject *callback = Py_NewRef(self->callback);
    PyObject *rest = al_handle_arguments(self);
    PyObject *first = PyTuple_Pack(1, callback);
    PyObject *run = NULL;
    PyObject *all = NULL;
    PyObject *result = NULL;

    if (first != NULL && rest != NULL) {
        all = PySequence_Concat(first, rest);
    }
    if (all != NULL) {
        run = PyObject_GetAttrString(context, "run");
    }
    if (run != NULL) {
        result = PyObject_CallObject(run, all);
    }
    Py_XDECREF(run);
    Py_XDECREF(all);
    Py_XDECREF(rest);
    Py_XDECREF(first);
    Py_DECREF(callback);
    return result;
}

/* Replace the snapshot by the context that the callback runs in: somebody else
 * has the handle and may call get_context(). */
static void
handle_keep_context(HandleObject *self, PyObject *context)
{
    if (self->has_snapshot) {
        self->has_snapshot = false;
        Py_SETREF(self->context, Py_NewRef(context));
    }
}

/* Call the callback in the scratch context, which is ready: -> its result, or
 * NULL. */
static inline PyObject *
handle_call_in_scratch(HandleObject *self)
{
    al_loop_head *loop =
        self->loop; /* the handle owns it, and the caller us */
    PyObject *context = al_context_enter(loop);
    if (context == NULL) {
        return NULL;
    }
    const PyObject *vars = al_layout_context_vars(loop->state, context);
    if (Py_REFCNT(self) > 1) {
        handle_keep_context(self, context);
    }
    PyObject *result = handle_call(self);
    if (AL_UNLIKELY(result == NULL || Py_REFCNT(self) > 1)) {
        handle_keep_context(self, context);
    }
    if (al_context_leave(loop, context, vars) < 0) {
        Py_CLEAR(result);
    }
    return result;
}

/* Call the callback in its context: -> its result, None if it was cancelled,
 * or NULL. */
static inline PyObject *
handle_call_in_context(HandleObject *self)
{
    PyObject *result = NULL;

    /* al_context_prepare() may run a finaliser that cancels this handle or
     * calls its get_context(): so check has_snapshot again. */
    while (AL_LIKELY(self->has_snapshot)) {
        if (AL_LIKELY(al_context_is_ready(self->loop, self->context))) {
            return handle_call_in_scratch(self);
        }
        if (al_context_prepare(self->loop, self->context) < 0) {
            return NULL;
        }
    }
    if (AL_UNLIKELY(self->callback == NULL)) { /* cancelled, by (1) */
        Py_RETURN_NONE;
    }
    PyObject *context = Py_NewRef(self->context);
    if (AL_UNLIKELY(!PyContext_CheckExact(context))) {
        result = handle_call_in_other(self, context);
    }
    else if (PyContext_Enter(context) == 0) {
        result = handle_call(self);
        if (PyContext_Exit(context) < 0) {
            Py_CLEAR(result);
        }
    }
    Py_DECREF(context);
    return result;
}

int
al_handle_run(al_loop_head *Py_UNUSED(loop), PyObject *handle)
{
    HandleObject *self = HandleObject_CAST(handle);
    int rc = 0;

    AL_CHECK(handle_check, self);
    PyObject *result = handle_call_in_context(self);
    if (AL_UNLIKELY(result == NULL)) {
        rc = handle_report(self);
    }
    Py_XDECREF(result);
    handle_track_if_shared(self);
    return rc;
}

al_run_fn
al_handle_run_of(const HandleObject *self)
{
#if AL_HAS_THREADSAFE_HANDLE
    if (self->is_threadsafe) {
        return handle_run_threadsafe;
    }
#endif
    (void)self;
    return al_handle_run;
}

/* Drop callback and arguments. */
static inline void
handle_empty(HandleObject *self)
{
    PyObject *callback = self->callback;
    PyObject *arguments[AL_HANDLE_INLINE_ARGS];
    int slots = handle_slots(self);

    /* Empty the handle first, by (1): dropping its references may run
     * anything, which may look at the handle. */
    for (int i = 0; i < slots; i++) {
        arguments[i] = self->arguments[i];
    }
    self->callback = NULL;
    self->count = 0;
    Py_XDECREF(callback);
    for (int i = 0; i < slots; i++) {
        Py_DECREF(arguments[i]);
    }
}

/* The same in debug mode. Keep the repr: the log line "Executing <Handle ...>
 * took 2.5 seconds" shows the callback. 0, or -1 with the exception set that
 * the repr raised; the handle is empty in both cases, by (1). */
static int
handle_empty_debug(HandleObject *self)
{
    PyObject *repr = PyObject_Repr((PyObject *)self);
    PyObject *raised = PyErr_GetRaisedException();

    handle_empty(self);
    PyErr_SetRaisedException(raised);
    if (repr == NULL) {
        return -1;
    }
    self->arguments[0] = repr;
    self->count = 1;
    return 0;
}

/* A timer that is in loop._scheduled will be cancelled: the loop counts those,
 * as asyncio's does. 0, or -1 with an exception set. */
static int
handle_tell_cancelled(HandleObject *self)
{
    PyObject *loop = (PyObject *)self->loop;

    return al_call_finish(PyObject_CallMethodOneArg(
        loop, self->loop->state->names._timer_handle_cancelled,
        (PyObject *)self));
}

int
al_handle_cancel(HandleObject *self)
{
    if (self->is_cancelled) {
        return 0;
    }
    if (Py_IS_TYPE((PyObject *)self, self->loop->state->TimerHandleType) &&
        AL_UNLIKELY(((TimerHandleObject *)self)->index == AL_TIMER_IN_LIST) &&
        handle_tell_cancelled(self) < 0)
    {
        return -1;
    }
    self->is_cancelled = true;
    if (Py_IS_TYPE((PyObject *)self, self->loop->state->TimerHandleType)) {
        al_timers_disarm(self->loop, (TimerHandleObject *)self);
        handle_track(self); /* by (2) */
        if (self->loop->newest_handle == (PyObject *)self) {
            self->loop->newest_handle = NULL; /* by (3) */
        }
    }
    if (AL_UNLIKELY(self->loop->is_debug)) {
        return handle_empty_debug(self);
    }
    handle_empty(self);
    return 0;
}

/* --- lifetime ----------------------------------------------------------- */

int
al_handle_traverse(PyObject *op, visitproc visit, void *arg)
{
    HandleObject *self = HandleObject_CAST(op);

    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->loop);
    Py_VISIT(self->callback);
    Py_VISIT(self->context);
    Py_VISIT(self->source_traceback);
    for (int i = 0; i < handle_slots(self); i++) {
        Py_VISIT(self->arguments[i]);
    }
    return 0;
}

int
al_timer_handle_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(TimerHandleObject_CAST(op)->deadline);
    return al_handle_traverse(op, visit, arg);
}

int
al_handle_traverse_queued(al_state *state, PyObject *op, visitproc visit,
                          void *arg)
{
    Py_VISIT(op);
    if (al_handle_check(state, op) && !HandleObject_CAST(op)->is_tracked &&
        Py_REFCNT(op) == 1) { /* by (2), the queue alone owns it */
        return Py_TYPE(op)->tp_traverse(op, visit, arg);
    }
    return 0;
}

int
al_handle_clear(PyObject *op)
{
    HandleObject *self = HandleObject_CAST(op);

    /* Keep the loop and the context: the methods need them. Without callback
     * and arguments the handle is in no cycle that only the handle could
     * break. */
    Py_CLEAR(self->source_traceback);
    handle_empty(self);
    return 0;
}

int
al_timer_handle_clear(PyObject *op)
{
    Py_CLEAR(TimerHandleObject_CAST(op)->deadline); /* `when` stays */
    return al_handle_clear(op);
}

/* A handle may be an argument of a handle, and so on. Up to this depth handles
 * are freed recursively. Deeper ones go to the trashcan, which costs more than
 * counting the depth. */
#define HANDLE_DEEP 50

/* Drop all references, and keep the memory in the free list if it has room. */
static inline void
handle_free(PyObject *op, inquiry clear, al_freelist *(*list_of)(al_state *))
{
    HandleObject *self = HandleObject_CAST(op);
    PyTypeObject *type = Py_TYPE(op);
    al_loop_head *loop = self->loop; /* moved to here */

    if (self->weakrefs != NULL) {
        PyObject_ClearWeakRefs(op);
    }
    loop->freeing += !AL_DEALLOC_IS_GUARDED;
    (void)clear(op);
    Py_CLEAR(self->context);
    loop->freeing -= !AL_DEALLOC_IS_GUARDED;
    AL_COUNT(type, -1);
    if (!al_freelist_push(list_of(loop->state), op)) {
        PyObject_GC_Del(op);
    }
    Py_DECREF(type); /* a heap type is owned by its instances */
    Py_DECREF(loop); /* last: this may free the state and its free lists */
}

static inline void
handle_dealloc(PyObject *op, destructor dealloc, inquiry clear,
               al_freelist *(*list_of)(al_state *))
{
    HandleObject *self = HandleObject_CAST(op);

    if (self->is_tracked) {
        self->is_tracked = false; /* the trashcan may call us a second time */
        PyObject_GC_UnTrack(op);
    }
    assert(self->loop->newest_handle != op); /* by (3) */
    if (AL_LIKELY(AL_DEALLOC_IS_GUARDED || self->loop->freeing < HANDLE_DEEP))
    {
        handle_free(op, clear, list_of);
        return;
    }
    AL_TRASHCAN_BEGIN(op, dealloc)
    handle_free(op, clear, list_of);
    AL_TRASHCAN_END
}

static al_freelist *
handle_freelist(al_state *state)
{
    return &state->handles;
}

static al_freelist *
timer_handle_freelist(al_state *state)
{
    return &state->timer_handles;
}

void
al_handle_dealloc(PyObject *op)
{
    handle_dealloc(op, al_handle_dealloc, al_handle_clear, handle_freelist);
}

void
al_timer_handle_dealloc(PyObject *op)
{
    handle_dealloc(op, al_timer_handle_dealloc, al_timer_handle_clear,
                   timer_handle_freelist);
}
