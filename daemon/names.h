/*
 * names - finds a job by its name: a hash table that holds pointers to jobs that jobs.c owns. Pure.
 *
 * The hash is SipHash-2-4 with a secret seed (Aumasson and Bernstein, "SipHash: a fast short-input PRF"), since the
 * names come from users: nobody can choose names that all fall into one place.
 */
#ifndef TWISTY_NAMES_H
#define TWISTY_NAMES_H

#include "job.h"

struct names;

/* NULL when there is no memory. */
struct names *names_new(const uint64_t seed[2]);
void names_free(struct names *names);

/* Make room for `n` names in all, so that names_put() cannot fail. 0 or -ENOMEM. */
int names_reserve(struct names *names, size_t n);

/* The job of this name, or NULL. */
struct job *names_get(const struct names *names, const char *name);

/* Let the job have its name (job->spec.name); returns the job that had it before, or NULL. */
struct job *names_put(struct names *names, struct job *job);

/* Free the job's name, if it is the one that has it. Before the name's memory goes. */
void names_drop(struct names *names, const struct job *job);

#endif
