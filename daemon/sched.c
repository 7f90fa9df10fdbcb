#include "sched.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FANOUT     4
#define NOT_QUEUED UINT32_MAX

/* A deadline in the heap; `order` grows with every sched_set(), so that equal deadlines keep their order. */
struct entry {
    int64_t due;
    uint64_t order;
    uint32_t handle;
};

struct sched {
    struct entry *heap;
    uint32_t *place; // place[handle]: its index in heap, or NOT_QUEUED
    uint32_t n;
    uint32_t reserved;
    uint64_t order;
};

struct sched *sched_new(void)
{
    return calloc(1, sizeof(struct sched));
}

void sched_free(struct sched *s)
{
    if (s == NULL)
        return;
    free(s->heap);
    free(s->place);
    free(s);
}

int sched_reserve(struct sched *s, uint32_t n)
{
    if (n <= s->reserved)
        return 0;
    if (n < s->reserved + s->reserved / 2) // grow by half at least: adding stays linear
        n = s->reserved + s->reserved / 2;

    struct entry *heap = reallocarray(s->heap, n, sizeof *heap);
    if (heap == NULL)
        return -ENOMEM;
    s->heap = heap;
    uint32_t *place = reallocarray(s->place, n, sizeof *place);
    if (place == NULL)
        return -ENOMEM;
    s->place = place;
    for (uint32_t i = s->reserved; i < n; i++)
        place[i] = NOT_QUEUED;
    s->reserved = n;
    return 0;
}

static bool before(const struct entry *a, const struct entry *b)
{
    return a->due < b->due || (a->due == b->due && a->order < b->order);
}

static void put(struct sched *s, uint32_t i, struct entry e)
{
    s->heap[i] = e;
    s->place[e.handle] = i;
}

/* Find the place for `e`, starting from the free place i and going up. */
static void sift_up(struct sched *s, uint32_t i, struct entry e)
{
    while (i > 0) {
        uint32_t parent = (i - 1) / FANOUT;
        if (!before(&e, &s->heap[parent]))
            break;
        put(s, i, s->heap[parent]);
        i = parent;
    }
    put(s, i, e);
}

static void sift_down(struct sched *s, uint32_t i, struct entry e)
{
    for (;;) {
        uint64_t first = (uint64_t)i * FANOUT + 1;
        if (first >= s->n)
            break;
        uint32_t least = (uint32_t)first;
        for (uint32_t child = least + 1; child < s->n && child < first + FANOUT; child++)
            if (before(&s->heap[child], &s->heap[least]))
                least = child;
        if (!before(&s->heap[least], &e))
            break;
        put(s, i, s->heap[least]);
        i = least;
    }
    put(s, i, e);
}

/* The place i is free or outdated: put `e` where it belongs. */
static void settle(struct sched *s, uint32_t i, struct entry e)
{
    if (i > 0 && before(&e, &s->heap[(i - 1) / FANOUT]))
        sift_up(s, i, e);
    else
        sift_down(s, i, e);
}

void sched_set(struct sched *s, uint32_t handle, int64_t due)
{
    struct entry e = {due, s->order++, handle};

    if (s->place[handle] == NOT_QUEUED)
        sift_up(s, s->n++, e);
    else
        settle(s, s->place[handle], e);
}

void sched_cancel(struct sched *s, uint32_t handle)
{
    if (handle >= s->reserved || s->place[handle] == NOT_QUEUED)
        return;
    uint32_t i = s->place[handle];
    s->place[handle] = NOT_QUEUED;
    struct entry last = s->heap[--s->n];
    if (i < s->n)
        settle(s, i, last);
}

bool sched_next(const struct sched *s, int64_t *due, uint32_t *handle)
{
    if (s->n == 0)
        return false;
    if (due != NULL)
        *due = s->heap[0].due;
    if (handle != NULL)
        *handle = s->heap[0].handle;
    return true;
}

bool sched_pop_due(struct sched *s, int64_t now, uint32_t *handle)
{
    if (s->n == 0 || s->heap[0].due > now)
        return false;
    *handle = s->heap[0].handle;
    sched_cancel(s, *handle);
    return true;
}

size_t sched_count(const struct sched *s)
{
    return s->n;
}
