/* breaking.c - breaks invariants on purpose, in a debug build: so a test sees
 * that the check of each finds it (tests/test_debug_build.py). */
#include "base/check.h"

#ifdef AL_DEBUG

#    include "breaking.h"

#    include "io/fdwatch.h"
#    include "io/reactor.h"
#    include "loop/loop.h"
#    include "loop/sock_op.h"
#    include "net/dgram_transport.h"
#    include "net/listener.h"
#    include "net/pipe_transport.h"
#    include "net/sock_transport.h"
#    include "sched/timers.h"
#    include "task/task.h"
#    include "tls/protocol.h"

/* --- of a loop ------------------------------------------------------------ */

static void
break_timers_places(PyObject *op)
{
    PyObject *handle = al_loop_head_CAST(op)->timers.heap[0].handle;

    TimerHandleObject_CAST(handle)->index++;
}

static void
break_timers_holes(PyObject *op)
{
    al_loop_head_CAST(op)->timers.holes++;
}

static void
break_timers_order(PyObject *op)
{
    al_timers *timers = &al_loop_head_CAST(op)->timers;

    timers->heap[0].when = timers->heap[timers->count - 1].when + 1;
}

static void
break_queue(PyObject *op)
{
    al_queue *ready = &al_loop_head_CAST(op)->ready;

    ready->ring[(ready->head + ready->count - 1) & (ready->capacity - 1)].run =
        NULL;
}

/* The only watch of the loop, where it has one of a descriptor. */
static al_fdwatch *
break_find_watch(PyObject *op)
{
    return al_fdwatch_next(al_loop_head_CAST(op), 0);
}

static void
break_fdwatch_number(PyObject *op)
{
    break_find_watch(op)->fd++;
}

static void
break_fdwatch_events(PyObject *op)
{
    break_find_watch(op)->events ^= EV_READ | EV_WRITE;
}

static void
break_fdwatch_idle(PyObject *op)
{
    break_find_watch(op)->events = EV_READ;
}

static void
break_fdwatch_owner(PyObject *op)
{
    break_find_watch(op)->owner = op;
}

static void
break_epoll_parked(PyObject *op)
{
    break_find_watch(op)->is_parked = true;
}

static void
break_alarm(PyObject *op)
{
    al_alarm *alarm = &al_loop_head_CAST(op)->reactor->alarm;

    alarm->armed = 1;
    alarm->is_rung = true;
}

/* It has been open for a wait before. */
static void
break_alarm_source(PyObject *op)
{
    al_source *source = &al_loop_head_CAST(op)->reactor->alarm.source;

    source->set->kind->remove(source->set, source);
}

static void
break_wakeup(PyObject *op)
{
    al_loop_head_CAST(op)->reactor->wakeup.sender = -1;
}

static void
break_run_blocked(PyObject *op)
{
    al_loop_head_CAST(op)->is_blocked = true;
}

static void
break_registry_current(PyObject *op)
{
    Py_XSETREF(al_loop_head_CAST(op)->current_task, Py_NewRef(Py_None));
}

static void
break_listener(PyObject *op)
{
    PyObject *listener = break_find_watch(op)->reader.object;

    ListenerObject_CAST(listener)->desc.phase = AL_DESCRIPTOR_NONE;
}

static void
break_held_step(PyObject *op)
{
    al_loop_head_CAST(op)->is_in_turn = false;
}

/* --- of a transport ------------------------------------------------------- */

static void
break_transport_lost(PyObject *op)
{
    TransportObject_CAST(op)->lost = 1;
}

static void
break_transport_protocol(PyObject *op)
{
    TransportObject_CAST(op)->protocol.object = NULL;
}

static void
break_sock_queue(PyObject *op)
{
    al_chunks *outgoing = &SocketTransportObject_CAST(op)->outgoing;

    if (al_chunks_push_copy(outgoing, "x", 1) < 0) {
        PyErr_WriteUnraisable(op);
    }
}

static void
break_sock_held(PyObject *op)
{
    TransportObject_CAST(op)->flow.high = 0;
}

static void
break_chunks_places(PyObject *op)
{
    SocketTransportObject_CAST(op)->outgoing.capacity = 0;
}

static void
break_chunks_size(PyObject *op)
{
    SocketTransportObject_CAST(op)->outgoing.size++;
}

static void
break_dgram_writer(PyObject *op)
{
    al_fdwatch_clear_writer(&DatagramTransportObject_CAST(op)->watch);
}

static void
break_dgram_lost(PyObject *op)
{
    TransportObject_CAST(op)->phase = AL_TRANSPORT_CLOSING;
    TransportObject_CAST(op)->lost = 1;
}

static void
break_pipe(PyObject *op)
{
    TransportObject_CAST(op)->desc.object = NULL;
}

/* --- of a future or a task ------------------------------------------------ */

static void
break_future(PyObject *op)
{
    al_future_of(op)->state = AL_FUTURE_FINISHED;
}

/* Have it wait for a future that does not know. */
static void
break_task(PyObject *op)
{
    al_task_of(op)->fut_waiter =
        al_future_new(al_loop_head_CAST(al_future_of(op)->loop));
}

static void
break_registry_list(PyObject *op)
{
    al_task_node(op)->prev = al_task_node(op);
}

static void
break_chain(PyObject *op)
{
    Py_CLEAR(FutureChainObject_CAST(op)->future);
}

/* --- of a TLS connection --------------------------------------------------- */

static void
break_tls_buffer(PyObject *op)
{
    SSLProtocolObject_CAST(op)->last_buffer = AL_TLS_BUFFER_OWN;
}

static void
break_tls_engine(PyObject *op)
{
    SSLProtocolObject *self = SSLProtocolObject_CAST(op);

    self->engine.state = self->module_state;
}

/* Of one whose engine calls OpenSSL. */
static void
break_tls_lent(PyObject *op)
{
    al_tls_bio_lend(SSLProtocolObject_CAST(op)->engine.of.openssl.bio, "x", 1);
}

static void
break_tls_records(PyObject *op)
{
    SSLProtocolObject_CAST(op)->engine.records.header = AL_TLS_HEADER;
}

static void
break_tls_unsent(PyObject *op)
{
    SSLProtocolObject_CAST(op)->unsent_size++;
}

/* --- of a handle, or a call of a sock_* method ------------------------------ */

/* One that has run. */
static void
break_handle_newest(PyObject *op)
{
    HandleObject_CAST(op)->loop->newest_handle = op;
}

static void
break_handle(PyObject *op)
{
    HandleObject_CAST(op)->callback = NULL;
}

static void
break_sock_op_end(PyObject *op)
{
    SockOpObject_CAST(op)->sock = NULL;
    SockOpObject_CAST(op)->future = NULL;
}

static void
break_sock_op_start(PyObject *op)
{
    SockOpObject_CAST(op)->is_started = false;
}

/* --- for Python ----------------------------------------------------------- */

static const struct {
    const char *file;
    int number;
    void (*break_it)(PyObject *op);
} breaks[] = {
    {"sched/timers.c", 1, break_timers_places},
    {"sched/timers.c", 2, break_timers_holes},
    {"sched/timers.c", 4, break_timers_order},
    {"sched/queue.c", 1, break_queue},
    {"io/fdwatch.c", 1, break_fdwatch_number},
    {"io/fdwatch.c", 2, break_fdwatch_events},
    {"io/fdwatch.c", 3, break_fdwatch_owner},
    {"io/fdwatch.c", 4, break_fdwatch_idle},
    {"io/watch_epoll.c", 2, break_epoll_parked},
    {"io/alarm.c", 1, break_alarm},
    {"io/alarm.c", 2, break_alarm_source},
    {"io/wakeup.c", 1, break_wakeup},
    {"net/held.c", 1, break_held_step},
    {"net/transport.c", 1, break_transport_lost},
    {"net/transport.c", 2, break_transport_protocol},
    {"net/sock_write.c", 1, break_sock_queue},
    {"net/sock_write.c", 3, break_sock_held},
    {"net/listener.c", 2, break_listener},
    {"sched/handle.c", 1, break_handle},
    {"sched/handle.c", 3, break_handle_newest},
    {"loop/loop_run.c", 1, break_run_blocked},
    {"loop/sock_op.c", 1, break_sock_op_end},
    {"loop/sock_op.c", 2, break_sock_op_start},
    {"loop/future_chain.c", 1, break_chain},
    {"task/future.c", 1, break_future},
    {"task/task.c", 2, break_task},
    {"task/registry.c", 1, break_registry_current},
    {"task/registry.c", 2, break_registry_list},
    {"tls/protocol.c", 2, break_tls_buffer},
    {"tls/engine.c", 1, break_tls_lent},
    {"tls/engine.c", 2, break_tls_engine},
    {"tls/records.c", 1, break_tls_records},
    {"tls/write.c", 3, break_tls_unsent},
    {"base/chunks.c", 1, break_chunks_places},
    {"base/chunks.c", 2, break_chunks_size},
    {"net/dgram_write.c", 1, break_dgram_writer},
    {"net/dgram_write.c", 3, break_dgram_lost},
    {"net/pipe_transport.c", 1, break_pipe},
};

PyObject *
al_break(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *file;
    int number;
    PyObject *op;

    if (!PyArg_ParseTuple(args, "siO", &file, &number, &op)) {
        return NULL;
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(breaks); i++) {
        if (strcmp(breaks[i].file, file) == 0 && breaks[i].number == number) {
            breaks[i].break_it(op);
            Py_RETURN_NONE;
        }
    }
    PyErr_Format(PyExc_ValueError, "nothing breaks invariant (%d) of %s",
                 number, file);
    return NULL;
}

#endif
