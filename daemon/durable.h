/*
 * durable - which jobs are kept over a restart, when they are written, and how they come back.
 *
 * Kept are the jobs that were added over the socket and are not transient, and configured ones that are to resume. A
 * job is written when its schedule changes: when it is added, paused, resumed, reset or missed ticks, when it ends and
 * when it is forgotten; never for a tick, since what was due by the stamp (stamp.h) follows from the schedule. All that
 * happens in one turn of the loop is one submission to the store, and has one sequence number.
 *
 * Without a state file there is no struct durable; all functions take NULL for that.
 */
#ifndef TWISTY_DURABLE_H
#define TWISTY_DURABLE_H

#include "jobs.h"
#include "loop.h"
#include "report.h"
#include "settings.h"

struct durable;

/* Called from the loop. */
struct durable_hooks {
    /* All up to this sequence number is on the disk, or with an `error`, which is valid during the call, is not. */
    void (*done)(void *ctx, uint64_t upto, const char *error);
    void *ctx;
};

/*
 * Open the state file and take up the jobs that are in it. What there is to say of it is reported. 0 or negative
 * errno; then `why` has a line for the user. Everything else is borrowed, and stays until durable_close().
 */
int durable_open(const char *path, enum loop_clock clock, struct jobs *jobs, const struct loop *loop,
                 struct report *report, const struct durable_hooks *hooks, struct durable **out, char *why,
                 size_t size);

/*
 * Write what is still to be written, for at most `wait_ms`, telling hooks.done of it; from then on jobs may be stopped
 * and removed without any of it being kept.
 */
void durable_close(struct durable *d, int wait_ms);

/* How many jobs were taken up that had not ended. */
uint64_t durable_restored(const struct durable *d);

/* For struct jobs_hooks. */
void durable_event(struct durable *d, const struct job *job, const struct job_event *ev);
void durable_changed(struct durable *d, const struct job *job);
void durable_removed(struct durable *d, const struct job *job);

/* What is due at `now` is about to be done; and as much as had its turn has been done. */
void durable_begin_step(struct durable *d, int64_t now);
void durable_end_step(struct durable *d, int64_t now);

/*
 * The file is being renewed, and wants jobs, or new ones could not be kept, and are to go: some of that, a fraction of
 * a millisecond's worth.
 */
bool durable_busy(const struct durable *d);
void durable_work(struct durable *d);

/* A turn of the loop is over: what it changed is to be kept. */
void durable_submit(struct durable *d);

/* The sequence number of what this turn has changed so far; 0 when that is nothing to be kept. */
uint64_t durable_sequence(const struct durable *d);

/* The same, or else that of what was changed before and is not on the disk yet. */
uint64_t durable_sequence_so_far(const struct durable *d);

/* Has this turn changed anything but added new jobs for users? If these cannot be kept they are removed again. */
bool durable_in_force(const struct durable *d);

/* Why nothing can be kept for now; NULL when it can. */
const char *durable_degraded(const struct durable *d);

/* Does so much wait for the disk that clients have to wait as well? */
bool durable_is_full(const struct durable *d);

/* The state file; NULL without one. */
const char *durable_path(const struct durable *d);

#endif
