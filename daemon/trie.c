#include "trie.h"

#include <errno.h>
#include <stdlib.h>

/*
 * Levels from `level` down are to stand for the lowest `bits` bits, the first of them for `width`. There are enough of
 * them: a level has no more than WIDTH_MIN bits below it for each level that there is, for each takes that many, or
 * all that are left.
 */
static void shape(struct trie *t, uint32_t level, uint32_t bits, uint32_t width)
{
    while (bits > 0) {
        if (width > bits)
            width = bits;
        t->shift[level] = (uint8_t)(bits - width);
        while (width-- > 0)
            t->level_of[--bits] = (uint8_t)level;
        level--;
        width = WIDTH_MAX;
    }
}

void trie_init(struct trie *t, uint64_t path)
{
    *t = (struct trie){.path = path, .free_blocks = NONE};
    shape(t, LEVELS - 1, 64, WIDTH_MAX);
}

void trie_fini(struct trie *t)
{
    free(t->pool);
    free(t->next);
}

int trie_reserve(struct trie *t, uint32_t room)
{
    uint32_t blocks = room / BLOCK + 2 * SLOTS;

    if (blocks > room) // but there is no block without an entry
        blocks = room;
    blocks++; // in scatter's hand
    struct entry *pool = reallocarray(t->pool, blocks, BLOCK * sizeof *pool);
    if (pool == NULL)
        return -ENOMEM;
    t->pool = pool;
    uint32_t *next = reallocarray(t->next, blocks, sizeof *next);
    if (next == NULL)
        return -ENOMEM;
    t->next = next;
    return 0;
}

static void give_block(struct trie *t, uint32_t block)
{
    t->next[block] = t->free_blocks;
    t->free_blocks = block;
}

static uint32_t take_block(struct trie *t)
{
    uint32_t block = t->free_blocks;

    if (block == NONE)
        block = t->fresh++;
    else
        t->free_blocks = t->next[block];
    t->next[block] = NONE;
    return block;
}

/* The slot of a level that the path leads through. */
static uint32_t path_slot(const struct trie *t, uint32_t level)
{
    return level * LEVEL_SLOTS + (uint32_t)(t->path >> t->shift[level] & (LEVEL_SLOTS - 1));
}

uint64_t trie_start_of(const struct trie *t, uint32_t i)
{
    uint32_t shift = t->shift[i / LEVEL_SLOTS];

    return ((t->path >> shift & ~(uint64_t)(LEVEL_SLOTS - 1)) | i % LEVEL_SLOTS) << shift;
}

bool trie_is_instant(const struct trie *t, uint32_t i)
{
    return t->shift[i / LEVEL_SLOTS] == 0;
}

static void mark_occupied(struct trie *t, uint32_t i)
{
    uint32_t level = i / LEVEL_SLOTS;

    t->occupied[i / 64] |= UINT64_C(1) << i % 64;
    t->words |= UINT64_C(1) << i / 64;
    if (i < path_slot(t, level))
        t->behind |= UINT32_C(1) << level;
}

static void mark_empty(struct trie *t, uint32_t i)
{
    t->slots[i].to = 0;
    t->occupied[i / 64] &= ~(UINT64_C(1) << i % 64);
    if (t->occupied[i / 64] == 0)
        t->words &= ~(UINT64_C(1) << i / 64);
}

/* The lowest slot with entries on this level or above; or NONE. */
static uint32_t lowest_from(const struct trie *t, uint32_t level)
{
    uint64_t words = t->words & UINT64_MAX << level * (LEVEL_SLOTS / 64);

    if (words == 0)
        return NONE;
    uint32_t w = (uint32_t)__builtin_ctzll(words);
    return w * 64 + (uint32_t)__builtin_ctzll(t->occupied[w]);
}

/* Left of the path a higher level is earlier, right of it a lower one. */
uint32_t trie_first(struct trie *t)
{
    while (t->behind != 0) {
        uint32_t level = 31 - (uint32_t)__builtin_clz(t->behind);
        uint32_t i = lowest_from(t, level);
        if (i < path_slot(t, level))
            return i;
        t->behind &= ~(UINT32_C(1) << level);
    }
    return lowest_from(t, 0);
}

void trie_add_block(struct trie *t, uint32_t i)
{
    struct slot *slot = &t->slots[i];
    uint32_t block = take_block(t);

    if (slot->to == 0) {
        slot->from = block * BLOCK;
        mark_occupied(t, i);
    } else {
        t->next[(slot->to - 1) / BLOCK] = block;
    }
    slot->to = block * BLOCK;
}

void trie_drop(struct trie *t, uint32_t i, uint32_t at)
{
    struct slot *slot = &t->slots[i];
    uint32_t block = slot->from / BLOCK;

    t->used -= at - slot->from;
    slot->from = at;
    if (at == slot->to) {
        give_block(t, block);
        mark_empty(t, i);
    } else if (at % BLOCK == 0) {
        slot->from = t->next[block] * BLOCK;
        give_block(t, block);
    }
}

static void prefetch_block(const struct trie *t, uint32_t block)
{
    const char *bytes = (const char *)&t->pool[(size_t)block * BLOCK];

    for (size_t i = 0; i < BLOCK * sizeof t->pool[0]; i += 64)
        __builtin_prefetch(bytes + i);
}

void trie_scatter(struct trie *t, uint32_t i)
{
    struct slot chain = t->slots[i];
    bool any_stale = t->stale > 0;
    uint32_t at = chain.from, next;

    mark_empty(t, i);
    do {
        uint32_t block = at / BLOCK;
        next = t->next[block];
        if (next != NONE)
            prefetch_block(t, next);
        for (uint32_t end = next == NONE ? chain.to : (block + 1) * BLOCK; at < end; at++) {
            struct entry e = t->pool[at];
            if (any_stale && trie_is_stale(t, &e)) {
                t->used--;
                t->stale--;
            } else {
                trie_append(t, trie_slot_of(t, e.key), e);
            }
        }
        give_block(t, block);
        at = next * BLOCK;
    } while (next != NONE);
}

/* The width of a level whose slots will get FILL entries, more or less, from this one. */
static uint32_t width_for(const struct trie *t, uint32_t i)
{
    uint32_t width = WIDTH_MIN, entries = 0;

    for (uint32_t block = t->slots[i].from / BLOCK; block != NONE && width < WIDTH_MAX; block = t->next[block]) {
        entries += BLOCK;
        if (entries >> width > FILL)
            width++;
    }
    return width;
}

/* Where to lead the path in the slot: to its start, so that nothing is left of it; or to what it is full of. */
static uint64_t path_into(const struct trie *t, uint32_t i)
{
    uint32_t from = t->slots[i].from;
    uint64_t key = t->pool[from].key;

    return key == t->pool[trie_block_end(t, i, from) - 1].key ? key : trie_start_of(t, i);
}

void trie_split(struct trie *t, uint32_t i)
{
    uint32_t level = i / LEVEL_SLOTS, lowest;

    t->path = path_into(t, i);
    t->behind = 0;
    while ((lowest = lowest_from(t, 0)) < level * LEVEL_SLOTS)
        trie_scatter(t, lowest); // to the slot of the old path, on this level
    shape(t, level - 1, t->shift[level], width_for(t, i));
    trie_scatter(t, i);
}
