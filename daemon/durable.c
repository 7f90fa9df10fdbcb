#include "durable.h"

#include "stamp.h"
#include "store.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <syslog.h>
#include <time.h>

/* While jobs tick and nothing else happens, the stamp is written this often: after a power cut it is all there is. */
#define STAMP_INTERVAL (60 * NSEC_PER_SEC)

/* Jobs in the file that cannot be taken up are told of one by one up to this number. */
#define UNUSABLE_TOLD 10

struct durable {
    char *path; // owned
    struct jobs *jobs;
    const struct loop *loop;
    struct report *report;
    struct durable_hooks hooks;
    struct store *store;
    struct stamp *stamp;
    int64_t done;      // what was due by then has been done
    int64_t submitted; // when something was submitted last
    int64_t done_then; // `done` at that time
    uint64_t restored; // jobs
    uint64_t unusable; // jobs in the file that could not be taken up
    bool in_force;     // this turn has changed more than can be undone
    bool degraded;     // as was reported
    int64_t degraded_at;
};

/* Words of enum job_source, in the file. */
static const char *const source_words[] = {[SOURCE_CONFIG] = "config", [SOURCE_CONTROL] = "control"};

/* In the place of a state's word, for jobs that wait for another one. */
static const char waiting_word[] = "waiting", waiting_paused_word[] = "waiting-paused";

static bool is_kept(const struct job *job)
{
    return job->source == SOURCE_CONFIG ? job_resumes(job) : !job_transient(job);
}

static struct moment moment_now(const struct loop *loop)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (struct moment){loop_now(loop), (int64_t)ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec};
}

static struct progress progress_of(const struct durable *d)
{
    return (struct progress){moment_now(d->loop), d->done, jobs_next_id(d->jobs)};
}

/* Writing */

static const char *state_word(const struct job_life *life)
{
    if (life->waits)
        return life->state == JOB_PAUSED ? waiting_paused_word : waiting_word;
    return job_state_name(life->state);
}

static void put(struct durable *d, const struct job *job)
{
    const struct job_life life = job_life_of(job, loop_now(d->loop));
    const struct job_spec spec = job_spec_of(job);
    char text[SPEC_TEXT_MAX];
    const struct row row = {.id = job->id,
                            .name = spec.name,
                            .source = source_words[job->source],
                            .state = state_word(&life),
                            .spec = spec_format(&spec, text, sizeof text),
                            .reason = life.reason,
                            .owner = job->owner,
                            .added = life.added,
                            .t0 = life.t0,
                            .since = life.since,
                            .passed = life.passed,
                            .missed = life.missed};

    if (store_put(d->store, &row) < 0)
        report_daemon(d->report, LOG_ERR, "state", "job=%s id=%llu error=\"out of memory: it is not kept\"", spec.name,
                      (unsigned long long)job->id);
}

void durable_event(struct durable *d, const struct job *job, const struct job_event *ev)
{
    if (d == NULL || (ev->type == EVENT_TICK && ev->missed == 0))
        return;
    d->in_force |= ev->type != EVENT_START || job->source == SOURCE_CONFIG; // the file has it, whatever can be kept
    if (is_kept(job))
        put(d, job);
}

void durable_removed(struct durable *d, const struct job *job)
{
    if (d != NULL && is_kept(job))
        store_remove(d->store, job->id); // without memory it comes back with the next start: better than the reverse
}

void durable_submit(struct durable *d)
{
    if (d == NULL)
        return;
    const struct progress progress = progress_of(d);
    bool stale = progress.now.loop - d->submitted >= STAMP_INTERVAL && d->done != d->done_then;
    if (store_gathered(d->store) > 0 || stale) {
        store_submit(d->store, &progress, !d->in_force);
        d->submitted = progress.now.loop;
        d->done_then = d->done;
    }
    d->in_force = false;
}

void durable_begin_step(struct durable *d, int64_t now)
{
    if (d == NULL)
        return;
    d->done = MAX(d->done, now);
    stamp_set(d->stamp, d->done);
}

void durable_end_step(struct durable *d, int64_t now)
{
    int64_t due;

    if (d == NULL)
        return;
    store_hurry(d->store, now);
    if (!jobs_next_due(d->jobs, &due, NULL) || due > now)
        return;
    d->done = due - 1;
    stamp_set(d->stamp, d->done);
}

/* What the store tells */

static void on_undo(void *ctx, uint64_t id, const char *name)
{
    struct durable *d = ctx;
    struct job *job = jobs_find(d->jobs, name);

    if (job != NULL && job->id == id)
        jobs_remove(d->jobs, job, loop_now(d->loop), "not-durable");
}

static void report_degraded(struct durable *d, const char *why)
{
    char text[512] = "", span[QUANTITY_TEXT_MAX];
    int64_t now = loop_now(d->loop);

    if (d->degraded == (why != NULL))
        return;
    d->degraded = why != NULL;
    if (why != NULL) {
        d->degraded_at = now;
        text_escape(text, sizeof text, 0, why);
        report_daemon(d->report, LOG_ERR, "state", "error=\"%s\" adds=refused", text);
        return;
    }
    span_format((now - d->degraded_at) / NSEC_PER_MSEC * NSEC_PER_MSEC, span, sizeof span);
    report_daemon(d->report, LOG_NOTICE, "state", "recovered-after=\"%s\"", span);
}

static void on_done(void *ctx, uint64_t upto, const char *error)
{
    struct durable *d = ctx;

    report_degraded(d, store_degraded(d->store));
    d->hooks.done(d->hooks.ctx, upto, error);
}

/* Coming back */

static bool read_state(const char *word, struct job_life *life)
{
    bool paused = strcmp(word, waiting_paused_word) == 0;

    life->waits = paused || strcmp(word, waiting_word) == 0;
    if (life->waits)
        life->state = paused ? JOB_PAUSED : JOB_RUNNING;
    return life->waits || job_state_parse(word, &life->state);
}

static int take_up(struct durable *d, const struct row *row, const char **why)
{
    struct spec_error error = {0};
    struct job_spec spec;
    struct job_life life = {.added = row->added,
                            .t0 = row->t0,
                            .since = row->since,
                            .passed = row->passed,
                            .missed = row->missed,
                            .reason = row->reason};
    struct job *job;
    bool configured = strcmp(row->source, source_words[SOURCE_CONFIG]) == 0;

    *why = "its state or its source is unknown";
    if (!read_state(row->state, &life) || !name_valid(row->name) ||
        (!configured && strcmp(row->source, source_words[SOURCE_CONTROL]) != 0))
        return -EINVAL;
    *why = "what it shall be cannot be read";
    int r = spec_parse(row->spec, &spec, &error);
    if (r < 0)
        return r;
    spec.name = (char *)row->name;
    const struct jobs_kept kept = {&spec, &life, row->id, row->owner, configured ? SOURCE_CONFIG : SOURCE_CONTROL};
    r = jobs_take_up(d->jobs, &kept, d->done, loop_now(d->loop), &job);
    spec.name = NULL;
    spec_clear(&spec);
    *why = r == -EEXIST ? "another has its name or its id" : "out of memory";
    if (r < 0)
        return r;
    if (job->state != life.state) // it had finished, and that was told
        put(d, job);
    d->restored += !job_ended(job);
    return 0;
}

static int take_up_chunk(struct durable *d, const struct changes *chunk)
{
    const char *why;

    for (const struct change *c = TAILQ_FIRST(&chunk->list); c != NULL; c = TAILQ_NEXT(c, link)) {
        int r = take_up(d, &c->row, &why);
        if (r == -ENOMEM)
            return r;
        if (r < 0 && d->unusable++ < UNUSABLE_TOLD)
            report_daemon(d->report, LOG_ERR, "state", "job=%s id=%llu error=\"%s\"", c->row.name,
                          (unsigned long long)c->row.id, why);
    }
    return 0;
}

static int take_up_all(struct durable *d)
{
    struct changes chunk;
    int r;

    changes_init(&chunk);
    while ((r = store_read(d->store, &chunk)) == 1) {
        r = take_up_chunk(d, &chunk);
        changes_clear(&chunk);
        if (r < 0)
            return r;
    }
    return r;
}

static void report_found(const struct durable *d, const struct database_found *found)
{
    char damage[512] = "", aside[1024] = "", span[QUANTITY_TEXT_MAX];

    if (found->set_aside[0] != '\0') {
        text_escape(damage, sizeof damage, 0, found->damage);
        text_escape(aside, sizeof aside, 0, found->set_aside);
        report_daemon(d->report, LOG_ERR, "state", "error=\"damaged: %s\" aside=\"%s\" saved=%llu lost=%s%llu", damage,
                      aside, (unsigned long long)found->saved, found->lost == 0 ? ">=" : "",
                      (unsigned long long)found->lost);
    }
    if (found->clock_back > 0)
        report_daemon(d->report, LOG_WARNING, "state", "clock-back=\"%s\"",
                      span_format(found->clock_back / NSEC_PER_MSEC * NSEC_PER_MSEC, span, sizeof span));
    if (d->unusable > UNUSABLE_TOLD)
        report_daemon(d->report, LOG_ERR, "state", "unusable=%llu", (unsigned long long)d->unusable);
}

/* What the stamp says goes further than the file, if it is of this boot and of this file. */
static void begin_stamp(struct durable *d, const struct database_found *found)
{
    int64_t stamped = stamp_get(d->stamp), now = loop_now(d->loop);

    d->done = found->progress.next_id > 0 ? found->progress.stamp : now;
    if (found->progress.next_id > 0 && !found->rebooted && stamped > d->done && stamped <= now)
        d->done = stamped;
    stamp_set(d->stamp, d->done);
}

static void durable_free(struct durable *d)
{
    free(d->path);
    free(d);
}

static int open_store(struct durable *d, enum loop_clock clock, char *why, size_t size)
{
    const struct store_hooks hooks = {.done = on_done, .undo = on_undo, .ctx = d};
    struct database_found found;

    d->stamp = stamp_open(d->path, loop_clock_name(clock));
    if (d->stamp == NULL) {
        snprintf(why, size, "out of memory");
        return -ENOMEM;
    }
    const struct database_config config = {d->path, stamp_boot(d->stamp), moment_now(d->loop)};
    int r = store_open(&config, loop_watches(d->loop), &hooks, &d->store, &found, why, size);
    if (r < 0)
        return r;
    begin_stamp(d, &found);
    r = take_up_all(d);
    if (r < 0)
        snprintf(why, size, "%s: cannot be read: %s", d->path, strerror(-r));
    jobs_begin_ids_at(d->jobs, found.progress.next_id);
    report_found(d, &found);
    return r;
}

int durable_open(const char *path, enum loop_clock clock, struct jobs *jobs, const struct loop *loop,
                 struct report *report, const struct durable_hooks *hooks, struct durable **out, char *why, size_t size)
{
    struct durable *d = calloc(1, sizeof *d);

    if (d == NULL || (d->path = strdup(path)) == NULL) {
        free(d);
        snprintf(why, size, "out of memory");
        return -ENOMEM;
    }
    d->jobs = jobs;
    d->loop = loop;
    d->report = report;
    d->hooks = *hooks;
    int r = open_store(d, clock, why, size);
    if (r < 0) {
        store_close(d->store, NULL, -1);
        stamp_close(d->stamp, false);
        durable_free(d);
        return r;
    }
    report_degraded(d, store_degraded(d->store));
    const struct progress progress = progress_of(d); // always: a new boot gets into the file with it
    store_submit(d->store, &progress, false);
    d->submitted = progress.now.loop;
    d->done_then = d->done;
    *out = d;
    return 0;
}

void durable_close(struct durable *d, int wait_ms)
{
    if (d == NULL)
        return;
    const struct progress progress = progress_of(d);
    bool kept = store_close(d->store, &progress, wait_ms);
    stamp_close(d->stamp, kept);
    durable_free(d);
}

uint64_t durable_restored(const struct durable *d)
{
    return d == NULL ? 0 : d->restored;
}

uint64_t durable_sequence(const struct durable *d)
{
    return d == NULL ? 0 : store_gathered(d->store);
}

uint64_t durable_sequence_so_far(const struct durable *d)
{
    if (d == NULL || store_gathered(d->store) > 0)
        return durable_sequence(d);
    return store_submitted(d->store) > store_written(d->store) ? store_submitted(d->store) : 0;
}

bool durable_in_force(const struct durable *d)
{
    return d != NULL && d->in_force;
}

const char *durable_degraded(const struct durable *d)
{
    return d == NULL ? NULL : store_degraded(d->store);
}

bool durable_is_full(const struct durable *d)
{
    return d != NULL && store_is_full(d->store);
}

const char *durable_path(const struct durable *d)
{
    return d == NULL ? NULL : d->path;
}
