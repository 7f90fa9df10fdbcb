/*
 * jobs - all the jobs of the daemon: names, ids, globs, the due ones run in slices, and when everything is done.
 *
 * Pure: time is a parameter. Owns every struct job; memory of jobs that went is kept for those that come. A job pointer
 * stays valid until the job is removed; whoever keeps one for longer drops it in hooks.removed. Names are unique among
 * all listed jobs; a new job takes over the name of an ended one, whose record then goes.
 */
#ifndef TWISTY_JOBS_H
#define TWISTY_JOBS_H

#include "job.h"

#include <sys/queue.h>

struct jobs;

/* How jobs.c tells what happens. Hooks must not add, remove or control jobs. */
struct jobs_hooks {
    void (*event)(void *ctx, struct job *job, const struct job_event *ev);
    void (*changed)(void *ctx, struct job *job); // its schedule has, and that is no event
    void (*removed)(void *ctx, struct job *job); // the last that is heard of this pointer
    void *ctx;
};

struct jobs_config {
    uint32_t max_jobs;   // listed at one time, ended ones included
    uint32_t keep_ended; // older ended ones than this many are removed
    uint64_t seed[2];    // for hashing names; random in production, against collisions made on purpose
};

/* NULL when there is no memory. */
struct jobs *jobs_new(const struct jobs_config *config, const struct jobs_hooks *hooks);

/* Frees every job; hooks.removed is called for each. */
void jobs_free(struct jobs *jobs);

/* New limits, for what comes. */
void jobs_configure(struct jobs *jobs, uint32_t max_jobs, uint32_t keep_ended);

/* The bound on listed jobs that is in force. */
uint32_t jobs_max(const struct jobs *jobs);

/*
 * Remove the oldest ended jobs over keep_ended, some at a time: true when more are left. Apart, so that a step never
 * frees the job it was made on.
 */
bool jobs_trim(struct jobs *jobs);

enum jobs_add_mode {
    ADD_NEW,       // a live job of the same name is an error
    ADD_IF_ABSENT, // ... is left as it is, and returned
    ADD_REPLACE,   // ... is stopped and replaced
    ADD_OR_RESET,  // ... or an ended one is reset if it was asked for the same, else it is replaced
};

struct jobs_add {
    const struct job_spec *specs; // borrowed for the call
    size_t n;
    size_t leaving; // live jobs that the caller removes next: they do not count against max_jobs
    enum jobs_add_mode mode;
    enum job_source source;
    uid_t owner;
};

/*
 * Add a batch, all or nothing. On success jobs_out[i], where the caller gives an array of n, is the job of specs[i].
 * -EEXIST: *failed is the index of the spec whose name is taken (as the mode sees it), or new twice in the batch;
 * -ENOSPC: over max_jobs, even without the ended ones, of which the oldest give way; -ENOMEM. A job starts at `now`;
 * its first tick comes with jobs_run_due(), never from here.
 */
int jobs_add(struct jobs *jobs, const struct jobs_add *add, int64_t now, struct job **jobs_out, size_t *failed);

/* A job of an earlier process. */
struct jobs_kept {
    const struct job_spec *spec; // with its name
    const struct job_life *life;
    uint64_t id; // in their order: larger than any before
    uid_t owner;
    enum job_source source;
};

/*
 * Take up a job where it was, without an event: see job_take_up(). 0 with *out; -EEXIST: its name or id is taken;
 * -ENOMEM. Bounds do not hold for it.
 */
int jobs_take_up(struct jobs *jobs, const struct jobs_kept *kept, int64_t done, int64_t now, struct job **out);

/* The id that the next job gets; it can be made larger. */
uint64_t jobs_next_id(const struct jobs *jobs);
void jobs_begin_ids_at(struct jobs *jobs, uint64_t id);

/* By exact name; NULL when there is none. */
struct job *jobs_find(const struct jobs *jobs, const char *name);

/* Steps on one job: as job_pause() and the like, with the schedule kept right and the event told. */
int jobs_pause(struct jobs *jobs, struct job *job, int64_t now);
int jobs_resume(struct jobs *jobs, struct job *job, int64_t now);
void jobs_reset(struct jobs *jobs, struct job *job, int64_t now);
int jobs_stop(struct jobs *jobs, struct job *job, int64_t now, const char *why);
int jobs_fail(struct jobs *jobs, struct job *job, int64_t now, const char *why);

/* As job_release(); what is no event is told as a change. */
void jobs_release(struct jobs *jobs, struct job *job, int64_t start, int64_t now);

/* Forget the job; a live one is stopped first. The pointer is dead afterwards. */
void jobs_remove(struct jobs *jobs, struct job *job, int64_t now, const char *why);

/* When the next job is due and which; false when none will ever be. Either pointer may be NULL. */
bool jobs_next_due(const struct jobs *jobs, int64_t *due, struct job **job);

/* Run jobs that are due at `now`, at most `max` steps of one job each. Returns the number of steps. */
size_t jobs_run_due(struct jobs *jobs, int64_t now, size_t max);

/*
 * Walk the jobs in the order of their ids while they come and go. A cursor is the caller's memory; between begin and
 * end the jobs know of it, and a removed job never leaves it dangling. Jobs added after the beginning are not seen.
 */
struct jobs_cursor {
    struct jobs *jobs;
    const struct job_list *list;  // what it walks on; jobs.c's
    struct job *next;             // what jobs_next() will return
    uint64_t end;                 // ids from here on came later
    LIST_ENTRY(jobs_cursor) link; // jobs::cursors
};

void jobs_begin(struct jobs *jobs, struct jobs_cursor *cursor);
struct job *jobs_next(struct jobs_cursor *cursor);
void jobs_end(struct jobs_cursor *cursor);

/* The same for those that have ended, the first to end first; those that end meanwhile may be seen. */
void jobs_begin_ended(struct jobs *jobs, struct jobs_cursor *cursor);

/* Of all ended jobs, this is the one that ended last. */
void jobs_note_end(struct jobs *jobs, struct job *job);

/* The listed name nearest to `wanted`, or NULL; looks at a bounded number of jobs. */
const char *jobs_nearest(const struct jobs *jobs, const char *wanted);

struct jobs_counts {
    uint32_t listed;     // all that jobs_begin() walks
    uint32_t live;       // not ended
    uint32_t foreground; // live and not background: what exit-when-done waits for
    uint32_t paused;
    uint64_t ever;   // added since the start
    uint64_t ticks;  // given since the start
    uint64_t missed; // missed since the start
};

void jobs_counts(const struct jobs *jobs, struct jobs_counts *out);

/* Were there jobs that are not background, and have all of these ended? */
bool jobs_done(const struct jobs *jobs);

#endif
