#include "walk.h"

#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/* One slice: looks at a job, for each glob one; jobs acted on and told of, which costs more; and the bytes of that. */
#define SLICE_LOOKS 4096
#define SLICE_JOBS  128
#define SLICE_BYTES (64u << 10)

struct walk {
    struct jobs *jobs;
    struct walk_request request;
    bool checking;       // of the two rounds of a change, the first
    const char **names;  // owned; those among the matches, which live in request.match: each once
    const char **sorted; // in the same memory; the same in the order of strcmp()
    size_t n_names;
    bool by_name;              // all are: look them up
    size_t at;                 // by_name: the next one
    struct jobs_cursor cursor; // else: where it is
    bool has_cursor;
    const char *globs[WALK_GLOBS_MAX]; // the other matches; they live in request.match
    bool fitted[WALK_GLOBS_MAX];       // while checking: this glob fits a job
    size_t n_globs;
    size_t count; // jobs found so far in this round
};

/* To the beginning; the second round sees no job that came after the first began. */
static void rewind_walk(struct walk *walk)
{
    uint64_t end = walk->has_cursor ? walk->cursor.end : UINT64_MAX;

    if (walk->has_cursor)
        jobs_end(&walk->cursor);
    walk->has_cursor = !walk->by_name;
    if (walk->has_cursor) {
        jobs_begin(walk->jobs, &walk->cursor);
        walk->cursor.end = MIN(walk->cursor.end, end);
    }
    walk->at = 0;
    walk->count = 0;
}

static int over(struct walk_error *error, const char *limit, int value)
{
    *error = (struct walk_error){.limit = limit, .value = value};
    return -E2BIG;
}

int walk_read_match(struct skim_value match, struct text_list *out, struct walk_error *error)
{
    struct skim s = skim_array(match);
    char text[WALK_MATCH_LEN_MAX + 2];
    struct skim_value value;
    size_t globs = 0;

    while (skim_next(&s, &value)) {
        if (out->n == WALK_MATCHES_MAX)
            return over(error, "names and globs in one call", WALK_MATCHES_MAX);
        skim_text(value, text, sizeof text);
        if (strlen(text) > WALK_MATCH_LEN_MAX)
            return over(error, "bytes of a name or glob", WALK_MATCH_LEN_MAX);
        globs += is_glob(text);
        if (globs > WALK_GLOBS_MAX)
            return over(error, "globs in one call", WALK_GLOBS_MAX);
        if (text_list_add(out, text) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char **find_name(const struct walk *walk, const char *name)
{
    return bsearch(&name, walk->sorted, walk->n_names, sizeof(char *), compare_names);
}

/* Keep each name once, where it stands first. */
static void drop_repeated(struct walk *walk)
{
    size_t given = walk->n_names, sorted = 0, kept = 0;

    qsort(walk->sorted, given, sizeof(char *), compare_names);
    for (size_t i = 0; i < given; i++)
        if (i == 0 || strcmp(walk->sorted[i], walk->sorted[sorted - 1]) != 0)
            walk->sorted[sorted++] = walk->sorted[i];
    if (sorted == given)
        return;
    walk->n_names = sorted;
    // Of those that are equal the first is to stay, while qsort() leaves any of them.
    for (size_t i = given; i-- > 0;)
        *find_name(walk, walk->names[i]) = walk->names[i];
    for (size_t i = 0; i < given; i++)
        if (*find_name(walk, walk->names[i]) == walk->names[i])
            walk->names[kept++] = walk->names[i];
}

/* Tell names from globs. Names must be jobs. */
static int sort_matches(struct walk *walk, struct walk_error *error)
{
    const struct text_list *given = &walk->request.match;

    for (size_t i = 0; i < given->n; i++) {
        const char *match = given->items[i];
        if (is_glob(match)) {
            walk->globs[walk->n_globs++] = match;
        } else if (jobs_find(walk->jobs, match) == NULL) {
            error->name = match;
            return -ENOENT;
        } else {
            walk->sorted[walk->n_names] = match;
            walk->names[walk->n_names++] = match;
        }
    }
    if (walk->n_names > 1)
        drop_repeated(walk);
    walk->by_name = given->n > 0 && walk->n_globs == 0;
    return 0;
}

int walk_new(struct jobs *jobs, struct walk_request *request, struct walk **out, struct walk_error *error)
{
    struct walk *walk = *out = calloc(1, sizeof *walk);
    if (walk == NULL)
        return -ENOMEM;
    walk->jobs = jobs;
    walk->request = *request;
    request->match = (struct text_list){0};
    walk->checking = request->action != WALK_LIST;
    walk->names = calloc(2 * walk->request.match.n + 1, sizeof(char *));
    if (walk->names == NULL)
        return -ENOMEM;
    walk->sorted = walk->names + walk->request.match.n;
    int r = sort_matches(walk, error);
    if (r == 0)
        rewind_walk(walk);
    return r;
}

bool walk_changes(const struct walk *walk)
{
    return walk->request.action != WALK_LIST;
}

bool walk_has_begun(const struct walk *walk)
{
    return walk_changes(walk) && !walk->checking;
}

void walk_free(struct walk *walk)
{
    if (walk == NULL)
        return;
    if (walk->has_cursor)
        jobs_end(&walk->cursor);
    free(walk->names);
    text_list_clear(&walk->request.match);
    free(walk);
}

/* The next job to look at. False at the end; *job is NULL when a job of this name went meanwhile. */
static bool next_job(struct walk *walk, struct job **job)
{
    if (!walk->by_name)
        return (*job = jobs_next(&walk->cursor)) != NULL;
    if (walk->at == walk->n_names)
        return false;
    *job = jobs_find(walk->jobs, walk->names[walk->at++]);
    return true;
}

/* Does a match mean this job? Notes the globs that do; they may not be asked at all. */
static bool fits_match(struct walk *walk, const char *name, bool ask_globs)
{
    bool everything = walk->request.action == WALK_LIST && walk->request.match.n == 0;
    bool fit = everything && ask_globs;

    if (walk->by_name)
        return true;
    for (size_t i = 0; ask_globs && i < walk->n_globs; i++)
        if (glob_match(walk->globs[i], name)) {
            walk->fitted[i] = true;
            fit = true;
        }
    return fit || find_name(walk, name) != NULL;
}

/* Is the job one that the call is about? Globs leave out ended jobs, unless those are asked for. */
static bool fits(struct walk *walk, const struct job *job, int64_t now)
{
    const struct walk_request *request = &walk->request;
    bool with_ended = request->all || request->states != 0 || request->action == WALK_REMOVE;

    if (request->states != 0 && (request->states >> job_state_at(job, now) & 1) == 0)
        return false;
    if (request->ended_only && !job_ended(job))
        return false;
    return fits_match(walk, job_name(job), with_ended || !job_ended(job));
}

/* May this be done to the job? */
static int check_job(struct walk *walk, const struct job *job, struct walk_error *error)
{
    const struct walk_request *request = &walk->request;

    if (job_ended(job) && request->action != WALK_RESET && request->action != WALK_REMOVE) {
        *error = (struct walk_error){.name = job_name(job), .state = job->state};
        return -ESRCH;
    }
    if (!request->privileged && job->owner != request->owner) {
        *error = (struct walk_error){.name = job_name(job)};
        return -EPERM;
    }
    return 0;
}

/* Tell of the job and do it, in the order in which the reply makes sense: as it is afterwards, or as it was. */
static void act(struct walk *walk, struct job *job, const struct wire_clock *clock, struct emit *found)
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
    if (found != NULL)
        wire_job(found, job, clock);
    if (walk->request.action == WALK_REMOVE)
        jobs_remove(jobs, job, clock->now, "removed");
}

/* The first round is over: did every glob fit a job? That no job has ended is no mistake. */
static int end_check(struct walk *walk, struct walk_error *error)
{
    for (size_t i = 0; !walk->request.ended_only && i < walk->n_globs; i++)
        if (!walk->fitted[i]) {
            error->name = walk->globs[i];
            return -ENOENT;
        }
    walk->checking = false;
    rewind_walk(walk);
    return WALK_AGAIN;
}

/* One job of either round. */
static int visit(struct walk *walk, struct job *job, const struct wire_clock *clock, struct emit *found,
                 struct walk_error *error)
{
    bool first_round = walk->checking || walk->request.action == WALK_LIST;

    if (first_round && !walk->request.sliced && ++walk->count > WALK_ONE_REPLY_MAX)
        return over(error, "jobs in one reply; call with `more`", WALK_ONE_REPLY_MAX);
    if (walk->checking)
        return check_job(walk, job, error);
    // Since the first round it may have ended by itself, or another may have its name.
    if (walk->request.action == WALK_LIST || check_job(walk, job, error) == 0)
        act(walk, job, clock, found);
    return 0;
}

static size_t length_of(const struct emit *found)
{
    return found != NULL ? found->len : 0;
}

int walk_step(struct walk *walk, const struct wire_clock *clock, struct emit *found, struct walk_error *error)
{
    const size_t begin = length_of(found);
    unsigned jobs = 0;
    struct job *job;

    for (size_t looks = 0; looks < SLICE_LOOKS && jobs < SLICE_JOBS && length_of(found) - begin < SLICE_BYTES;
         looks += 1 + walk->n_globs) {
        if (!next_job(walk, &job)) {
            if (!walk->checking)
                return WALK_DONE;
            int r = end_check(walk, error);
            if (r < 0)
                return r;
            continue;
        }
        if (job == NULL || !fits(walk, job, clock->now))
            continue;
        int r = visit(walk, job, clock, found, error);
        if (r < 0)
            return r;
        jobs += !walk->checking;
    }
    return walk->request.sliced && length_of(found) > begin ? WALK_SLICE : WALK_AGAIN;
}
