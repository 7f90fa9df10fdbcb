/*
 * random - numbers for property tests: the same ones in every run, and others with TEST_SEED=N.
 *
 * splitmix64, after Steele, Lea and Flood, "Fast splittable pseudorandom number generators".
 */
#ifndef TWISTY_TESTS_RANDOM_H
#define TWISTY_TESTS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

struct random {
    uint64_t state;
};

static inline struct random random_start(uint64_t salt)
{
    const char *seed = getenv("TEST_SEED");

    return (struct random){(seed == NULL ? 1 : strtoull(seed, NULL, 10)) * UINT64_C(0x100000001b3) + salt};
}

static inline uint64_t random_u64(struct random *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* In [0, n). */
static inline uint64_t random_below(struct random *r, uint64_t n)
{
    return random_u64(r) % n;
}

/* In [low, high]. */
static inline int64_t random_between(struct random *r, int64_t low, int64_t high)
{
    return low + (int64_t)random_below(r, (uint64_t)(high - low) + 1);
}

/* One time in n. */
static inline bool random_once_in(struct random *r, uint64_t n)
{
    return random_below(r, n) == 0;
}

/* In [1, max], each number of bits as likely as any other. */
static inline int64_t random_magnitude(struct random *r, int64_t max)
{
    int64_t value;

    do
        value = (int64_t)(random_u64(r) >> (1 + random_below(r, 63)));
    while (value < 1 || value > max);
    return value;
}

#endif
