/*
 * walk - does one thing to all the jobs that a call names, in slices, while ticks go on.
 *
 * A call that changes something checks everything first (each name is a job, each glob fits one, the caller may), and
 * only then begins: it is done whole or not at all. Names are looked up; only globs look at every job.
 */
#ifndef TWISTY_WALK_H
#define TWISTY_WALK_H

#include "jobs.h"
#include "wire.h"

enum walk_action { WALK_LIST, WALK_STOP, WALK_PAUSE, WALK_RESUME, WALK_RESET, WALK_REMOVE };

/* Bounds of one call. */
#define WALK_MATCHES_MAX   1000 // names and globs
#define WALK_MATCH_LEN_MAX 64   // bytes of each; no name is as long
#define WALK_GLOBS_MAX     16   // globs: each is tried on every job
#define WALK_ONE_REPLY_MAX 1000 // jobs in a reply that is not sliced

struct walk_request {
    enum walk_action action;
    struct text_list match; // names and globs, the walk's from then on; empty: every job (only WALK_LIST)
    bool all;               // WALK_LIST: ended ones too
    bool ended_only;        // WALK_REMOVE
    unsigned states;        // WALK_LIST: a bit for each enum job_state wanted; 0: any
    bool sliced;            // several replies may be sent
    bool privileged;        // may change any job; else only those of `owner`
    uid_t owner;
};

/* Why a walk ended early. */
struct walk_error {
    const char *name;     // -ENOENT: the name or glob; -ESRCH, -EPERM: the job; valid until the walk is freed
    enum job_state state; // -ESRCH
    const char *limit;    // -E2BIG
    int value;
};

struct walk;

/*
 * Append the names and globs of a call, an array of strings or absent. 0; -E2BIG: over a bound; -ENOMEM; and with an
 * error some of them may be there already.
 */
int walk_read_match(struct skim_value match, struct text_list *out, struct walk_error *error);

/*
 * 0; -ENOENT: no job has this name, and *out is set as well but only good for walk_free(): what *error points to lives
 * in it; -ENOMEM.
 */
int walk_new(struct jobs *jobs, struct walk_request *request, struct walk **out, struct walk_error *error);
void walk_free(struct walk *walk);

/* Is it to change jobs? */
bool walk_changes(const struct walk *walk);

/* Has it begun to? Then it has to go on to its end. */
bool walk_has_begun(const struct walk *walk);

enum walk_progress {
    WALK_AGAIN, // a slice of work is done, nothing is to be sent yet
    WALK_SLICE, // what was found is to be sent, there is more
    WALK_DONE,  // what was found is to be sent, it is the last
};

/*
 * Go on for one slice, about a millisecond, and emit the jobs into `found`, an open array; NULL: nobody wants to know.
 * Returns an enum walk_progress; or, with nothing done to any job, -ENOENT, -ESRCH: that job has ended, -EPERM, -E2BIG.
 */
int walk_step(struct walk *walk, const struct wire_clock *clock, struct emit *found, struct walk_error *error);

#endif
