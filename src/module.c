/* module.c - builds asyncloop._core from its layers, bottom to top. */
#include "base/state.h"

#include "base/features.h"
#include "breaking.h"
#include "cpython/layout.h"
#include "cpython/openssl.h"
#include "io/watchdog.h"
#include "loop/entry.h"
#include "loop/loop.h"
#include "loop/loop_metrics.h"
#include "loop/ready_view.h"
#include "loop/sock_op.h"
#include "net/dgram_transport.h"
#include "net/listener.h"
#include "net/pipe_transport.h"
#include "net/sock_transport.h"
#include "primitives/awaitable.h"
#include "primitives/condition.h"
#include "primitives/deque.h"
#include "primitives/event.h"
#include "primitives/lock.h"
#include "primitives/queue.h"
#include "primitives/semaphore.h"
#include "sched/handle.h"
#include "sched/metrics_sum.h"
#include "streams/reader_type.h"
#include "streams/writer.h"
#include "task/registry.h"
#include "task/task.h"
#include "tls/protocol.h"
#include "waits/function.h"
#include "waits/gather.h"
#include "waits/shield.h"
#include "waits/sleep.h"
#include "waits/task_group.h"
#include "waits/timeout.h"
#include "waits/wait.h"
#include "waits/wait_for.h"

static int
module_exec(PyObject *module)
{
    static int (*const steps[])(PyObject *) = {
        al_state_init,
        al_layout_init,
        al_metrics_init,
        al_handle_init_types,
        al_future_init_type,
        al_future_iter_init_type,
        al_task_init_type,
        al_deque_init,
        al_awaitable_init_type,
        al_lock_init_type,
        al_event_init_type,
        al_condition_init_type,
        al_semaphore_init_types,
        al_queue_init_type,
        al_function_init_type,
        al_sleep_init,
        al_timeout_init_type,
        al_wait_for_init,
        al_wait_init,
        al_task_group_init_type,
        al_gather_init,
        al_shield_init,
        al_reader_init_type,
        al_writer_init_type,
        al_sock_transport_init_type,
        al_pipe_read_init_type,
        al_pipe_write_init_type,
        al_dgram_transport_init_type,
        al_tls_protocol_init_type,
        al_tls_transport_init_type,
        al_listener_init_type,
        al_sock_op_init_type,
        al_future_chain_init_type,
        al_watchdog_init_type,
        al_loop_entry_init_type,
        al_ready_view_init_type,
        al_loop_init_type,
    };

    for (size_t i = 0; i < Py_ARRAY_LENGTH(steps); i++) {
        if (steps[i](module) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
is_main_interpreter(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(PyInterpreterState_Get() ==
                           PyInterpreterState_Main());
}

/* _core._features(): which features of the system this build may use. */
static PyObject *
features_show(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("{sisisisisisisisi}", "epoll", AL_HAS_EPOLL, "select",
                         AL_HAS_UNLIMITED_SELECT, "timerfd", AL_HAS_TIMERFD,
                         "pipe2", AL_HAS_PIPE2, "accept4", AL_HAS_ACCEPT4,
                         "recvmmsg", AL_HAS_RECVMMSG, "sendmmsg",
                         AL_HAS_SENDMMSG, "pidfd", AL_HAS_PIDFD);
}

static PyMethodDef module_methods[] = {
#ifdef AL_DEBUG
    {"_break", al_break, METH_VARARGS, NULL},
    {"_live", al_check_live, METH_NOARGS, NULL},
#endif
    {"_features", features_show, METH_NOARGS, NULL},
    {"_is_main_interpreter", is_main_interpreter, METH_NOARGS, NULL},
    {"_figures", al_loop_metrics_all, METH_NOARGS, NULL},
    {"_delay_bounds", al_loop_metrics_delays, METH_NOARGS, NULL},
    {"_layout", al_layout_show, METH_NOARGS, NULL},
    {"_set_ready_queue", al_ready_view_set_class, METH_O, NULL},
    {"_set_timeout_class", al_timeout_set_class, METH_O, NULL},
    {"_tls_engine", al_openssl_py_engine, METH_VARARGS, NULL},
    {"_pending_tasks", al_registry_pending_tasks, METH_NOARGS, NULL},
    {"_register_tasks_by", al_registry_register_by, METH_O, NULL},
    {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#if AL_ASYNCIO_MAY_HAVE_OWN_GIL
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#if AL_FREE_THREADED && AL_HAS_AWAITED_BY
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

struct PyModuleDef al_module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "asyncloop._core",
    .m_doc = "The C part of asyncloop.",
    .m_size = sizeof(al_state *),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = al_state_traverse,
    .m_free = al_state_leave_module,
};

PyMODINIT_FUNC
PyInit__core(void);

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&al_module_def);
}
