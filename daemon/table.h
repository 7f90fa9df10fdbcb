/*
 * table - finds things that have numbers by the hash of their keys.
 *
 * Pure. It knows neither things nor keys: it hands out the numbers of those that have a hash, and the caller looks
 * which of them it meant. This is linear hashing (Litwin, "Linear hashing: a new tool for file and table addressing",
 * 1980): with each thing that comes the table grows by one bucket, and one other bucket gives some of its things to
 * it. So to put one costs the same at every size, and no call ever has to move them all. Twelve bytes a thing.
 */
#ifndef TWISTY_TABLE_H
#define TWISTY_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* No thing. */
#define TABLE_END UINT32_MAX

struct table_node {
    uint32_t next; // of the same bucket, or TABLE_END
    uint32_t hash;
};

/* Zero-initialised is empty. */
struct table {
    uint32_t *heads; // of buckets: the first thing in it, or TABLE_END
    uint32_t buckets;
    uint32_t mask; // the least 2^n - 1 that has all bits of the last bucket's number
    uint32_t used; // things
    uint32_t room;
    struct table_node *nodes; // of things, by their numbers
};

void table_fini(struct table *t);

/* Make room for things with numbers below `n`, so that table_put() cannot fail. 0 or -ENOMEM. */
int table_reserve(struct table *t, uint32_t n);

/* Put a thing that is not there. */
void table_put(struct table *t, uint32_t thing, uint32_t hash);

/* Take a thing of this hash out, if it is there. */
void table_drop(struct table *t, uint32_t thing, uint32_t hash);

/* A thing of this hash, or TABLE_END. */
uint32_t table_first(const struct table *t, uint32_t hash);

/* Another one of the same hash as `thing`, or TABLE_END. */
uint32_t table_next(const struct table *t, uint32_t thing);

/*
 * The hash of `len` bytes, with a secret seed, for keys that come from users: nobody can choose keys that all fall into
 * one bucket.
 */
uint32_t table_hash(const uint64_t seed[2], const void *bytes, size_t len);

#endif
