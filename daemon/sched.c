/*
 * All deadlines are entries in a trie (trie.h), whose first slot is the only one that is ever looked into.
 *
 * - If it has one block, or is an instant, it can be `open`: sorted, so that entries are taken from its front and new
 *   ones go to their place. It is open only as long as it is the first.
 * - If it has more it is split, when its time has come.
 *
 * When is the next deadline? If the first slot can be open: its first entry. But a big one is not split before its
 * time, lest a million far deadlines go down, and up again when near ones come. It is searched, and the answer is kept
 * (`peek`). Only when that one was cancelled is the slot split, so that to cancel a million deadlines from the first to
 * the last searches ever smaller slots.
 *
 * To cancel, no entry is looked for. It has the stamp that its handle had when it was set, and is stale when the handle
 * has another. Stale entries go when they come to the front, when their slot is split, and when there are as many as
 * there is room for: a quarter of the handles. Then slots are swept, each in its turn, until there is some room again.
 * A million cancelled deadlines cost a few looks at each entry, and no sweep at all if they come to the front before.
 */
#include "sched.h"

#include "trie.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HANDLES_MAX (UINT32_C(1) << 30) // places in the trie's pool are numbers of 32 bits
#define QUEUED      UINT32_C(1)         // in a stamp: the handle has a deadline
#define LAST_STAMPS (UINT32_MAX - 2)    // this one and UINT32_MAX
#define ROUGH_BITS  10                  // of a key, beside the 5 that number the entries of a block

struct sched {
    uint32_t open;     // the first slot, sorted; or NONE
    uint32_t *stamps;  // of handles
    uint32_t reserved; // handles
    uint32_t room;     // for entries
    uint32_t broom;    // the slot that was swept last
    struct {
        uint32_t slot;      // that was searched, or NONE
        uint32_t last;      // the last place that was looked at
        struct entry first; // what was found; stamp 0: nothing
    } peek;
    struct trie trie;
};

/* Times as unsigned numbers, in the same order. */
static uint64_t to_key(int64_t due)
{
    return (uint64_t)due ^ UINT64_C(1) << 63;
}

static int64_t to_due(uint64_t key)
{
    return (int64_t)(key ^ UINT64_C(1) << 63);
}

struct sched *sched_new(void)
{
    struct sched *s = calloc(1, sizeof *s);

    if (s == NULL)
        return NULL;
    s->open = NONE;
    s->peek.slot = NONE;
    trie_init(&s->trie, to_key(0));
    return s;
}

void sched_free(struct sched *s)
{
    if (s == NULL)
        return;
    trie_fini(&s->trie);
    free(s->stamps);
    free(s);
}

int sched_reserve(struct sched *s, uint32_t n)
{
    if (n <= s->reserved)
        return 0;
    if (n > HANDLES_MAX)
        return -ENOMEM;
    if (n < s->reserved + s->reserved / 4) // grow by a quarter at least: adding stays linear
        n = s->reserved + s->reserved / 4;
    uint32_t room = n + n / 4 + BLOCK;

    uint32_t *stamps = reallocarray(s->stamps, n, sizeof *stamps);
    if (stamps == NULL)
        return -ENOMEM;
    s->stamps = stamps;
    s->trie.stamps = stamps;
    int r = trie_reserve(&s->trie, room);
    if (r < 0)
        return r;
    memset(stamps + s->reserved, 0, (n - s->reserved) * sizeof *stamps);
    s->reserved = n;
    s->room = room;
    return 0;
}

/* For sort(): numbers that the compiler compares all at once. */
#define LANES 8
typedef int16_t lanes __attribute__((vector_size(LANES * sizeof(int16_t))));

/*
 * Sort the entries of one block, whose keys differ in the lowest `bits` bits at most; equal ones stay in their order.
 *
 * First by the highest of these bits, as many as go into a lane with the entry's number, so that no two are equal. The
 * place of each is the number of those before it. This is counted: branches on random keys cost more. What is left to
 * insertion is those that are very near to each other.
 */
static void sort(struct entry *entries, uint32_t n, uint32_t bits)
{
    uint32_t left_out = bits > ROUGH_BITS ? bits - ROUGH_BITS : 0;
    struct entry sorted[BLOCK];
    union {
        int16_t of[BLOCK];
        lanes lanes[BLOCK / LANES];
    } rough, place;

    for (uint32_t i = 0; i < n; i++)
        rough.of[i] = (int16_t)((entries[i].key >> left_out & ((1 << ROUGH_BITS) - 1)) * BLOCK + i);
    for (uint32_t l = 0; l * LANES < n; l++) {
        lanes before = {0};
        for (uint32_t i = 0; i < n; i++)
            before -= rough.lanes[l] > rough.of[i];
        place.lanes[l] = before;
    }
    for (uint32_t i = 0; i < n; i++)
        sorted[place.of[i]] = entries[i];
    for (uint32_t i = 0; i < n; i++) {
        struct entry e = sorted[i];
        uint32_t at = i;
        for (; at > 0 && entries[at - 1].key > e.key; at--)
            entries[at] = entries[at - 1];
        entries[at] = e;
    }
}

static bool can_open(const struct sched *s, uint32_t i)
{
    const struct trie *t = &s->trie;

    return trie_is_instant(t, i) || t->next[t->slots[i].from / BLOCK] == NONE;
}

static void open_slot(struct sched *s, uint32_t i)
{
    struct trie *t = &s->trie;
    struct slot slot = t->slots[i];

    s->open = i;
    if (trie_is_instant(t, i))
        return;
    for (uint32_t at = slot.from; at < slot.to; at++) // they will be asked for when the entries are taken
        __builtin_prefetch(&s->stamps[t->pool[at].handle], 1);
    sort(&t->pool[slot.from], slot.to - slot.from, t->shift[i / LEVEL_SLOTS]);
}

static void split_slot(struct sched *s, uint32_t i)
{
    s->peek.slot = NONE;
    trie_split(&s->trie, i);
}

/* Done with the entries of the open slot that come before `at`. */
static void drop(struct sched *s, uint32_t at)
{
    trie_drop(&s->trie, s->open, at);
    if (s->trie.slots[s->open].to == 0)
        s->open = NONE;
}

/* The first entry of the open slot that is not stale; NULL when none is open, or no more. */
static const struct entry *front(struct sched *s)
{
    while (s->open != NONE) {
        uint32_t at = s->trie.slots[s->open].from;
        if (!trie_is_stale(&s->trie, &s->trie.pool[at]))
            return &s->trie.pool[at];
        s->trie.stale--;
        drop(s, at + 1);
    }
    return NULL;
}

static void look_at(struct sched *s, const struct entry *e)
{
    struct entry *first = &s->peek.first;

    if ((e->key < first->key || first->stamp == 0) && !trie_is_stale(&s->trie, e))
        *first = *e;
}

/* The first entry of a slot that is not opened; NULL when it was cancelled. Looks at what has come since last time. */
static const struct entry *look_into(struct sched *s, uint32_t i)
{
    const struct trie *t = &s->trie;
    uint32_t at = s->peek.last;

    if (s->peek.slot != i) {
        s->peek.slot = i;
        s->peek.first.stamp = 0;
        at = t->slots[i].from;
        look_at(s, &t->pool[at]);
    }
    while (at + 1 != t->slots[i].to) {
        at = (at + 1) % BLOCK != 0 ? at + 1 : t->next[at / BLOCK] * BLOCK;
        look_at(s, &t->pool[at]);
    }
    s->peek.last = at;
    return s->peek.first.stamp != 0 && !trie_is_stale(t, &s->peek.first) ? &s->peek.first : NULL;
}

/* Drop stale entries until no more than `enough` entries are left, or no stale ones. */
__attribute__((noinline)) static void sweep(struct sched *s, uint32_t enough)
{
    s->open = NONE;
    s->peek.slot = NONE;
    for (uint32_t n = 0; n < SLOTS && s->trie.used > enough; n++) {
        s->broom = (s->broom + 1) % SLOTS;
        if (s->trie.slots[s->broom].to != 0)
            trie_scatter(&s->trie, s->broom); // what is left comes back to the same slot
    }
}

/* A new entry for the open slot. It stays sorted, or is not open any more, if its block is full. */
__attribute__((noinline)) static void insert_open(struct sched *s, struct entry e)
{
    struct trie *t = &s->trie;
    struct slot *slot = &t->slots[s->open];
    uint32_t start = slot->from / BLOCK * BLOCK, n = slot->to - slot->from, i = s->open;

    if (!trie_is_instant(t, i) && slot->to % BLOCK == 0 && slot->from != start) {
        memmove(&t->pool[start], &t->pool[slot->from], n * sizeof e);
        *slot = (struct slot){start, start + n};
    }
    if (!trie_is_instant(t, i) && slot->to % BLOCK == 0)
        s->open = NONE;
    if (s->open == NONE || trie_is_instant(t, i)) {
        trie_append(t, i, e);
        return;
    }
    uint32_t at = slot->to++;
    for (; at > slot->from && t->pool[at - 1].key > e.key; at--)
        t->pool[at] = t->pool[at - 1];
    t->pool[at] = e;
}

/*
 * After the last stamp of a handle comes the first again, when no entry with an old one may be left. A sweep leaves the
 * one that the handle has just now, hence the two sweeps: that of the last stamp but one drops what the last one left
 * in the round before.
 */
void sched_set(struct sched *s, uint32_t handle, int64_t due)
{
    struct trie *t = &s->trie;
    uint32_t stamp = (s->stamps[handle] + 1) | QUEUED;
    struct entry e = {to_key(due), handle, stamp};
    uint32_t i = trie_slot_of(t, e.key);

    t->stale += s->stamps[handle] & QUEUED;
    t->used++;
    s->stamps[handle] = stamp;
    if (i == s->open) {
        insert_open(s, e);
    } else {
        if (s->open != NONE && e.key < t->pool[t->slots[s->open].from].key)
            s->open = NONE;
        trie_append(t, i, e);
    }
    if (t->used == s->room || stamp >= LAST_STAMPS)
        sweep(s, stamp >= LAST_STAMPS ? 0 : s->room - (s->room - s->reserved) / 8);
}

void sched_cancel(struct sched *s, uint32_t handle)
{
    if (handle >= s->reserved || (s->stamps[handle] & QUEUED) == 0)
        return;
    s->stamps[handle]++;
    s->trie.stale++;
}

bool sched_next(struct sched *s, int64_t *due, uint32_t *handle)
{
    const struct entry *e;

    while ((e = front(s)) == NULL) {
        uint32_t i = trie_first(&s->trie);
        if (i == NONE)
            return false;
        if (can_open(s, i))
            open_slot(s, i);
        else if ((e = look_into(s, i)) != NULL)
            break;
        else
            split_slot(s, i);
    }
    if (due != NULL)
        *due = to_due(e->key);
    if (handle != NULL)
        *handle = e->handle;
    return true;
}

/* Open or split the first slot; false if its time has not come. */
static bool unfold(struct sched *s, uint64_t now)
{
    uint32_t i = trie_first(&s->trie);

    if (i == NONE || trie_start_of(&s->trie, i) > now)
        return false;
    if (can_open(s, i))
        open_slot(s, i);
    else
        split_slot(s, i);
    return true;
}

/* Take what is due from the first block of the open slot. */
static size_t pop_open(struct sched *s, uint64_t now, uint32_t *handles, size_t max)
{
    struct trie *t = &s->trie;
    uint32_t at = t->slots[s->open].from, end = trie_block_end(t, s->open, at);
    size_t n = 0;

    for (; at < end && n < max && t->pool[at].key <= now; at++) {
        const struct entry *e = &t->pool[at];
        if (trie_is_stale(t, e)) {
            t->stale--;
            continue;
        }
        s->stamps[e->handle]++;
        handles[n++] = e->handle;
    }
    drop(s, at);
    return n;
}

size_t sched_pop_due_many(struct sched *s, int64_t now, uint32_t *handles, size_t max)
{
    uint64_t key = to_key(now);
    size_t n = 0;

    while (n < max) {
        if (s->open == NONE) {
            if (!unfold(s, key))
                break;
        } else if (s->trie.pool[s->trie.slots[s->open].from].key <= key) {
            n += pop_open(s, key, handles + n, max - n);
        } else {
            break;
        }
    }
    return n;
}

bool sched_pop_due(struct sched *s, int64_t now, uint32_t *handle)
{
    return sched_pop_due_many(s, now, handle, 1) == 1;
}

size_t sched_count(const struct sched *s)
{
    return s->trie.used - s->trie.stale;
}
