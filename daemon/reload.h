/*
 * reload - what a new configuration changes: found by comparing it with the digest of the old one, and done to the jobs
 * whole or not at all. An unchanged job keeps its count and its phase; one that a user has stopped stays stopped.
 *
 * To compare takes as long as the configuration is, and needs nothing of the daemon: it may be done on another thread.
 * What has changed is checked, and then done, in slices, between which ticks go on. Whatever can refuse it is checked
 * before the first job is touched. A job that a user adds meanwhile under a name that is needed is replaced. Only for
 * lack of memory can it end in the middle: then the old digest is kept, and the next reload does it all again.
 */
#ifndef TWISTY_RELOAD_H
#define TWISTY_RELOAD_H

#include "config.h"
#include "digest.h"
#include "jobs.h"
#include "text.h"

/* Names that a result tells of each kind of change. */
#define RELOAD_NAMES_MAX 1000

enum reload_stage { RELOAD_CHECK, RELOAD_CHECK_REMOVED, RELOAD_ADD, RELOAD_REMOVE };

/* Zero-initialised is empty. */
struct reload_plan {
    const struct config *config;   // borrowed: the new one
    struct digest digest;          // of it
    const struct job_spec **specs; // owned: the added ones, then the changed ones, each in the order of the file
    size_t n_specs, n_added;
    struct digest removed; // names that the new one does not have
    size_t unchanged;
    enum reload_stage stage;     // how far reload_step() is
    size_t at;                   // in the specs
    struct digest_reader reader; // in the removed
    size_t more;                 // jobs that take no live one's place
    size_t leaving;              // live jobs that are going to be removed
    bool first;                  // of a start: jobs that came back from before give way
    const struct job *other;     // on -EEXIST: the job that a user added under a name that is needed
};

/* Compare. `old` is only read; `new` is borrowed for the life of the plan. 0 or -ENOMEM, with the plan empty. */
int reload_compare(const struct digest *old, const struct config *new, struct reload_plan *out);
void reload_plan_clear(struct reload_plan *plan);

/*
 * At a start, of a new plan: configured jobs that came back from before and are still to resume, as they are, stay and
 * are taken out of the plan; the others go. 0 or -ENOMEM, with nothing done.
 */
int reload_resume(struct reload_plan *plan, struct jobs *jobs, int64_t now);

/*
 * Do a slice of the plan, about a millisecond's worth, or all of a small one: added and changed jobs start at `now`,
 * removed ones are stopped and forgotten. 1: there is more; 0: it is done; with nothing done to any job -EEXIST, or
 * -ENOSPC: more than the new max-jobs; -ENOMEM.
 */
int reload_step(struct reload_plan *plan, struct jobs *jobs, uid_t owner, int64_t now);

/* What a reload did, in words for who asked. */
struct reload_result {
    struct text_list added, changed, removed; // names of jobs, the first RELOAD_NAMES_MAX of each
    size_t n_added, n_changed, n_removed, unchanged;
    struct text_list restart_needed; // settings that changed, and that a running daemon cannot take over
    struct text_list mistakes;       // why it was refused
};

/* Tell the plan, and the settings that differ from those `in_force`. 0 or -ENOMEM. */
int reload_describe(const struct reload_plan *plan, const struct daemon_settings *in_force,
                    const struct daemon_settings *wanted, struct reload_result *out);
void reload_result_clear(struct reload_result *result);

#endif
