/*
 * sched - deadlines in order.
 *
 * Pure: it knows no clock; the caller says what time it is. It holds at most one deadline for each handle; handles
 * are small integers that the caller gives out (jobs.c uses its slot numbers), so the cost of memory goes with the
 * largest handle in use: about 25 bytes for each that is reserved. Deadlines that are equal come out in the order in
 * which they were set.
 *
 * Setting, cancelling and taking out cost the same for ten deadlines and for a million, over the life of each; a
 * single call may put many in order.
 */
#ifndef TWISTY_SCHED_H
#define TWISTY_SCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sched;

/* NULL when there is no memory. */
struct sched *sched_new(void);
void sched_free(struct sched *s);

/* Make room for handles below `n`, so that sched_set() cannot fail for them. 0 or -ENOMEM. */
int sched_reserve(struct sched *s, uint32_t n);

/* Give `handle` the deadline `due`, instead of the one it may have. The handle must be within what is reserved. */
void sched_set(struct sched *s, uint32_t handle, int64_t due);

/* Take the handle's deadline away, if it has one. */
void sched_cancel(struct sched *s, uint32_t handle);

/* The earliest deadline and whose it is; false when there is none. Either pointer may be NULL. May sort to find it. */
bool sched_next(struct sched *s, int64_t *due, uint32_t *handle);

/* Take out the earliest deadline if it is due at `now`; false when none is. */
bool sched_pop_due(struct sched *s, int64_t now, uint32_t *handle);

/*
 * Take out the earliest deadlines that are due at `now`, at most `max`, in their order. Returns how many. None of these
 * handles has a deadline any more. For who would fetch the memory of them all before going on with the first; what is
 * set meanwhile comes with the next call, even if it is due before some of these.
 */
size_t sched_pop_due_many(struct sched *s, int64_t now, uint32_t *handles, size_t max);

size_t sched_count(const struct sched *s);

#endif
