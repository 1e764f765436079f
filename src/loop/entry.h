/* entry.h - entries of the ready queue as handles, which asyncio has
 * instead. */
#ifndef AL_LOOP_ENTRY_H
#define AL_LOOP_ENTRY_H

#include "loop/loop.h"

/* Whether this thread may reach into the ready queue. Where threads have no
 * GIL, the thread that runs the loop does not share it: base/threads.h (1).
 * What others have left in the inbox is queued. 1, 0, or -1 with an exception
 * set. The caller has locked the loop. */
AL_NODISCARD int
al_loop_may_reach(LoopObject *self);

/* The same: 0, or -1 with an exception set, RuntimeError if it may not. */
AL_NODISCARD int
al_loop_reach(LoopObject *self);

/* The handle that an entry would have in asyncio's queue: that of call_soon()
 * itself, or a new one. May run anything. -> new reference, or NULL. */
AL_NODISCARD PyObject *
al_loop_make_handle(LoopObject *self, const al_entry *entry);

/* The run function with which to queue a handle of any type. */
al_run_fn
al_loop_run_of(al_loop_head *head, PyObject *handle);

/* Create the type and store it in the module state. */
AL_NODISCARD int
al_loop_entry_init_type(PyObject *module);

#endif
