/*
 * names - finds a job by its name: a table of the jobs in a slab that jobs.c owns. Pure.
 */
#ifndef TWISTY_NAMES_H
#define TWISTY_NAMES_H

#include "job.h"
#include "slab.h"

struct names;

/* The seed is for hashing: see table_hash(). The slab is borrowed. NULL when there is no memory. */
struct names *names_new(const uint64_t seed[2], const struct slab *jobs);
void names_free(struct names *names);

/* Make room for all jobs that the slab has room for, so that names_put() cannot fail. 0 or -ENOMEM. */
int names_reserve(struct names *names);

/* The job of this name, or NULL. */
struct job *names_get(const struct names *names, const char *name);

/* Let the job have its name; returns the job that had it before, or NULL. */
struct job *names_put(struct names *names, const struct job *job);

/* Free the job's name, if it has one and is the one that has it. */
void names_drop(struct names *names, const struct job *job);

#endif
