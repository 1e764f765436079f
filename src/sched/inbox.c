/* inbox.c - how a thread that does not own a loop queues an entry there.
 *
 *     call_soon_threadsafe(), wake-ups ---> inbox ---> ready queue
 *                       other threads         |         the owner, each turn
 *                                             `-------> wake-up, if it waits
 *
 * With a GIL every thread pushes to the ready queue itself, and this file is
 * empty.
 *
 * Invariant
 *   (1) While loop->is_blocked, the inbox was empty when the wait began, and
 *       whoever pushes first sets is_blocked to false and sends a wake-up. */
#include "sched/inbox.h"

#include "sched/queue.h"

#if AL_FREE_THREADED

/* With the mutex: end the wait, by (1). */
static void
inbox_end_wait(al_loop_head *loop)
{
    if (loop->is_blocked) {
        loop->is_blocked = false;
        loop->wake(loop);
    }
}

/* Queue the entry in the inbox. */
static int
inbox_append(al_loop_head *loop, al_run_fn run, PyObject *object)
{
    PyMutex_Lock(&loop->inbox.mutex);
    int rc = al_queue_append(&loop->inbox.queue, run, object);
    if (rc == 0) {
        inbox_end_wait(loop);
    }
    PyMutex_Unlock(&loop->inbox.mutex);
    return rc;
}

int
al_inbox_push(al_loop_head *loop, al_run_fn run, PyObject *object)
{
    bool is_free = false;
    int rc = 0;

    if (AL_LOAD(loop->owner) == 0) {
        AL_LOCK((PyObject *)loop);
        is_free = AL_LOAD(loop->owner) == 0;
        if (is_free) {
            rc = al_queue_append(&loop->ready, run, object);
        }
        AL_UNLOCK();
    }
    return is_free ? rc : inbox_append(loop, run, object);
}

int
al_inbox_collect(al_loop_head *loop)
{
    al_queue *queue = &loop->inbox.queue;
    int rc = 0;

    PyMutex_Lock(&loop->inbox.mutex);
    while (rc == 0 && queue->count > 0) {
        al_entry *entry = &queue->ring[queue->head];
        rc = al_queue_append(&loop->ready, entry->run, entry->object);
        if (rc == 0) {
            Py_DECREF(entry->object); /* the ready queue has it */
            queue->head = (queue->head + 1) & (queue->capacity - 1);
            AL_STORE(queue->count, queue->count - 1);
        }
    }
    al_queue_cut(queue, queue->count);
    PyMutex_Unlock(&loop->inbox.mutex);
    return rc;
}

void
al_inbox_forked(al_loop_head *loop)
{
    if (!al_loop_is_mine(loop)) {
        loop->owner = 0;
        /* It may have been handed over to a thread that is not there. */
        ((PyObject *)loop)->ob_mutex = (PyMutex){0};
    }
    if (PyMutex_IsLocked(&loop->inbox.mutex)) {
        loop->inbox = (al_inbox){0}; /* the entries may be half moved */
    }
}

void
al_inbox_clear(al_loop_head *loop)
{
    PyMutex_Lock(&loop->inbox.mutex);
    al_queue queue = loop->inbox.queue; /* taken */
    loop->inbox.queue = (al_queue){0};
    PyMutex_Unlock(&loop->inbox.mutex);
    for (size_t i = 0; i < queue.count; i++) {
        Py_DECREF(al_queue_object(&queue, i));
    }
    PyMem_Free(queue.ring);
}

bool
al_inbox_begin_wait(al_loop_head *loop)
{
    PyMutex_Lock(&loop->inbox.mutex);
    bool is_empty = loop->inbox.queue.count == 0;
    loop->is_blocked = is_empty;
    PyMutex_Unlock(&loop->inbox.mutex);
    return is_empty;
}

void
al_inbox_end_wait(al_loop_head *loop)
{
    PyMutex_Lock(&loop->inbox.mutex);
    loop->is_blocked = false;
    PyMutex_Unlock(&loop->inbox.mutex);
}

void
al_inbox_wake(al_loop_head *loop)
{
    PyMutex_Lock(&loop->inbox.mutex);
    inbox_end_wait(loop);
    PyMutex_Unlock(&loop->inbox.mutex);
}

#endif
