/* metrics_sum.c - adds up what loops have counted.
 *
 *     loops of the state ---> al_metrics ---.
 *     loops that were freed ---> `freed` ---+---> al_metrics_sum
 *
 * Who has locked the type Loop may use the list of loops and `freed`. */
#include "sched/metrics_sum.h"

/* al_state.metrics */
struct al_metrics_all {
    al_list loops; /* heads the nodes of al_metrics */
    al_metrics_sum freed;
};

/* Read stopwatches and `poll` as they are at one moment: repeat it if the loop
 * has changed one meanwhile. */
static void
metrics_add_times(al_metrics_sum *sum, const al_metrics *metrics)
{
    const al_pulse *pulse = metrics->pulse;
    al_stopwatch run, idle;
    uint64_t poll, now;

    do {
        run = al_stopwatch_load(&pulse->run);
        idle = al_stopwatch_load(&pulse->idle);
        poll = AL_LOAD(metrics->poll);
        now = al_cycles();
    } while (run != al_stopwatch_load(&pulse->run) ||
             idle != al_stopwatch_load(&pulse->idle) ||
             poll != AL_LOAD(metrics->poll));
    sum->run += al_stopwatch_sum(run, now);
    sum->idle += al_stopwatch_sum(idle, now);
    sum->poll += poll;
}

static void
metrics_add_delays(al_delays *sum, const al_delays *delays)
{
    uint64_t longest = AL_LOAD(delays->longest);

    sum->longest = Py_MAX(sum->longest, longest);
    for (size_t i = 0; i < AL_DELAYS_BUCKETS; i++) {
        sum->buckets[i] += AL_LOAD(delays->buckets[i]);
    }
}

/* What a loop has counted, without what it has now. */
static void
metrics_add_counters(al_metrics_sum *sum, const al_loop_head *loop)
{
    const al_metrics *metrics = &loop->metrics;
    uint64_t most_ready = AL_LOAD(metrics->most_ready);

    metrics_add_times(sum, metrics);
    sum->turns += AL_LOAD(loop->turn);
    sum->callbacks += AL_LOAD(loop->steps);
    sum->most_ready = Py_MAX(sum->most_ready, most_ready);
#define X(name) sum->name += AL_LOAD(metrics->name);
    AL_METRICS_COUNTERS(X)
#undef X
    metrics_add_delays(&sum->delays, &metrics->delays);
}

void
al_metrics_add_loop(al_metrics_sum *sum, const al_loop_head *loop)
{
    Py_ssize_t timers = AL_LOAD(loop->timers.count);
    Py_ssize_t holes = AL_LOAD(loop->timers.holes);

    metrics_add_counters(sum, loop);
    sum->loops++;
    sum->ready += AL_LOAD(loop->ready.count);
    sum->timers += (uint64_t)Py_MAX(timers - holes, 0);
    sum->watched += AL_LOAD(loop->metrics.watched);
}

/* The sum of two sums of loops that were freed, which have nothing now. */
static void
metrics_add_freed(al_metrics_sum *sum, const al_metrics_sum *freed)
{
    sum->turns += freed->turns;
    sum->callbacks += freed->callbacks;
    sum->run += freed->run;
    sum->idle += freed->idle;
    sum->poll += freed->poll;
    sum->most_ready = Py_MAX(sum->most_ready, freed->most_ready);
#define X(name) sum->name += freed->name;
    AL_METRICS_COUNTERS(X)
#undef X
    metrics_add_delays(&sum->delays, &freed->delays);
}

void
al_metrics_add_all(al_metrics_sum *sum, al_state *state)
{
    AL_LOCK((PyObject *)state->LoopType);
    const struct al_metrics_all *all = state->metrics;
    const al_list *node = all->loops.next;

    metrics_add_freed(sum, &all->freed);
    for (; node != &all->loops; node = node->next) {
        al_metrics_add_loop(
            sum, (const al_loop_head *)((const char *)node -
                                        offsetof(al_loop_head, metrics.node)));
    }
    AL_UNLOCK();
}

al_pulse *
al_pulse_new(void)
{
    al_pulse *self = PyMem_RawCalloc(1, sizeof(al_pulse));

    if (self == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    self->owners = 1;
    return self;
}

int
al_metrics_open(al_loop_head *loop)
{
    loop->metrics.pulse = al_pulse_new();
    if (loop->metrics.pulse == NULL) {
        return -1;
    }
    AL_LOCK((PyObject *)loop->state->LoopType);
    al_list_append(&loop->state->metrics->loops, &loop->metrics.node);
    AL_UNLOCK();
    return 0;
}

void
al_metrics_close(al_loop_head *loop)
{
    al_pulse *pulse = loop->metrics.pulse;

    if (pulse == NULL) {
        return; /* there was no memory for it */
    }
    AL_LOCK((PyObject *)loop->state->LoopType);
    al_list_remove(&loop->metrics.node);
    metrics_add_counters(&loop->state->metrics->freed, loop);
    AL_UNLOCK();
    __atomic_store_n(&pulse->is_over, true, __ATOMIC_RELAXED);
    al_pulse_disown(pulse);
}

double
al_metrics_cycle_length(al_state *state)
{
    double length;

    AL_LOCK((PyObject *)state->LoopType);
    if (state->cycle_length == 0) {
        state->cycle_length = al_cycles_learn_length(&state->first_cycles);
    }
    length = state->cycle_length;
    AL_UNLOCK();
    return length;
}

uint64_t
al_metrics_cycles(al_state *state, double seconds)
{
    double cycles = seconds / al_metrics_cycle_length(state);

    return cycles < 0x1p62 ? (uint64_t)cycles : UINT64_MAX;
}

void
al_metrics_note_late(al_loop_head *loop, double seconds)
{
    uint64_t cycles = al_metrics_cycles(loop->state, seconds);

    if (cycles != UINT64_MAX) {
        al_metrics_note_delay(&loop->metrics, cycles);
    }
}

int
al_metrics_init(PyObject *module)
{
    al_state *state = al_state_from_module(module);

    state->first_cycles = al_cycles_read_pair();
    state->metrics = PyMem_Calloc(1, sizeof(struct al_metrics_all));
    if (state->metrics == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    al_list_init(&state->metrics->loops);
    return 0;
}
