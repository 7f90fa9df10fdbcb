/*
 * traits - what jobs have in common, kept once.
 *
 * Pure. Of what users ask most is the same for many jobs; each job has only its name, its interval and its delay for
 * itself (job.h). The rest is a struct traits, which all jobs that ask the same share. It is counted, never changes,
 * and is found again by what it says. A million jobs that all ask something else still work, and each costs more.
 *
 * A new key of struct job_spec is here without a line: spec_equal(), spec_copy() and spec_clear() know it. One in which
 * many jobs differ should also go into the hash in traits.c.
 */
#ifndef TWISTY_TRAITS_H
#define TWISTY_TRAITS_H

#include "spec.h"

struct traits_pool;

struct traits {
    struct job_spec spec; // without name, delay and rate.ns
    struct traits_pool *pool;
    uint32_t number; // in the pool
    uint32_t hash;
    uint32_t uses;
};

/* The seed is for hashing: see table_hash(). NULL when there is no memory. */
struct traits_pool *traits_pool_new(const uint64_t seed[2]);

/* All traits must have been let go. */
void traits_pool_free(struct traits_pool *pool);

/* The traits of a job that is to be as `spec` says, which is read only. NULL when there is no memory. */
const struct traits *traits_take(struct traits_pool *pool, const struct job_spec *spec);

/* One user less. Takes NULL. */
void traits_drop(const struct traits *traits);

#endif
