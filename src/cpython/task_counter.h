/* task_counter.h - asyncio's counter of the tasks that are given no name. */
#ifndef AL_CPYTHON_TASK_COUNTER_H
#define AL_CPYTHON_TASK_COUNTER_H

#include "base/state.h"

/* Find it, for state->layout.task_counter, with the help of asyncloop._layout:
 * its make_task() makes a stock task without a name and returns its number. No
 * exception is set where it is not found. */
void
al_task_counter_learn(al_state *state, PyObject *helper);

#endif
