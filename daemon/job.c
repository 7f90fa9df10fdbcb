#include "job.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

static const char *const state_names[] = {
    [JOB_WAITING] = "waiting",   [JOB_RUNNING] = "running", [JOB_PAUSED] = "paused",
    [JOB_FINISHED] = "finished", [JOB_STOPPED] = "stopped", [JOB_FAILED] = "failed",
};

static const char *const event_names[] = {
    [EVENT_START] = "start",   [EVENT_TICK] = "tick",   [EVENT_MISSED] = "missed",
    [EVENT_FINISH] = "finish", [EVENT_STOP] = "stop",   [EVENT_PAUSE] = "pause",
    [EVENT_RESUME] = "resume", [EVENT_RESET] = "reset", [EVENT_FAILED] = "failed",
};

const char *job_event_name(enum job_event_type type)
{
    return event_names[type];
}

const char *job_state_name(enum job_state state)
{
    return state_names[state];
}

bool job_state_parse(const char *text, enum job_state *out)
{
    for (unsigned i = 0; i < sizeof state_names / sizeof state_names[0]; i++)
        if (strcmp(text, state_names[i]) == 0) {
            *out = (enum job_state)i;
            return true;
        }
    return false;
}

enum job_state job_state_at(const struct job *job, int64_t now)
{
    return job->state == JOB_RUNNING && now < job->t0 ? JOB_WAITING : job->state;
}

uint64_t job_ticks(const struct job *job)
{
    return job->passed - job->missed;
}

int64_t job_elapsed(const struct job *job, int64_t now)
{
    return (job_ended(job) ? job->ended : now) - job->added;
}

struct job_spec job_spec_of(const struct job *job)
{
    struct job_spec spec = job->traits->spec;

    spec.name = (char *)job_name(job);
    spec.rate.ns = job->rate_ns;
    spec.delay = job->delay;
    return spec;
}

/* How far the job is with its count: with `delay` a missed tick does not count, with the others it does. */
static inline uint64_t progress(const struct job *job)
{
    return job->traits->spec.missed == MISSED_DELAY ? job_ticks(job) : job->passed;
}

/* A countdown's left is what its last tick said: it stands for the interval that runs. */
uint64_t job_left(const struct job *job)
{
    uint64_t count = job_count(job), done = progress(job);

    if (job->state == JOB_FINISHED)
        return 0;
    if (count == COUNT_FOREVER)
        return COUNT_FOREVER;
    return job_kind(job) == JOB_COUNTDOWN && done > 0 ? count - done + 1 : count - done;
}

/* The grid point that the job waits for. A loop that does not start at once leaves out point 0. */
static inline uint64_t next_point(const struct job *job)
{
    return job->passed + (job_kind(job) == JOB_LOOP && !job->traits->spec.immediate);
}

static inline int64_t grid_time(const struct job *job)
{
    int64_t offset = job_kind(job) == JOB_ONCE ? 0 : rate_due(job_rate(job), next_point(job));
    int64_t due;

    if (offset == TIME_NEVER || __builtin_add_overflow(job->t0, offset, &due))
        return TIME_NEVER;
    return due;
}

int64_t job_due(const struct job *job)
{
    return job->state == JOB_RUNNING ? grid_time(job) : TIME_NEVER;
}

int64_t job_rest(const struct job *job, int64_t now)
{
    int64_t due = job_ended(job) ? TIME_NEVER : grid_time(job);

    if (due == TIME_NEVER)
        return TIME_NEVER;
    return job->state == JOB_PAUSED ? due : due - now;
}

static inline struct job_event *emit(const struct job *job, enum job_event_type type, int64_t now,
                                     struct job_events *out)
{
    struct job_event *ev = &out->ev[out->n++];

    *ev = (struct job_event){
        .type = type, .left = job_left(job), .tick = progress(job), .missed = job->missed, .due = now, .at = now};
    return ev;
}

int job_set_name(struct job *job, const char *name)
{
    size_t size = strlen(name) + 1;

    if (size <= sizeof job->name) {
        memcpy(job->name, name, size);
        return 0;
    }
    char *copy = strdup(name);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(job->name, &copy, sizeof copy);
    job->far_name = true;
    // cppcheck-suppress memleak ; name[] has it
    return 0;
}

int job_init(struct job *job, struct traits_pool *pool, const struct job_spec *spec)
{
    if (spec->name != NULL && job_set_name(job, spec->name) < 0)
        return -ENOMEM;
    job->traits = traits_take(pool, spec);
    if (job->traits == NULL) {
        job_clear(job);
        return -ENOMEM;
    }
    job->rate_ns = spec->rate.ns;
    job->delay = spec->delay;
    return 0;
}

void job_clear(struct job *job)
{
    if (job->far_name)
        free((char *)job_name(job));
    if (job->extra != NULL)
        free(job->extra->reason);
    free(job->extra);
    traits_drop(job->traits);
    *job = (struct job){0};
}

struct job_extra *job_extra(struct job *job)
{
    if (job->extra != NULL)
        return job->extra;
    job->extra = calloc(1, sizeof *job->extra);
    if (job->extra != NULL)
        job->extra->reported = INT64_MIN;
    return job->extra;
}

void job_shed_extra(struct job *job)
{
    const struct job_extra *extra = job->extra;

    if (extra == NULL || extra->reason != NULL || extra->pending != NULL || extra->reported != INT64_MIN ||
        extra->waiter != NULL || extra->failures > 0 || extra->skipped > 0)
        return;
    free(job->extra);
    job->extra = NULL;
}

/* The last life leaves no trace but a tick line that waits. */
static void start(struct job *job, int64_t now)
{
    job->state = JOB_RUNNING;
    job->added = now;
    job->t0 = job_after(job) != NULL ? TIME_NEVER : now + job->delay;
    job->passed = 0;
    job->missed = 0;
    if (job->extra == NULL)
        return;
    free(job->extra->reason);
    job->extra->reason = NULL;
    job->extra->reported = INT64_MIN;
    job_shed_extra(job);
}

void job_start(struct job *job, int64_t now, struct job_events *out)
{
    start(job, now);
    out->n = 0;
    emit(job, EVENT_START, now, out);
}

static void end(struct job *job, enum job_state state, int64_t now)
{
    job->state = (uint8_t)state;
    job->ended = now;
}

static void finish(struct job *job, int64_t due, int64_t now, struct job_events *out)
{
    end(job, JOB_FINISHED, now);
    emit(job, EVENT_FINISH, now, out)->due = due;
}

bool job_waits(const struct job *job)
{
    return !job_ended(job) && job->t0 == TIME_NEVER;
}

struct job_life job_life_of(const struct job *job, int64_t now)
{
    struct job_life life = {.state = (enum job_state)job->state,
                            .waits = job_waits(job),
                            .added = job->added,
                            .since = now,
                            .passed = job->passed,
                            .missed = job->missed,
                            .reason = job_reason(job)};

    if (job_ended(job))
        life.since = job->ended;
    else if (!life.waits)
        life.t0 = job->state == JOB_PAUSED ? job->t0 + now : job->t0;
    return life;
}

/* The points that were due by `done` are behind the job, as ticks. */
static void catch_up(struct job *job, int64_t done)
{
    bool leaves_out_0 = next_point(job) != job->passed;
    uint64_t last = job_count(job);

    if (job_kind(job) == JOB_ONCE) {
        job->passed = 1;
        end(job, JOB_FINISHED, job->t0);
        return;
    }
    uint64_t points = rate_ticks_by(job_rate(job), done - job->t0) - leaves_out_0;
    if (last != COUNT_FOREVER && job->traits->spec.missed == MISSED_DELAY)
        last += job->missed;
    job->passed = MAX(job->passed, MIN(points, last));
    // A countdown's finish is a point of its own, behind that of its last tick.
    if (last == COUNT_FOREVER || points < last + (job_kind(job) == JOB_COUNTDOWN))
        return;
    uint64_t final = job_kind(job) == JOB_COUNTDOWN ? last : last - 1 + leaves_out_0;
    end(job, JOB_FINISHED, job->t0 + rate_due(job_rate(job), final));
}

int job_take_up(struct job *job, const struct job_life *life, int64_t done)
{
    if (life->reason != NULL && life->state == JOB_FAILED) {
        char *reason = strdup(life->reason);
        if (reason == NULL || job_extra(job) == NULL) {
            free(reason);
            return -ENOMEM;
        }
        job->extra->reason = reason;
    }
    job->state = (uint8_t)life->state;
    job->added = life->added;
    job->passed = life->passed;
    job->missed = life->missed;
    if (job_ended(job))
        job->ended = life->since;
    else if (life->waits)
        job->t0 = TIME_NEVER;
    else
        job->t0 = life->state == JOB_PAUSED ? life->t0 - life->since : life->t0;
    if (life->state == JOB_RUNNING && done >= job->t0)
        catch_up(job, done);
    return 0;
}

/* One tick that stands for `points` grid points, all but the last of them missed. */
static void tick(struct job *job, uint64_t points, int64_t due, int64_t now, struct job_events *out)
{
    job->passed += points;
    job->missed += points - 1;
    struct job_event *ev = emit(job, EVENT_TICK, now, out);
    ev->due = due;
    ev->missed = points - 1;
}

/*
 * Grid points that have come by `now` and that the next tick, due at `due`, stands for: at least one. Whether there may
 * be more is told without a division: points are rounded, so the next comes less than a nanosecond before a whole
 * interval has passed.
 */
static uint64_t points_due(const struct job *job, int64_t due, int64_t now)
{
    if (job->traits->spec.missed == MISSED_BURST || !rate_is_faster(job_rate(job), now - due + 1))
        return 1;
    return rate_ticks_by(job_rate(job), now - job->t0) - next_point(job);
}

/* Points 0 to N-1 are ticks; the point after the last tick is the finish. */
static void run_countdown(struct job *job, int64_t due, int64_t now, struct job_events *out)
{
    uint64_t points = points_due(job, due, now), left = job_count(job) - progress(job);

    if (job->traits->spec.missed == MISSED_COALESCE && points > left && left > 0) {
        job->passed += left;
        job->missed += left;
        due = grid_time(job);
        struct job_event *ev = emit(job, EVENT_MISSED, now, out);
        ev->missed = left;
        ev->left = 0; // the last interval has gone by as well
        left = 0;
    }
    if (left == 0)
        finish(job, due, now, out);
    else
        tick(job, points, due, now, out);
}

/* Finished with its last tick. */
static void run_loop(struct job *job, int64_t due, int64_t now, struct job_events *out)
{
    uint64_t points = points_due(job, due, now), left = job_count(job) - progress(job);
    int64_t end_due = due;

    if (job->traits->spec.missed == MISSED_COALESCE && points >= left) {
        points = left;
        end_due = job->t0 + rate_due(job_rate(job), next_point(job) + left - 1);
    }
    tick(job, points, due, now, out);
    if (progress(job) == job_count(job))
        finish(job, end_due, now, out);
}

void job_run(struct job *job, int64_t now, struct job_events *out)
{
    int64_t due = job_due(job);

    out->n = 0;
    if (due == TIME_NEVER || due > now)
        return;
    switch (job_kind(job)) {
    case JOB_COUNTDOWN:
        run_countdown(job, due, now, out);
        break;
    case JOB_LOOP:
        run_loop(job, due, now, out);
        break;
    case JOB_ONCE:
        job->passed = 1;
        finish(job, due, now, out);
        break;
    }
}

int job_pause(struct job *job, int64_t now, struct job_events *out)
{
    out->n = 0;
    if (job_ended(job))
        return -ESRCH;
    if (job->state == JOB_PAUSED)
        return -EALREADY;
    job->state = JOB_PAUSED;
    if (job->t0 != TIME_NEVER)
        job->t0 -= now;
    emit(job, EVENT_PAUSE, now, out);
    return 0;
}

/* The grid moves by the time of the pause: what was left of the interval is left of it now, to the nanosecond. */
int job_resume(struct job *job, int64_t now, struct job_events *out)
{
    out->n = 0;
    if (job_ended(job))
        return -ESRCH;
    if (job->state != JOB_PAUSED)
        return -EALREADY;
    job->state = JOB_RUNNING;
    if (job->t0 != TIME_NEVER)
        job->t0 += now;
    emit(job, EVENT_RESUME, now, out);
    return 0;
}

void job_reset(struct job *job, int64_t now, struct job_events *out)
{
    out->n = 0;
    start(job, now);
    emit(job, EVENT_RESET, now, out);
}

void job_release(struct job *job, int64_t start, int64_t now, struct job_events *out)
{
    out->n = 0;
    if (!job_waits(job))
        return;
    job->t0 = job->delay + (job->state == JOB_PAUSED ? 0 : start);
    if (job->state != JOB_PAUSED)
        emit(job, EVENT_RESUME, now, out);
}

void job_count_failure(struct job *job)
{
    if (job_extra(job) != NULL)
        job->extra->failures++;
}

void job_count_skipped(struct job *job)
{
    if (job_extra(job) != NULL)
        job->extra->skipped++;
}

int job_stop(struct job *job, int64_t now, const char *why, struct job_events *out)
{
    out->n = 0;
    if (job_ended(job))
        return -ESRCH;
    end(job, JOB_STOPPED, now);
    emit(job, EVENT_STOP, now, out)->why = why;
    return 0;
}

int job_fail(struct job *job, int64_t now, const char *why, struct job_events *out)
{
    out->n = 0;
    if (job_ended(job))
        return -ESRCH;
    char *reason = strdup(why);
    if (reason == NULL || job_extra(job) == NULL) {
        free(reason);
        return -ENOMEM;
    }
    job->extra->reason = reason;
    end(job, JOB_FAILED, now);
    emit(job, EVENT_FAILED, now, out)->why = reason;
    return 0;
}
