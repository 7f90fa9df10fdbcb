/*
 * stamp - how far the daemon has come, in memory that outlives it: what was due by then has been done.
 *
 * Ticks are never written to a disk. So that a daemon which is killed knows after its restart which ticks it has given,
 * it keeps this one number in shared memory (shm_overview(7)): it costs a store to memory at each step, no system call,
 * and waits for nothing. It is gone after a reboot, when the wall clock has to do.
 */
#ifndef TWISTY_STAMP_H
#define TWISTY_STAMP_H

#include <stdbool.h>
#include <stdint.h>

struct stamp;

/*
 * The stamp that belongs to this state file, by this clock. Without shared memory it is as new each time. NULL when
 * there is no memory.
 */
struct stamp *stamp_open(const char *path, const char *clock);

/* forget: it is not needed any more. Takes NULL. */
void stamp_close(struct stamp *stamp, bool forget);

/*
 * A name for this boot and this clock: while it is the same, times of the clock can be compared. At most 63 bytes.
 */
const char *stamp_boot(const struct stamp *stamp);

/* As it was set last, by whatever process; INT64_MIN when it never was. */
int64_t stamp_get(const struct stamp *stamp);

void stamp_set(struct stamp *stamp, int64_t when);

#endif
