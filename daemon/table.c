#include "table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
    if (n < t->room + t->room / 2) // grow by half at least: adding stays linear
        n = t->room + t->room / 2;
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

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], int n)
{
    while (n-- > 0) {
        v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
        v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
    }
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_rounds(v, 2);
    v[0] ^= word;
}

uint32_t table_hash(const uint64_t seed[2], const void *bytes, size_t len)
{
    uint64_t v[4] = {
        seed[0] ^ UINT64_C(0x736f6d6570736575),
        seed[1] ^ UINT64_C(0x646f72616e646f6d),
        seed[0] ^ UINT64_C(0x6c7967656e657261),
        seed[1] ^ UINT64_C(0x7465646279746573),
    };
    const unsigned char *p = bytes;
    uint64_t last = (uint64_t)len << 56;

    for (; len >= 8; len -= 8, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        sip_word(v, word);
    }
    for (size_t i = 0; i < len; i++)
        last |= (uint64_t)p[i] << (8 * i);
    sip_word(v, last);
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}
