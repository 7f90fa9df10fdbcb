#include "walk.h"

#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One slice: jobs looked at, and jobs acted on and told of, which costs more. */
#define SLICE_LOOKS 4096
#define SLICE_JOBS  64

enum fit { FITS_NOT, FITS_GLOB, FITS_NAME };

struct walk {
    struct jobs *jobs;
    struct walk_request request;
    bool checking;             // of the two rounds of a change, the first
    bool by_name;              // every match is a name: look them up, in their order
    size_t index;              // by_name: the next one
    struct jobs_cursor cursor; // else: where it is
    bool has_cursor;
    bool fitted[WALK_MATCHES_MAX]; // while checking: this glob fits a job
    size_t count;                  // jobs found so far in this round
    json_t *found;                 // an array of those not sent yet
};

static const char *match_at(const struct walk *walk, size_t i)
{
    return json_string_value(json_array_get(walk->request.match, i));
}

static void rewind_walk(struct walk *walk)
{
    if (walk->has_cursor)
        jobs_end(&walk->cursor);
    walk->has_cursor = !walk->by_name;
    if (walk->has_cursor)
        jobs_begin(walk->jobs, &walk->cursor);
    walk->index = 0;
    walk->count = 0;
}

/* Names must be jobs, and there must not be too many. */
static int check_matches(struct walk *walk, struct walk_error *error)
{
    size_t n = json_array_size(walk->request.match), globs = 0;

    if (n > WALK_MATCHES_MAX) {
        *error = (struct walk_error){.limit = "names and globs in one call", .value = WALK_MATCHES_MAX};
        return -E2BIG;
    }
    for (size_t i = 0; i < n; i++) {
        const char *match = match_at(walk, i);
        if (is_glob(match)) {
            globs++;
        } else if (jobs_find(walk->jobs, match) == NULL) {
            error->name = match;
            return -ENOENT;
        }
    }
    walk->by_name = n > 0 && globs == 0;
    if (globs > WALK_GLOBS_MAX) {
        *error = (struct walk_error){.limit = "globs in one call", .value = WALK_GLOBS_MAX};
        return -E2BIG;
    }
    return 0;
}

int walk_new(struct jobs *jobs, const struct walk_request *request, struct walk **out, struct walk_error *error)
{
    struct walk *walk = calloc(1, sizeof *walk);
    if (walk == NULL)
        return -ENOMEM;
    walk->jobs = jobs;
    walk->request = *request;
    json_incref(request->match);
    walk->checking = request->action != WALK_LIST;
    *out = walk; // on error, too: what *error points to lives in it
    int r = check_matches(walk, error);
    if (r < 0)
        return r;
    walk->found = json_array();
    rewind_walk(walk);
    return walk->found == NULL ? -ENOMEM : 0;
}

void walk_free(struct walk *walk)
{
    if (walk == NULL)
        return;
    if (walk->has_cursor)
        jobs_end(&walk->cursor);
    json_decref(walk->request.match);
    json_decref(walk->found);
    free(walk);
}

/* The next job to look at. False at the end; *job is NULL when a job of this name went meanwhile. */
static bool next_job(struct walk *walk, struct job **job)
{
    if (!walk->by_name)
        return (*job = jobs_next(&walk->cursor)) != NULL;
    if (walk->index == json_array_size(walk->request.match))
        return false;
    *job = jobs_find(walk->jobs, match_at(walk, walk->index++));
    return true;
}

/* Does a match mean this job? Notes the globs that do. */
static enum fit fits_match(struct walk *walk, const char *name)
{
    size_t n = json_array_size(walk->request.match);
    enum fit fit = n == 0 && walk->request.action == WALK_LIST ? FITS_GLOB : FITS_NOT;

    if (walk->by_name)
        return FITS_NAME;
    for (size_t i = 0; i < n; i++) {
        const char *match = match_at(walk, i);
        if (!is_glob(match)) {
            if (strcmp(match, name) == 0)
                fit = FITS_NAME;
        } else if (glob_match(match, name)) {
            walk->fitted[i] = true;
            fit = fit == FITS_NAME ? fit : FITS_GLOB;
        }
    }
    return fit;
}

/* Is the job one that the call is about? Globs leave out ended jobs, unless those are asked for. */
static enum fit fits(struct walk *walk, const struct job *job, int64_t now)
{
    const struct walk_request *request = &walk->request;
    bool ended = job_ended(job);

    if (request->states != 0 && (request->states >> job_state_at(job, now) & 1) == 0)
        return FITS_NOT;
    if (request->ended_only && !ended)
        return FITS_NOT;
    bool with_ended = request->all || request->states != 0 || request->action == WALK_REMOVE;
    if (ended && !with_ended && json_array_size(request->match) == 0)
        return FITS_NOT;
    enum fit fit = fits_match(walk, job->spec.name);
    return fit == FITS_GLOB && ended && !with_ended ? FITS_NOT : fit;
}

/* May this be done to the job? */
static int check_job(struct walk *walk, const struct job *job, struct walk_error *error)
{
    const struct walk_request *request = &walk->request;

    if (job_ended(job) && request->action != WALK_RESET && request->action != WALK_REMOVE) {
        *error = (struct walk_error){.name = job->spec.name, .state = job->state};
        return -ESRCH;
    }
    if (!request->privileged && job->owner != request->owner) {
        *error = (struct walk_error){.name = job->spec.name};
        return -EPERM;
    }
    return 0;
}

/* Tell of the job and do it, in the order in which the reply makes sense: as it is afterwards, or as it was. */
static int act(struct walk *walk, struct job *job, const struct wire_clock *clock)
{
    struct jobs *jobs = walk->jobs;

    switch (walk->request.action) {
    case WALK_LIST:
    case WALK_REMOVE:
        break;
    case WALK_STOP:
        jobs_stop(jobs, job, clock->now, "control");
        break;
    case WALK_PAUSE:
        jobs_pause(jobs, job, clock->now);
        break;
    case WALK_RESUME:
        jobs_resume(jobs, job, clock->now);
        break;
    case WALK_RESET:
        jobs_reset(jobs, job, clock->now);
        break;
    }
    int r = json_array_append_new(walk->found, wire_job(job, clock)) < 0 ? -ENOMEM : 0;
    if (walk->request.action == WALK_REMOVE)
        jobs_remove(jobs, job, clock->now, "removed");
    return r;
}

/* The first round is over: did every glob fit a job? */
static int end_check(struct walk *walk, struct walk_error *error)
{
    for (size_t i = 0; !walk->by_name && i < json_array_size(walk->request.match); i++)
        if (is_glob(match_at(walk, i)) && !walk->fitted[i]) {
            error->name = match_at(walk, i);
            return -ENOENT;
        }
    walk->checking = false;
    rewind_walk(walk);
    return WALK_AGAIN;
}

/* One job of either round. */
static int visit(struct walk *walk, struct job *job, const struct wire_clock *clock, struct walk_error *error)
{
    walk->count++;
    if (!walk->request.sliced && walk->count > WALK_ONE_REPLY_MAX) {
        *error = (struct walk_error){.limit = "jobs in one reply; call with `more`", .value = WALK_ONE_REPLY_MAX};
        return -E2BIG;
    }
    if (walk->checking)
        return check_job(walk, job, error);
    // Since the first round a job may have ended by itself, or been met before under the same name.
    if (walk->request.action != WALK_LIST && check_job(walk, job, error) < 0)
        return 0;
    return act(walk, job, clock);
}

static json_t *take_found(struct walk *walk)
{
    json_t *found = walk->found;

    walk->found = json_array();
    return found;
}

int walk_step(struct walk *walk, const struct wire_clock *clock, json_t **found, struct walk_error *error)
{
    unsigned jobs = 0;
    struct job *job;

    for (unsigned looks = 0; looks < SLICE_LOOKS && jobs < SLICE_JOBS; looks++) {
        if (walk->found == NULL)
            return -ENOMEM;
        if (!next_job(walk, &job)) {
            if (walk->checking) {
                int r = end_check(walk, error);
                if (r < 0)
                    return r;
                continue;
            }
            *found = take_found(walk);
            return WALK_DONE;
        }
        if (job == NULL || fits(walk, job, clock->now) == FITS_NOT)
            continue;
        int r = visit(walk, job, clock, error);
        if (r < 0)
            return r;
        jobs += !walk->checking;
    }
    if (!walk->request.sliced || json_array_size(walk->found) == 0)
        return WALK_AGAIN;
    *found = take_found(walk);
    return WALK_SLICE;
}
