/*
 * lateness - how late things came: a histogram that answers which part of them came later than what.
 *
 * Pure; of a fixed size, and cheap enough for every tick. Below 32 ns each nanosecond has its bucket, and from there
 * on each power of two has sixteen of them, as in HdrHistogram: an answer is off by a sixteenth of itself at most.
 */
#ifndef TWISTY_LATENESS_H
#define TWISTY_LATENESS_H

#include <stdint.h>

#define LATENESS_BUCKETS 960

/* Zero-initialised is empty. */
struct lateness {
    uint64_t n;
    int64_t max; // nanoseconds, exactly
    uint64_t buckets[LATENESS_BUCKETS];
};

/* Take in one that came `late` nanoseconds late, 0 or more. */
void lateness_add(struct lateness *l, int64_t late);

/*
 * The time in nanoseconds within which `percent` of 100 came, which is in [0, 100]: between the two ends of a bucket
 * they are taken to lie evenly. 0 when there are none.
 */
int64_t lateness_within(const struct lateness *l, unsigned percent);

#endif
