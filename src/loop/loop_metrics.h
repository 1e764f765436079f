/* loop_metrics.h - shows what loops have counted and measured. */
#ifndef AL_LOOP_LOOP_METRICS_H
#define AL_LOOP_LOOP_METRICS_H

#include "base/state.h"

/* _core._figures(): as loop._figures(), of all loops together. */
PyObject *
al_loop_metrics_all(PyObject *module, PyObject *ignored);

/* _core._delay_bounds(): the lowest delay of each bucket, in cycles. */
PyObject *
al_loop_metrics_delays(PyObject *module, PyObject *ignored);

#endif
