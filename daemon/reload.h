/*
 * reload - what a new configuration changes: found by comparing it with the old one, and done to the jobs whole or not
 * at all. An unchanged job keeps its count and its phase; one that a user has stopped stays stopped.
 */
#ifndef TWISTY_RELOAD_H
#define TWISTY_RELOAD_H

#include "config.h"
#include "jobs.h"
#include "text.h"

/* Jobs of a configuration, in its order: pointers into it. */
struct reload_jobs {
    const struct job_spec **specs; // owned
    size_t n;
};

struct reload_plan {
    struct reload_jobs added;   // in the new one only
    struct reload_jobs changed; // in both, with something else asked of it: as in the new one
    struct reload_jobs removed; // in the old one only
    size_t unchanged;
};

/* What a reload did, in words for who asked. */
struct reload_result {
    struct text_list added, changed, removed; // names of jobs
    size_t unchanged;
    struct text_list restart_needed; // settings that changed, and that a running daemon cannot take over
    struct text_list mistakes;       // why it was refused
};

void reload_result_clear(struct reload_result *result);

/* Tell the plan, and the settings that differ from those `in_force`. 0 or -ENOMEM. */
int reload_describe(const struct reload_plan *plan, const struct daemon_settings *in_force,
                    const struct daemon_settings *wanted, struct reload_result *out);

/* Compare; `old` may be NULL: everything is new. 0 or -ENOMEM. */
int reload_compare(const struct config *old, const struct config *new, struct reload_plan *out);
void reload_plan_clear(struct reload_plan *plan);

/* The job that was added by other means under a name that the plan needs; NULL when there is none. */
const struct job *reload_conflict(const struct reload_plan *plan, const struct jobs *jobs);

/*
 * Do it: added and changed jobs start at `now`, removed ones are stopped and forgotten. 0; -ENOSPC: more than
 * max-jobs; -ENOMEM: nothing is done.
 */
int reload_apply(const struct reload_plan *plan, struct jobs *jobs, uid_t owner, int64_t now);

#endif
