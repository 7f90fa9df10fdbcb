/*
 * sched - deadlines in order.
 *
 * Pure: it knows no clock; the caller says what time it is. It holds at most one deadline for each handle; handles
 * are small integers that the caller gives out (jobs.c uses its slot numbers), so the cost of memory goes with the
 * largest handle in use. Deadlines that are equal come out in the order in which they were set.
 *
 * A 4-ary heap with back-references: set, cancel and pop are O(log n), next is O(1).
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

/* The earliest deadline and whose it is; false when there is none. Either pointer may be NULL. */
bool sched_next(const struct sched *s, int64_t *due, uint32_t *handle);

/* Take out the earliest deadline if it is due at `now`; false when none is. */
bool sched_pop_due(struct sched *s, int64_t now, uint32_t *handle);

size_t sched_count(const struct sched *s);

#endif
