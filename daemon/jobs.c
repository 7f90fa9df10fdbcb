#include "jobs.h"

#include "names.h"
#include "sched.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/* How many jobs are looked at for a similar name. */
#define NEAREST_MAX 200

/* Jobs that are taken out of the schedule together, to be run one after the other. */
#define RUN_BATCH  16
#define CACHE_LINE 64

/* A job with its places in the lists. */
struct entry {
    struct job job; // first, so that a job pointer is its entry's
    uint32_t slot;  // its handle in jobs::sched, its index in jobs::slots
    bool in_ended;
    struct entry *displaced;       // during jobs_add(): whose name it takes
    TAILQ_ENTRY(entry) by_id_link; // jobs::by_id
    TAILQ_ENTRY(entry) ended_link; // jobs::ended
};

TAILQ_HEAD(entries, entry);

struct jobs {
    struct entries by_id; // owns the entries
    struct entries ended; // oldest end first
    struct entry **slots; // slots[0 .. n_slots), free ones are NULL
    uint32_t *free_slots; // a stack
    uint32_t n_slots, n_free, reserved;
    uint32_t n_ended;
    struct sched *sched;
    struct names *names;
    LIST_HEAD(cursors, jobs_cursor) cursors;
    uint64_t next_id;
    uint64_t foreground_ever;
    struct jobs_counts counts;
    struct jobs_config config;
    struct jobs_hooks hooks;
};

static struct entry *entry_of(struct job *job)
{
    return (struct entry *)job;
}

struct jobs *jobs_new(const struct jobs_config *config, const struct jobs_hooks *hooks)
{
    struct jobs *jobs = calloc(1, sizeof *jobs);
    if (jobs == NULL)
        return NULL;
    TAILQ_INIT(&jobs->by_id);
    TAILQ_INIT(&jobs->ended);
    jobs->config = *config;
    jobs->hooks = *hooks;
    jobs->next_id = 1;
    jobs->sched = sched_new();
    jobs->names = names_new(config->seed);
    if (jobs->sched == NULL || jobs->names == NULL) {
        jobs_free(jobs);
        return NULL;
    }
    return jobs;
}

static void entry_free(struct entry *e)
{
    job_clear(&e->job);
    free(e);
}

void jobs_free(struct jobs *jobs)
{
    if (jobs == NULL)
        return;
    for (struct entry *e; (e = TAILQ_FIRST(&jobs->by_id)) != NULL;) {
        TAILQ_REMOVE(&jobs->by_id, e, by_id_link);
        jobs->hooks.removed(jobs->hooks.ctx, &e->job);
        entry_free(e);
    }
    names_free(jobs->names);
    sched_free(jobs->sched);
    free(jobs->slots);
    free(jobs->free_slots);
    free(jobs);
}

void jobs_configure(struct jobs *jobs, uint32_t max_jobs, uint32_t keep_ended)
{
    jobs->config.max_jobs = max_jobs;
    jobs->config.keep_ended = keep_ended;
}

uint32_t jobs_max(const struct jobs *jobs)
{
    return jobs->config.max_jobs;
}

/* Take the job into the counts (by = 1), or out of them before it changes (by = -1). */
static void account(struct jobs *jobs, const struct job *job, int by)
{
    uint32_t one = (uint32_t)by; // unsigned arithmetic wraps: adding it takes one away

    if (job_ended(job))
        return;
    jobs->counts.live += one;
    if (!job->spec.background)
        jobs->counts.foreground += one;
    if (job->state == JOB_PAUSED)
        jobs->counts.paused += one;
}

/*
 * Put the job where its state says: into the schedule, and on or off the list of ended ones. A job that is behind
 * queues at `now`, after all that are due, so that one which never catches up starves nobody.
 */
static void settle(struct jobs *jobs, struct entry *e, int64_t now)
{
    int64_t due = job_due(&e->job);
    bool ended = job_ended(&e->job);

    if (due == TIME_NEVER)
        sched_cancel(jobs->sched, e->slot);
    else
        sched_set(jobs->sched, e->slot, due > now ? due : now);
    if (ended == e->in_ended)
        return;
    e->in_ended = ended;
    if (ended) {
        TAILQ_INSERT_TAIL(&jobs->ended, e, ended_link);
        jobs->n_ended++;
    } else {
        TAILQ_REMOVE(&jobs->ended, e, ended_link);
        jobs->n_ended--;
    }
}

static void tell(struct jobs *jobs, struct entry *e, const struct job_events *events)
{
    for (unsigned i = 0; i < events->n; i++) {
        const struct job_event *ev = &events->ev[i];
        if (ev->type == EVENT_TICK || (ev->type == EVENT_FINISH && e->job.spec.kind == JOB_ONCE))
            jobs->counts.ticks++;
        if (ev->type == EVENT_TICK || ev->type == EVENT_MISSED)
            jobs->counts.missed += ev->missed;
        jobs->hooks.event(jobs->hooks.ctx, &e->job, ev);
    }
}

/* After a step on a job that was taken out of the counts; r is what the step returned, and what this returns. */
static int stepped(struct jobs *jobs, struct job *job, int64_t now, const struct job_events *events, int r)
{
    account(jobs, job, 1);
    if (r == 0) {
        settle(jobs, entry_of(job), now);
        tell(jobs, entry_of(job), events);
    }
    return r;
}

/* Make room for n more jobs, so that taking them in cannot fail. */
static int reserve(struct jobs *jobs, size_t n)
{
    size_t wanted = jobs->n_slots - jobs->n_free + n;

    if (wanted > UINT32_MAX / 2)
        return -ENOMEM;
    if (wanted > jobs->reserved) {
        if (wanted < jobs->reserved + jobs->reserved / 2)
            wanted = jobs->reserved + jobs->reserved / 2;
        struct entry **slots = reallocarray(jobs->slots, wanted, sizeof(struct entry *));
        if (slots == NULL)
            return -ENOMEM;
        jobs->slots = slots;
        uint32_t *free_slots = reallocarray(jobs->free_slots, wanted, sizeof *free_slots);
        if (free_slots == NULL)
            return -ENOMEM;
        jobs->free_slots = free_slots;
        jobs->reserved = (uint32_t)wanted;
    }
    int r = sched_reserve(jobs->sched, jobs->reserved);
    return r < 0 ? r : names_reserve(jobs->names, wanted);
}

/* Let go of an ended entry: of everything that knows it, then of its memory. Its name may already be another's. */
static void forget(struct jobs *jobs, struct entry *e)
{
    struct jobs_cursor *cursor;

    jobs->hooks.removed(jobs->hooks.ctx, &e->job);
    LIST_FOREACH (cursor, &jobs->cursors, link)
        if (cursor->next == &e->job)
            cursor->next = (struct job *)TAILQ_NEXT(e, by_id_link);
    TAILQ_REMOVE(&jobs->ended, e, ended_link);
    jobs->n_ended--;
    sched_cancel(jobs->sched, e->slot);
    names_drop(jobs->names, &e->job);
    TAILQ_REMOVE(&jobs->by_id, e, by_id_link);
    jobs->counts.listed--;
    jobs->slots[e->slot] = NULL;
    jobs->free_slots[jobs->n_free++] = e->slot;
    entry_free(e);
}

/* Forget the `n` that ended first, or all of the ended ones if they are fewer. */
static void forget_oldest(struct jobs *jobs, size_t n)
{
    struct entry *e, *next;

    for (e = TAILQ_FIRST(&jobs->ended); e != NULL && n > 0; e = next, n--) {
        next = TAILQ_NEXT(e, ended_link);
        forget(jobs, e);
    }
}

void jobs_trim(struct jobs *jobs)
{
    if (jobs->n_ended > jobs->config.keep_ended)
        forget_oldest(jobs, jobs->n_ended - jobs->config.keep_ended);
}

/* A name for a job that has none: "countdown-7", with more numbers behind it if somebody took that. */
static char *make_name(const struct jobs *jobs, enum job_kind kind, uint64_t id)
{
    char name[NAME_LEN_MAX + 1];

    snprintf(name, sizeof name, "%s-%llu", job_kind_name(kind), (unsigned long long)id);
    for (unsigned n = 2; names_get(jobs->names, name) != NULL; n++)
        snprintf(name, sizeof name, "%s-%llu-%u", job_kind_name(kind), (unsigned long long)id, n);
    return strdup(name);
}

/* The id of an entry while its batch is prepared: later than any that is listed. */
#define ID_UNKNOWN UINT64_MAX

/*
 * First half of adding one: an entry that shares the spec's texts, and has its name if it brings one. *out is NULL
 * when the job that has the name shall stay (ADD_IF_ABSENT). Undone by retract().
 */
static int prepare(struct jobs *jobs, const struct jobs_add *add, size_t i, struct entry **out)
{
    const struct job_spec *spec = &add->specs[i];
    struct job *holder = spec->name != NULL ? names_get(jobs->names, spec->name) : NULL;

    *out = NULL;
    if (holder != NULL && holder->id == ID_UNKNOWN) // twice in this batch
        return -EEXIST;
    if (holder != NULL && !job_ended(holder)) {
        if (add->mode == ADD_NEW)
            return -EEXIST;
        if (add->mode == ADD_IF_ABSENT)
            return 0;
    }
    struct entry *e = calloc(1, sizeof *e);
    if (e == NULL)
        return -ENOMEM;
    e->job.spec = *spec;
    e->job.id = ID_UNKNOWN;
    e->job.owner = add->owner;
    e->job.source = add->source;
    if (spec->name != NULL)
        e->displaced = (struct entry *)names_put(jobs->names, &e->job);
    *out = e;
    return 0;
}

static void retract(struct jobs *jobs, const struct job_spec *spec, struct entry *e)
{
    if (e->displaced != NULL)
        names_put(jobs->names, &e->displaced->job);
    else
        names_drop(jobs->names, &e->job);
    if (spec->name == NULL)
        free(e->job.spec.name);
    free(e);
}

/* Give the batch its ids, and names where there are none: now that no spec can ask for a name that was made. */
static int number(struct jobs *jobs, struct entry **entries, size_t n)
{
    uint64_t id = jobs->next_id;

    for (size_t i = 0; i < n; i++) {
        struct entry *e = entries[i];
        if (e == NULL)
            continue;
        e->job.id = id++;
        if (e->job.spec.name != NULL)
            continue;
        e->job.spec.name = make_name(jobs, e->job.spec.kind, e->job.id);
        if (e->job.spec.name == NULL)
            return -ENOMEM;
        names_put(jobs->names, &e->job);
    }
    jobs->next_id = id;
    return 0;
}

/* Second half: take the entry in, and start the job. Cannot fail. */
static void take_in(struct jobs *jobs, struct entry *e, struct job_spec *spec, int64_t now)
{
    struct job_events events;

    if (e->displaced != NULL) {
        jobs_remove(jobs, &e->displaced->job, now, "replaced");
        e->displaced = NULL;
    }
    e->slot = jobs->n_free > 0 ? jobs->free_slots[--jobs->n_free] : jobs->n_slots++;
    jobs->slots[e->slot] = e;
    TAILQ_INSERT_TAIL(&jobs->by_id, e, by_id_link);
    jobs->counts.listed++;
    jobs->counts.ever++;
    jobs->foreground_ever += !e->job.spec.background;
    struct job_spec own = e->job.spec;
    *spec = (struct job_spec){0};
    job_start(&e->job, &own, now, &events);
    stepped(jobs, &e->job, now, &events, 0);
}

/* All of the first halves, or none. */
static int prepare_all(struct jobs *jobs, const struct jobs_add *add, struct entry **entries, size_t *failed)
{
    size_t more = 0, going = add->leaving + jobs->n_ended;
    int r = 0;

    for (size_t i = 0; r == 0 && i < add->n; i++) {
        r = prepare(jobs, add, i, &entries[i]);
        const struct entry *displaced = entries[i] != NULL ? entries[i]->displaced : NULL;
        more += entries[i] != NULL && (displaced == NULL || displaced->in_ended);
        *failed = i;
    }
    if (r == 0 && more > 0 && more + jobs->counts.listed > jobs->config.max_jobs + going)
        r = -ENOSPC;
    if (r == 0)
        r = number(jobs, entries, add->n);
    for (size_t i = 0; r < 0 && i < add->n; i++)
        if (entries[i] != NULL)
            retract(jobs, &add->specs[i], entries[i]);
    return r;
}

int jobs_add(struct jobs *jobs, const struct jobs_add *add, int64_t now, struct job **jobs_out, size_t *failed)
{
    *failed = 0;
    if (add->n == 0)
        return 0;
    int r = reserve(jobs, add->n);
    if (r < 0)
        return r;
    struct entry **entries = calloc(add->n, sizeof(struct entry *));
    if (entries == NULL)
        return -ENOMEM;
    r = prepare_all(jobs, add, entries, failed);
    for (size_t i = 0; r == 0 && i < add->n; i++) {
        struct job *job = entries[i] != NULL ? &entries[i]->job : names_get(jobs->names, add->specs[i].name);
        if (entries[i] != NULL)
            take_in(jobs, entries[i], &add->specs[i], now);
        else
            spec_clear(&add->specs[i]);
        if (jobs_out != NULL)
            jobs_out[i] = job;
    }
    size_t room = jobs->config.max_jobs + add->leaving;
    if (r == 0 && jobs->counts.listed > room)
        forget_oldest(jobs, jobs->counts.listed - room);
    free(entries);
    return r;
}

struct job *jobs_find(const struct jobs *jobs, const char *name)
{
    return names_get(jobs->names, name);
}

int jobs_pause(struct jobs *jobs, struct job *job, int64_t now)
{
    struct job_events events = {0};

    account(jobs, job, -1);
    return stepped(jobs, job, now, &events, job_pause(job, now, &events));
}

int jobs_resume(struct jobs *jobs, struct job *job, int64_t now)
{
    struct job_events events = {0};

    account(jobs, job, -1);
    return stepped(jobs, job, now, &events, job_resume(job, now, &events));
}

void jobs_reset(struct jobs *jobs, struct job *job, int64_t now)
{
    struct job_events events = {0};

    account(jobs, job, -1);
    job_reset(job, now, &events);
    stepped(jobs, job, now, &events, 0);
}

int jobs_stop(struct jobs *jobs, struct job *job, int64_t now, const char *why)
{
    struct job_events events = {0};

    account(jobs, job, -1);
    return stepped(jobs, job, now, &events, job_stop(job, now, why, &events));
}

int jobs_fail(struct jobs *jobs, struct job *job, int64_t now, const char *why)
{
    struct job_events events = {0};

    account(jobs, job, -1);
    return stepped(jobs, job, now, &events, job_fail(job, now, why, &events));
}

void jobs_remove(struct jobs *jobs, struct job *job, int64_t now, const char *why)
{
    if (!job_ended(job))
        jobs_stop(jobs, job, now, why);
    forget(jobs, entry_of(job));
}

bool jobs_next_due(const struct jobs *jobs, int64_t *due, struct job **job)
{
    uint32_t slot;

    if (!sched_next(jobs->sched, due, &slot))
        return false;
    if (job != NULL)
        *job = &jobs->slots[slot]->job;
    return true;
}

static void prefetch_entry(const struct entry *e)
{
    const char *bytes = (const char *)&e->job;

    for (size_t at = 0; at < sizeof e->job; at += CACHE_LINE)
        __builtin_prefetch(bytes + at, 1);
}

/*
 * The due ones are taken in batches: their memory is on its way from far before the first of them is run. At a million
 * jobs that is most of what a tick costs.
 */
size_t jobs_run_due(struct jobs *jobs, int64_t now, size_t max)
{
    struct job_events events;
    uint32_t slots[RUN_BATCH];
    size_t steps = 0, n;

    while (steps < max && (n = sched_pop_due_many(jobs->sched, now, slots, MIN(max - steps, RUN_BATCH))) > 0) {
        for (size_t i = 0; i < n; i++)
            __builtin_prefetch(&jobs->slots[slots[i]]);
        for (size_t i = 0; i < n; i++)
            prefetch_entry(jobs->slots[slots[i]]);
        for (size_t i = 0; i < n; i++) {
            struct entry *e = jobs->slots[slots[i]];
            account(jobs, &e->job, -1);
            job_run(&e->job, now, &events);
            stepped(jobs, &e->job, now, &events, 0);
        }
        steps += n;
    }
    return steps;
}

void jobs_begin(struct jobs *jobs, struct jobs_cursor *cursor)
{
    cursor->next = (struct job *)TAILQ_FIRST(&jobs->by_id);
    cursor->end = jobs->next_id;
    LIST_INSERT_HEAD(&jobs->cursors, cursor, link);
}

struct job *jobs_next(struct jobs_cursor *cursor)
{
    struct job *job = cursor->next;

    if (job == NULL || job->id >= cursor->end)
        return NULL;
    cursor->next = (struct job *)TAILQ_NEXT(entry_of(job), by_id_link);
    return job;
}

void jobs_end(struct jobs_cursor *cursor)
{
    LIST_REMOVE(cursor, link);
}

const char *jobs_nearest(const struct jobs *jobs, const char *wanted)
{
    struct nearest nearest;
    struct entry *e;
    unsigned n = 0;

    nearest_init(&nearest, wanted);
    TAILQ_FOREACH (e, &jobs->by_id, by_id_link) {
        if (n++ == NEAREST_MAX)
            break;
        nearest_offer(&nearest, e->job.spec.name);
    }
    return nearest.best;
}

void jobs_counts(const struct jobs *jobs, struct jobs_counts *out)
{
    *out = jobs->counts;
}

bool jobs_done(const struct jobs *jobs)
{
    return jobs->foreground_ever > 0 && jobs->counts.foreground == 0;
}
