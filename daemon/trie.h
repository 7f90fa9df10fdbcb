/*
 * trie - entries by time, with as little order as it takes to find the earliest.
 *
 * For sched.c alone, which sorts and takes out what comes first. Pure.
 *
 * A key is a time, a number of 64 bits. Levels stand for a few of its bits each, the top level for the highest, and
 * have a slot for each value of these. Of this trie only one path is unfolded, the one that leads to the time `path`;
 * everything hangs in the slots beside it.
 *
 *     top level    . . . # . . . .         An entry is on the level of the highest bit in which its key differs from
 *                        |                 the path (if in none, on the lowest), in the slot that its bits there say.
 *     next         . [a] # . . [f] .       So all keys of a slot have the bits above in common with the path, and a
 *                        |                 slot is a stretch of time. Stretches do not overlap.
 *     next         [b] . # [d] . [e] .
 *                        |                 #: where the path leads through a level. This slot is empty, for what has
 *     lowest       . . . # . [c] . .       these bits is further down. Slots right of it are later than all below,
 *                                          slots left of it are earlier: in time, here, a b c d e f.
 *
 * A slot is a chain of blocks with its entries in the order of arrival. Equal keys are in one slot wherever the path
 * is, and what moves them keeps their order.
 *
 * When the first slot in time is too big to be sorted it is split: the path is led through it, the levels below are
 * shaped so that their slots will have some FILL entries, and its entries are scattered to them. What hung below the
 * old path on that level has no place there any more, and goes up to the slot that the old path led through. So an
 * entry moves a few times in its life, in company, which caches like. No slot comes round again for another stretch
 * of time, as those of a wheel do, so nothing can be late by a turn.
 *
 * An entry is stale when its handle has another stamp than it has. scatter drops such ones.
 *
 * Memory: one pool of blocks. In a chain all blocks but the first and the last are full, so N entries in S slots take
 * at most N / BLOCK + 2 * S blocks, while scatter has one more in hand. A block given back is the next to be taken.
 */
#ifndef TWISTY_TRIE_H
#define TWISTY_TRIE_H

#include <stdbool.h>
#include <stdint.h>

#define BLOCK       32 // entries
#define FILL        8
#define WIDTH_MIN   4 // of a level, in bits
#define WIDTH_MAX   8
#define LEVELS      (64 / WIDTH_MIN)
#define LEVEL_SLOTS (1u << WIDTH_MAX)
#define SLOTS       (LEVELS * LEVEL_SLOTS)
#define NONE        UINT32_MAX

struct entry {
    uint64_t key;
    uint32_t handle;
    uint32_t stamp;
};

/* Places in the pool: of the first entry, and behind the last. An empty slot: to == 0. */
struct slot {
    uint32_t from, to;
};

struct trie {
    uint64_t path;
    uint8_t level_of[64];  // of a bit of a key
    uint8_t shift[LEVELS]; // of a level: its lowest bit
    uint32_t behind;       // levels, as bits, that may have slots left of the path; others have none
    uint64_t words;        // words of `occupied` that are not zero, as bits
    uint64_t occupied[SLOTS / 64];
    struct slot slots[SLOTS]; // level by level, the lowest first

    struct entry *pool;     // blocks of BLOCK entries
    uint32_t *next;         // of a block: the next one of its chain, or NONE
    uint32_t free_blocks;   // a chain of them
    uint32_t fresh;         // from this block on, none was ever used
    const uint32_t *stamps; // of handles; the caller's
    uint32_t used;          // entries
    uint32_t stale;         // of these
};

/* The path may lead anywhere; best to where the entries will be. */
void trie_init(struct trie *t, uint64_t path);
void trie_fini(struct trie *t);

/* Make room for `room` entries. 0 or -ENOMEM. */
int trie_reserve(struct trie *t, uint32_t room);

/* The first slot in time, or NONE. */
uint32_t trie_first(struct trie *t);

/* The first time that belongs to the slot. */
uint64_t trie_start_of(const struct trie *t, uint32_t i);

/* Is it one nanosecond, so that the order of its entries is the right one? */
bool trie_is_instant(const struct trie *t, uint32_t i);

/* Replace the first slot, which is not an instant, by slots further down. */
void trie_split(struct trie *t, uint32_t i);

/* Put the entries of a slot where they belong, in their order, but for stale ones. */
void trie_scatter(struct trie *t, uint32_t i);

/* Forget the entries of a slot that come before the place `at`, which is in or behind its first block. */
void trie_drop(struct trie *t, uint32_t i, uint32_t at);

/* For trie_append(): the slot is empty or its last block is full. */
void trie_add_block(struct trie *t, uint32_t i);

static inline bool trie_is_stale(const struct trie *t, const struct entry *e)
{
    return t->stamps[e->handle] != e->stamp;
}

/* The slot where a key belongs. */
static inline uint32_t trie_slot_of(const struct trie *t, uint64_t key)
{
    uint32_t level = t->level_of[63 - __builtin_clzll((key ^ t->path) | 1)];

    return level * LEVEL_SLOTS + (uint32_t)(key >> t->shift[level] & (LEVEL_SLOTS - 1));
}

/* Put an entry, which must belong there, at the end of a slot. Counting it is the caller's. */
static inline void trie_append(struct trie *t, uint32_t i, struct entry e)
{
    struct slot *slot = &t->slots[i];

    if (slot->to % BLOCK == 0)
        trie_add_block(t, i);
    t->pool[slot->to++] = e;
}

/* The place behind the last entry that is in one block with the entry at `at`. */
static inline uint32_t trie_block_end(const struct trie *t, uint32_t i, uint32_t at)
{
    return t->next[at / BLOCK] == NONE ? t->slots[i].to : (at / BLOCK + 1) * BLOCK;
}

#endif
