/* budget.h - how long a turn may go on with what is ready more than once.
 *
 * A socket may have hundreds of datagrams, a listener hundreds of connections.
 * To take several in one turn saves polls.  But the turn gets longer by
 * whatever their callbacks take, and every other connection waits for its end.
 *
 * So each of them takes one a turn, as in asyncio, and further ones while the
 * turn's budget lasts.  All readers of a turn share one budget: twenty flooded
 * sockets do not make the turn twenty times as long.  Where turns take
 * milliseconds anyway, whoever waits for the next one waits long: there the
 * budget is larger.  A flood of datagrams never ends: where others have been
 * ready in one of the last polls, it has an eighth of the budget. */
#ifndef AL_IO_BUDGET_H
#define AL_IO_BUDGET_H

#include "io/cycles.h"
#include "sched/loop_head.h"

#define AL_BUDGETS_OF_LONG_TURN 16
/* Of the budget, for datagrams where others are ready now and then. */
#define AL_BUDGET_PARTS 8

/* To be called before the first callback of a reader that may go on. The first
 * reader of a turn starts the clock. */
static inline void
al_budget_begin(al_loop_head *loop)
{
    if (loop->budget_turn != loop->turn) {
        loop->budget_turn = loop->turn;
        loop->budget_begin = al_cycles();
    }
}

/* Whether a reader of this turn may take one more. */
static inline bool
al_budget_is_left(const al_loop_head *loop)
{
    uint64_t budgets = loop->looks_within ? AL_BUDGETS_OF_LONG_TURN : 1;

    return loop->budget_turn != loop->turn ||
           al_cycles() - loop->budget_begin < budgets * al_cycles_budget();
}

/* Whether others are ready now and then, and wait for what goes on and on. */
static inline bool
al_budget_is_shared(const al_loop_head *loop)
{
    return loop->mixed_polls > 0 && !loop->looks_within;
}

/* As al_budget_is_left(), of one that stops sooner where others wait, too. */
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
