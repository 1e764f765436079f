/* list.c - base/list.h against an array that has the same nodes in the same
 * order. */
#include "checked.h"

#include "base/list.h"

#include <string.h>

#define NODES 12
#define ROUNDS 300
#define STEPS 200

static al_list nodes[NODES];
static al_list head;
static al_list *model[NODES]; /* the linked ones, in order */
static size_t count;

/* Both directions of the list show what the model has; the nodes outside know
 * that they are. */
static void
check_list(void)
{
    const al_list *node = &head;

    for (size_t i = 0; i < count; i++) {
        CHECK(node->next == model[i] && model[i]->prev == node);
        node = node->next;
    }
    CHECK(node->next == &head && head.prev == node);

    size_t linked = 0;
    for (size_t i = 0; i < NODES; i++) {
        linked += al_list_is_linked(&nodes[i]) != 0;
    }
    CHECK(linked == count);
}

static void
model_remove(const al_list *node)
{
    for (size_t i = 0; i < count; i++) {
        if (model[i] == node) {
            count--;
            memmove(model + i, model + i + 1, (count - i) * sizeof(*model));
            return;
        }
    }
}

static void
run_round(void)
{
    memset(nodes, 0, sizeof(nodes));
    al_list_init(&head);
    count = 0;
    for (int step = 0; step < STEPS; step++) {
        al_list *node = &nodes[random_below(NODES)];
        if (!al_list_is_linked(node) && random_below(2) == 0) {
            al_list_append(&head, node);
            model[count++] = node;
        }
        else { /* linked or not */
            al_list_remove(node);
            model_remove(node);
        }
        check_list();
    }
}

/* A list's head may itself be removed from another list, and is empty then. */
static void
check_two_lists(void)
{
    al_list other;

    memset(nodes, 0, sizeof(nodes));
    al_list_init(&head);
    al_list_init(&other);
    al_list_append(&head, &nodes[0]);
    al_list_append(&other, &nodes[1]);
    al_list_remove(&nodes[0]);
    al_list_append(&other, &nodes[0]);
    CHECK(head.next == &head && head.prev == &head);
    CHECK(other.next == &nodes[1] && other.prev == &nodes[0]);
}

int
main(void)
{
    for (uint64_t round = 0; round < ROUNDS; round++) {
        check_begin(round);
        run_round();
    }
    check_two_lists();
    return 0;
}
