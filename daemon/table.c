#include "table.h"

#include "siphash.h"

#include <errno.h>
#include <stdlib.h>

void table_fini(struct table *t)
{
    free(t->heads);
    free(t->nodes);
    *t = (struct table){0};
}

int table_reserve(struct table *t, uint32_t n)
{
    if (n <= t->room)
        return 0;
    if (n < t->room + t->room / 4) // grow by a quarter at least: adding stays linear
        n = t->room + t->room / 4;
    uint32_t *heads = reallocarray(t->heads, n, sizeof *heads);
    if (heads == NULL)
        return -ENOMEM;
    t->heads = heads;
    struct table_node *nodes = reallocarray(t->nodes, n, sizeof *nodes);
    if (nodes == NULL)
        return -ENOMEM;
    t->nodes = nodes;
    t->room = n;
    return 0;
}

/* Buckets that are not there yet have their things in the one without the highest bit. */
static uint32_t *head_of(const struct table *t, uint32_t hash)
{
    uint32_t bucket = hash & t->mask;

    return &t->heads[bucket < t->buckets ? bucket : bucket & t->mask >> 1];
}

/* One more bucket, and to it those things that belong there. */
static void add_bucket(struct table *t)
{
    uint32_t bucket = t->buckets++;

    if (bucket > t->mask)
        t->mask = t->mask * 2 + 1;
    t->heads[bucket] = TABLE_END;
    if (bucket == 0)
        return;
    for (uint32_t *at = &t->heads[bucket & t->mask >> 1]; *at != TABLE_END;) {
        struct table_node *node = &t->nodes[*at];
        uint32_t thing = *at;

        if ((node->hash & t->mask) != bucket) {
            at = &node->next;
            continue;
        }
        *at = node->next;
        node->next = t->heads[bucket];
        t->heads[bucket] = thing;
    }
}

void table_put(struct table *t, uint32_t thing, uint32_t hash)
{
    if (t->used++ == t->buckets)
        add_bucket(t);
    uint32_t *head = head_of(t, hash);

    t->nodes[thing] = (struct table_node){.next = *head, .hash = hash};
    *head = thing;
}

void table_drop(struct table *t, uint32_t thing, uint32_t hash)
{
    if (t->used == 0)
        return;
    for (uint32_t *at = head_of(t, hash); *at != TABLE_END; at = &t->nodes[*at].next)
        if (*at == thing) {
            *at = t->nodes[thing].next;
            t->used--;
            return;
        }
}

/* The first of these and those behind it that has this hash. */
static uint32_t find(const struct table *t, uint32_t thing, uint32_t hash)
{
    while (thing != TABLE_END && t->nodes[thing].hash != hash)
        thing = t->nodes[thing].next;
    return thing;
}

uint32_t table_first(const struct table *t, uint32_t hash)
{
    return t->used == 0 ? TABLE_END : find(t, *head_of(t, hash), hash);
}

uint32_t table_next(const struct table *t, uint32_t thing)
{
    return find(t, t->nodes[thing].next, t->nodes[thing].hash);
}

uint32_t table_hash(const uint64_t seed[2], const void *bytes, size_t len)
{
    return (uint32_t)siphash(seed, bytes, len);
}
