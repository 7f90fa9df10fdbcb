#include "durable.h"

#include "now.h"
#include "stamp.h"
#include "store.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <syslog.h>

/* While jobs tick and nothing else happens, the stamp is written this often: after a power cut it is all there is. */
#define STAMP_INTERVAL (60 * NSEC_PER_SEC)

/* Jobs that are looked at in one slice of a renewal, or undone, and in one when the loop has ended. */
#define SLICE_JOBS 128
#define CHUNK_JOBS 4096

/* Jobs in the file that cannot be taken up are told of one by one up to this number. */
#define UNUSABLE_TOLD 10

/* Handing over all jobs for another file: first those that have not ended, then the others, in their order. */
struct renewal {
    bool under_way;
    bool in_ended;
    struct jobs_cursor cursor;
    uint64_t order, last; // of those that have ended: the place that was given last, and the last that there is
};

/* A job that was taken up and has ended: their order is known when all are there. */
struct ended {
    struct job *job;
    uint64_t order;
};

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
    uint64_t ends;     // places that were given in the order in which jobs ended
    struct renewal renewal;
    struct ended *ended; // owned, as long as jobs are taken up
    size_t n_ended, ended_room;
    bool in_force;      // this turn has changed more than can be undone
    char degraded[512]; // why nothing can be kept, as was reported; "": it can be
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
    return (struct moment){loop_now(loop), now_by(CLOCK_REALTIME)};
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

/* `order`: the job's place among the ended ones; 0: it has not ended. 0 or -ENOMEM. */
static int note(struct durable *d, const struct job *job, uint64_t order)
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
                            .missed = life.missed,
                            .ended = order};

    return store_put(d->store, &row);
}

static void put(struct durable *d, const struct job *job, uint64_t order)
{
    if (note(d, job, order) < 0)
        report_daemon(d->report, LOG_ERR, "state", "job=%s id=%llu error=\"out of memory: it is not kept\"",
                      job_name(job), (unsigned long long)job->id);
}

void durable_event(struct durable *d, const struct job *job, const struct job_event *ev)
{
    if (d == NULL || (ev->type == EVENT_TICK && ev->missed == 0))
        return;
    d->in_force |= ev->type != EVENT_START || job->source == SOURCE_CONFIG; // the file has it, whatever can be kept
    if (is_kept(job))
        put(d, job, job_ended(job) ? ++d->ends : 0);
}

void durable_changed(struct durable *d, const struct job *job)
{
    if (d != NULL && is_kept(job))
        put(d, job, 0);
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

/* Each reason once: what went wrong first need not be what it has come to. */
static void report_degraded(struct durable *d, const char *why)
{
    char text[sizeof d->degraded] = "", span[QUANTITY_TEXT_MAX];
    int64_t now = loop_now(d->loop);
    bool was_degraded = d->degraded[0] != '\0';

    if (strcmp(d->degraded, why != NULL ? why : "") == 0)
        return;
    snprintf(d->degraded, sizeof d->degraded, "%s", why != NULL ? why : "");
    if (!was_degraded)
        d->degraded_at = now;
    if (why != NULL) {
        text_escape(text, sizeof text, 0, why);
        report_daemon(d->report, LOG_ERR, "state", "error=\"%s\" adds=refused", text);
        return;
    }
    span_format((now - d->degraded_at) / NSEC_PER_MSEC * NSEC_PER_MSEC, span, sizeof span);
    report_daemon(d->report, LOG_NOTICE, "state", "recovered-after=\"%s\"", span);
}

/* at_least: of the lost ones not all may have been seen. */
static void report_damage(const struct durable *d, const struct database_found *found, const char *at_least)
{
    char damage[512] = "", aside[1024] = "";

    text_escape(damage, sizeof damage, 0, found->damage);
    text_escape(aside, sizeof aside, 0, found->set_aside);
    report_daemon(d->report, LOG_ERR, "state", "error=\"damaged: %s\"%s%s%s saved=%llu lost=%s%llu", damage,
                  aside[0] != '\0' ? " aside=\"" : "", aside, aside[0] != '\0' ? "\"" : "",
                  (unsigned long long)found->saved, at_least, (unsigned long long)found->lost);
}

static void on_done(void *ctx, uint64_t upto, const char *error)
{
    struct durable *d = ctx;

    report_degraded(d, store_degraded(d->store));
    d->hooks.done(d->hooks.ctx, upto, error);
}

/* Renewal of the file */

static void end_walk(struct durable *d)
{
    if (d->renewal.under_way)
        jobs_end(&d->renewal.cursor);
    d->renewal.under_way = false;
}

static void begin_walk(struct durable *d)
{
    end_walk(d);
    d->renewal = (struct renewal){.under_way = true};
    jobs_begin(d->jobs, &d->renewal.cursor);
}

/*
 * Now the ended ones. They get the next places in the order, and whoever ends from now on comes behind them. If some go
 * meanwhile, the walk comes to later ones before these places are used up: then they have others, but the same order.
 */
static void walk_ended(struct durable *d)
{
    struct jobs_counts counts;

    jobs_counts(d->jobs, &counts);
    jobs_end(&d->renewal.cursor);
    jobs_begin_ended(d->jobs, &d->renewal.cursor);
    d->renewal.in_ended = true;
    d->renewal.order = d->ends;
    d->ends += counts.listed - counts.live;
    d->renewal.last = d->ends;
}

/* One job. 1; 0: there are no more; -ENOMEM. */
static int walk_on(struct durable *d)
{
    struct renewal *renewal = &d->renewal;
    const struct job *job = renewal->in_ended && renewal->order == renewal->last ? NULL : jobs_next(&renewal->cursor);

    if (job == NULL && renewal->in_ended)
        return 0;
    if (job == NULL)
        walk_ended(d);
    else if (job_ended(job) == renewal->in_ended && is_kept(job) &&
             note(d, job, renewal->in_ended ? ++renewal->order : 0) < 0)
        return -ENOMEM;
    return 1;
}

/* So many jobs. 1: there are more; 0; -ENOMEM: not one may be missing, so it begins again. */
static int walk(struct durable *d, unsigned n)
{
    int r = 1;

    d->in_force = true;
    while (n-- > 0 && r == 1)
        r = walk_on(d);
    if (r < 0)
        begin_walk(d);
    if (r != 0)
        return r;
    end_walk(d);
    store_put_all(d->store);
    return 0;
}

/* The loop has ended: all that are left, in chunks that the disk can be busy with meanwhile. */
static void finish_walk(struct durable *d)
{
    int r = d->renewal.under_way && store_renewing(d->store) ? 1 : 0;

    while (r == 1) {
        r = walk(d, CHUNK_JOBS);
        durable_submit(d);
    }
}

static void on_renew(void *ctx, bool after_loop)
{
    struct durable *d = ctx;

    begin_walk(d);
    if (after_loop)
        finish_walk(d);
}

static void on_renewed(void *ctx, const struct database_found *old)
{
    report_damage(ctx, old, "");
}

/* Or is not any more, while it is under way. */
static bool walk_is_wanted(const struct durable *d)
{
    return d->renewal.under_way && (!store_renewing(d->store) || store_wants_more(d->store));
}

bool durable_busy(const struct durable *d)
{
    return d != NULL && (store_busy(d->store) || walk_is_wanted(d));
}

void durable_work(struct durable *d)
{
    if (d == NULL)
        return;
    store_work(d->store, SLICE_JOBS);
    if (!walk_is_wanted(d))
        return;
    if (store_renewing(d->store))
        walk(d, SLICE_JOBS);
    else
        end_walk(d); // it has failed, and will begin again
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

static int note_ended(struct durable *d, struct job *job, uint64_t order)
{
    if (d->n_ended == d->ended_room) {
        size_t room = 2 * d->ended_room + 64;
        struct ended *more = reallocarray(d->ended, room, sizeof *more);
        if (more == NULL)
            return -ENOMEM;
        d->ended = more;
        d->ended_room = room;
    }
    d->ended[d->n_ended++] = (struct ended){job, order};
    return 0;
}

/* In a file that does not say in what order they ended, it is when they did. */
static int compare_ended(const void *a, const void *b)
{
    const struct ended *x = a, *y = b;

    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    if (x->job->ended != y->job->ended)
        return x->job->ended < y->job->ended ? -1 : 1;
    return x->job->id < y->job->id ? -1 : 1;
}

/* All have been taken up: those that have ended did so in this order. */
static void order_ended(struct durable *d)
{
    if (d->n_ended > 0)
        qsort(d->ended, d->n_ended, sizeof *d->ended, compare_ended);
    for (size_t i = 0; i < d->n_ended; i++) {
        const struct ended *ended = &d->ended[i];
        jobs_note_end(d->jobs, ended->job);
        if (ended->order == UINT64_MAX)
            put(d, ended->job, ++d->ends);
        else
            d->ends = MAX(d->ends, ended->order);
    }
    free(d->ended);
    d->ended = NULL;
    d->n_ended = d->ended_room = 0;
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
    *why = "it waits for another one, and for none";
    r = life.waits && spec.after == NULL ? -EINVAL : jobs_take_up(d->jobs, &kept, d->done, loop_now(d->loop), &job);
    spec.name = NULL;
    spec_clear(&spec);
    if (r != -EINVAL)
        *why = r == -EEXIST ? "another has its name or its id" : "out of memory";
    if (r < 0)
        return r;
    d->restored += !job_ended(job);
    // A job that finished after the last commit, which was told, ended after those in the file.
    return job_ended(job) ? note_ended(d, job, job->state == life.state ? row->ended : UINT64_MAX) : 0;
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
    order_ended(d);
    return r;
}

static void report_found(const struct durable *d, const struct database_found *found)
{
    char span[QUANTITY_TEXT_MAX];

    if (found->set_aside[0] != '\0')
        report_damage(d, found, found->lost == 0 ? ">=" : "");
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
    end_walk(d);
    free(d->ended);
    free(d->path);
    free(d);
}

static int open_store(struct durable *d, enum loop_clock clock, char *why, size_t size)
{
    const struct store_hooks hooks = {
        .done = on_done, .undo = on_undo, .renew = on_renew, .renewed = on_renewed, .ctx = d};
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
    finish_walk(d);
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
