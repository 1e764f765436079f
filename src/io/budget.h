/* budget.h - how long a turn may read more than once from one descriptor.
 *
 * A socket may have hundreds of datagrams, a listener hundreds of connections.
 * Taking several in one turn saves polls.  But their callbacks make the turn
 * longer, and every other connection waits for its end.
 *
 * So each reader takes one item a turn, as in asyncio, and further ones while
 * the turn's budget lasts.  All readers of a turn share one budget: twenty
 * flooded sockets do not make the turn twenty times as long.
 *
 * If turns take milliseconds, the next turn is far away, so the budget is
 * larger.  A flood of datagrams never ends.  So if other descriptors were
 * ready in one of the last polls, datagrams get an eighth of the budget. */
#ifndef AL_IO_BUDGET_H
#define AL_IO_BUDGET_H

#include "base/cycles.h"
#include "sched/loop_head.h"

#define AL_BUDGETS_OF_LONG_TURN 16
/* Datagrams get the budget divided by this if other descriptors are ready now
 * and then. */
#define AL_BUDGET_PARTS 8

/* Call this before the first callback of a reader that may take several items.
 * The first reader of a turn starts the clock. */
static inline void
al_budget_begin(al_loop_head *loop)
{
    if (loop->budget_turn != loop->turn) {
        loop->budget_turn = loop->turn;
        loop->budget_begin = al_cycles();
    }
}

/* Whether a reader of this turn may take one more item. */
static inline bool
al_budget_is_left(const al_loop_head *loop)
{
    uint64_t budgets = loop->looks_within ? AL_BUDGETS_OF_LONG_TURN : 1;

    return loop->budget_turn != loop->turn ||
           al_cycles() - loop->budget_begin < budgets * al_cycles_budget();
}

/* Whether other descriptors are ready now and then: they wait while one reader
 * goes on. */
static inline bool
al_budget_is_shared(const al_loop_head *loop)
{
    return loop->mixed_polls > 0 && !loop->looks_within;
}

/* The same for datagrams, which stop sooner if other descriptors wait. */
static inline bool
al_budget_is_left_beside(const al_loop_head *loop)
{
    return !al_budget_is_shared(loop)
               ? al_budget_is_left(loop)
               : loop->budget_turn != loop->turn ||
                     al_cycles() - loop->budget_begin <
                         al_cycles_budget() / AL_BUDGET_PARTS;
}

#endif
