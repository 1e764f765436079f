/* task_counter.h - finds asyncio's counter of tasks without a name. */
#ifndef AL_CPYTHON_TASK_COUNTER_H
#define AL_CPYTHON_TASK_COUNTER_H

#include "base/state.h"

/* Set state->layout.task_counter if the counter is found. `helper` is the
 * module asyncloop._layout: its make_task() makes a stock task without a name
 * and returns its number. Sets no exception. */
void
al_task_counter_learn(al_state *state, PyObject *helper);

#endif
