#include "lateness.h"

#include <sys/param.h>

/* Buckets in each power of two, and the power of two that they are. */
#define PARTS     16
#define PART_BITS 4

/* How many of its low bits do not matter for the bucket: all but the first PART_BITS + 1. */
static unsigned shift_of(uint64_t value)
{
    unsigned bits = 64u - (unsigned)__builtin_clzll(value | 1);

    return bits > PART_BITS + 1 ? bits - PART_BITS - 1 : 0;
}

static unsigned bucket_of(uint64_t value)
{
    unsigned shift = shift_of(value);

    return shift * PARTS + (unsigned)(value >> shift);
}

/* The least value of a bucket, and the width of it. */
static uint64_t bucket_begin(unsigned bucket, uint64_t *width)
{
    unsigned shift = bucket < 2 * PARTS ? 0 : bucket / PARTS - 1;

    *width = UINT64_C(1) << shift;
    return (uint64_t)(bucket - shift * PARTS) << shift;
}

void lateness_add(struct lateness *l, int64_t late)
{
    l->n++;
    l->max = MAX(l->max, late);
    l->buckets[bucket_of((uint64_t)late)]++;
}

/* The bucket of the rank is looked for from below. */
int64_t lateness_within(const struct lateness *l, unsigned percent)
{
    uint64_t rank = l->n / 100 * percent + (l->n % 100 * percent + 99) / 100, before = 0, width;
    unsigned bucket = 0;

    if (l->n == 0)
        return 0;
    rank = MAX(rank, 1);
    while (before + l->buckets[bucket] < rank)
        before += l->buckets[bucket++];
    int64_t begin = (int64_t)bucket_begin(bucket, &width);
    unsigned __int128 part = (unsigned __int128)(width - 1) * (rank - before) / l->buckets[bucket];
    return MIN(begin + (int64_t)part, l->max);
}
