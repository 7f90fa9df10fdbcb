/*
 * chain - jobs that wait for one another: a chain must end, and not too far away.
 *
 * Pure. Each job waits for one other at most, so that who waits for whom is a path. Whoever knows the jobs says what
 * stands next on it.
 */
#ifndef TWISTY_CHAIN_H
#define TWISTY_CHAIN_H

#include <stddef.h>

/* The jobs of a chain, at most. */
#define CHAIN_MAX 100

/* Enough for a path that shows where it comes back. */
#define CHAIN_PATH_MAX 200

/*
 * Follow the path from `start`; next() gives the job that one waits for, or NULL, as a name that stays valid. 0: it
 * ends. -ELOOP: it comes back to `start`, and `path` says how: "a -> b -> a", with the middle left out if it does not
 * fit. -E2BIG: it goes on for more than CHAIN_MAX jobs. A circle that `start` only leads to is none of its own: 0.
 */
int chain_check(const char *start, const char *(*next)(void *ctx, const char *name), void *ctx, char *path,
                size_t size);

#endif
