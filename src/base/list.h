/* list.h - an intrusive, circular, doubly linked list.
 *
 * Invariant: a node is linked <=> next != NULL. An empty list's head points
 * at itself. */
#ifndef AL_BASE_LIST_H
#define AL_BASE_LIST_H

#include <stddef.h>

typedef struct al_list {
    struct al_list *next; /* borrowed: a node belongs to its object */
    struct al_list *prev; /* borrowed */
} al_list;

static inline void
al_list_init(al_list *head)
{
    head->next = head->prev = head;
}

static inline int
al_list_is_linked(const al_list *node)
{
    return node->next != NULL;
}

static inline void
al_list_append(al_list *head, al_list *node)
{
    node->next = head;
    node->prev = head->prev;
    head->prev->next = node;
    head->prev = node;
}

/* Unlink a node; one that is not linked is left as it is. */
static inline void
al_list_remove(al_list *node)
{
    if (node->next != NULL) {
        node->prev->next = node->next;
        node->next->prev = node->prev;
        node->next = node->prev = NULL;
    }
}

#endif
