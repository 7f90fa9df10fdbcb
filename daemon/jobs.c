#include "jobs.h"

#include "names.h"
#include "sched.h"
#include "slab.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/param.h>

/* How many jobs are looked at for a similar name. */
#define NEAREST_MAX 200

/* Ended jobs that are removed in one call, besides those that new ones push out. */
#define TRIM_MAX 1024

/* Jobs that are taken out of the schedule together, to be run one after the other. */
#define RUN_BATCH  16
#define CACHE_LINE 64

/* No slot. */
#define NOWHERE UINT32_MAX

/* A list of jobs, through one of the links that each of them has. */
struct job_list {
    uint32_t first, last; // slots
    size_t link;          // its offset in struct job
};

struct jobs {
    struct slab slab;      // owns the jobs; their slots are its numbers
    struct job_list by_id; // all of them
    struct job_list ended; // oldest end first
    uint32_t n_ended;
    struct traits_pool *traits;
    struct sched *sched; // of slots
    struct names *names;
    LIST_HEAD(cursors, jobs_cursor) cursors;
    uint64_t next_id;
    uint64_t foreground_ever;
    struct jobs_counts counts;
    struct jobs_config config;
    struct jobs_hooks hooks;
};

/* The job of a slot; NULL for NOWHERE. */
static struct job *job_at(const struct jobs *jobs, uint32_t slot)
{
    return slot == NOWHERE ? NULL : slab_at(&jobs->slab, slot);
}

static struct job_list list_of(size_t link)
{
    return (struct job_list){NOWHERE, NOWHERE, link};
}

static struct job_link *link_in(const struct jobs *jobs, const struct job_list *list, uint32_t slot)
{
    return (struct job_link *)(void *)((char *)slab_at(&jobs->slab, slot) + list->link);
}

static void list_append(struct jobs *jobs, struct job_list *list, uint32_t slot)
{
    *link_in(jobs, list, slot) = (struct job_link){.prev = list->last, .next = NOWHERE};
    if (list->last == NOWHERE)
        list->first = slot;
    else
        link_in(jobs, list, list->last)->next = slot;
    list->last = slot;
}

static void list_remove(struct jobs *jobs, struct job_list *list, uint32_t slot)
{
    struct job_link link = *link_in(jobs, list, slot);
    struct jobs_cursor *cursor;

    LIST_FOREACH (cursor, &jobs->cursors, link)
        if (cursor->list == list && cursor->next == job_at(jobs, slot))
            cursor->next = job_at(jobs, link.next);
    if (link.prev == NOWHERE)
        list->first = link.next;
    else
        link_in(jobs, list, link.prev)->next = link.next;
    if (link.next == NOWHERE)
        list->last = link.prev;
    else
        link_in(jobs, list, link.next)->prev = link.prev;
}

struct jobs *jobs_new(const struct jobs_config *config, const struct jobs_hooks *hooks)
{
    struct jobs *jobs = calloc(1, sizeof *jobs);
    if (jobs == NULL)
        return NULL;
    slab_init(&jobs->slab, sizeof(struct job));
    jobs->by_id = list_of(offsetof(struct job, by_id_link));
    jobs->ended = list_of(offsetof(struct job, ended_link));
    jobs->config = *config;
    jobs->hooks = *hooks;
    jobs->next_id = 1;
    jobs->traits = traits_pool_new(config->seed);
    jobs->sched = sched_new();
    jobs->names = names_new(config->seed, &jobs->slab);
    if (jobs->traits == NULL || jobs->sched == NULL || jobs->names == NULL) {
        jobs_free(jobs);
        return NULL;
    }
    return jobs;
}

void jobs_free(struct jobs *jobs)
{
    if (jobs == NULL)
        return;
    for (uint32_t slot = jobs->by_id.first, next; slot != NOWHERE; slot = next) {
        struct job *job = job_at(jobs, slot);
        next = job->by_id_link.next;
        jobs->hooks.removed(jobs->hooks.ctx, job);
        job_clear(job);
    }
    names_free(jobs->names);
    sched_free(jobs->sched);
    traits_pool_free(jobs->traits);
    slab_fini(&jobs->slab);
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

/* Take the job, in that state, into the counts (by = 1), or out of them (by = -1). */
static void account_as(struct jobs *jobs, const struct job *job, enum job_state state, int by)
{
    uint32_t one = (uint32_t)by; // unsigned arithmetic wraps: adding it takes one away

    if (job_state_ended(state))
        return;
    jobs->counts.live += one;
    if (!job_background(job))
        jobs->counts.foreground += one;
    if (state == JOB_PAUSED)
        jobs->counts.paused += one;
}

/* The same with the state that it has: out of them before it changes. */
static void account(struct jobs *jobs, const struct job *job, int by)
{
    account_as(jobs, job, (enum job_state)job->state, by);
}

/*
 * Put the job where its state says: into the schedule, and on or off the list of ended ones. A job that is behind
 * queues at `now`, after all that are due, so that one which never catches up starves nobody.
 */
static inline void settle(struct jobs *jobs, struct job *job, int64_t now)
{
    int64_t due = job_due(job);
    bool ended = job_ended(job);

    if (due == TIME_NEVER)
        sched_cancel(jobs->sched, job->slot);
    else
        sched_set(jobs->sched, job->slot, due > now ? due : now);
    if (ended == job->in_ended)
        return;
    job->in_ended = ended;
    if (ended) {
        list_append(jobs, &jobs->ended, job->slot);
        jobs->n_ended++;
    } else {
        list_remove(jobs, &jobs->ended, job->slot);
        jobs->n_ended--;
    }
}

static inline void tell(struct jobs *jobs, struct job *job, const struct job_events *events)
{
    for (unsigned i = 0; i < events->n; i++) {
        const struct job_event *ev = &events->ev[i];
        if (ev->type == EVENT_TICK || (ev->type == EVENT_FINISH && job_kind(job) == JOB_ONCE))
            jobs->counts.ticks++;
        if (ev->type == EVENT_TICK || ev->type == EVENT_MISSED)
            jobs->counts.missed += ev->missed;
        jobs->hooks.event(jobs->hooks.ctx, job, ev);
    }
}

/* After a step on a job that was taken out of the counts; r is what the step returned, and what this returns. */
static int stepped(struct jobs *jobs, struct job *job, int64_t now, const struct job_events *events, int r)
{
    account(jobs, job, 1);
    if (r == 0) {
        settle(jobs, job, now);
        tell(jobs, job, events);
    }
    return r;
}

/* Make room for n more jobs, so that they find a place everywhere. */
static int reserve(struct jobs *jobs, size_t n)
{
    int r = slab_reserve(&jobs->slab, n);
    if (r == 0)
        r = sched_reserve(jobs->sched, slab_room(&jobs->slab));
    return r < 0 ? r : names_reserve(jobs->names);
}

/* Let go of an ended job: of everything that knows it, then of its memory. Its name may already be another's. */
static void forget(struct jobs *jobs, struct job *job)
{
    uint32_t slot = job->slot;

    jobs->hooks.removed(jobs->hooks.ctx, job);
    list_remove(jobs, &jobs->ended, slot);
    jobs->n_ended--;
    sched_cancel(jobs->sched, slot);
    names_drop(jobs->names, job);
    list_remove(jobs, &jobs->by_id, slot);
    jobs->counts.listed--;
    job_clear(job);
    slab_give(&jobs->slab, slot);
}

/* Forget the `n` that ended first, or all of the ended ones if they are fewer. */
static void forget_oldest(struct jobs *jobs, size_t n)
{
    for (; n > 0 && jobs->n_ended > 0; n--)
        forget(jobs, job_at(jobs, jobs->ended.first));
}

bool jobs_trim(struct jobs *jobs)
{
    uint32_t keep = jobs->config.keep_ended, surplus = jobs->n_ended > keep ? jobs->n_ended - keep : 0;

    forget_oldest(jobs, MIN(surplus, TRIM_MAX));
    return surplus > TRIM_MAX;
}

/* Make a name for a job that has none: "countdown-7", with more numbers behind it if somebody took that. */
static int make_name(const struct jobs *jobs, struct job *job)
{
    const char *kind = job_kind_name(job_kind(job));
    char name[NAME_LEN_MAX + 1];

    snprintf(name, sizeof name, "%s-%llu", kind, (unsigned long long)job->id);
    for (unsigned n = 2; names_get(jobs->names, name) != NULL; n++)
        snprintf(name, sizeof name, "%s-%llu-%u", kind, (unsigned long long)job->id, n);
    return job_set_name(job, name);
}

/* The id of a job while its batch is prepared: later than any that is listed. */
#define ID_UNKNOWN UINT64_MAX

/* A job of a batch, and whose name it takes. Either may be NULL. */
struct incoming {
    struct job *job, *displaced;
};

static bool asks_for(const struct job_spec *spec, const struct job *job)
{
    const struct job_spec has = job_spec_of(job);

    return spec_equal(spec, &has);
}

/*
 * First half of adding one: a job that is nowhere listed, but has its name if it brings one. It is NULL when the one
 * that has the name shall stay (ADD_IF_ABSENT, ADD_OR_RESET). Undone by retract().
 */
static int prepare(struct jobs *jobs, const struct jobs_add *add, size_t i, struct incoming *out)
{
    const struct job_spec *spec = &add->specs[i];
    const struct job *holder = spec->name != NULL ? names_get(jobs->names, spec->name) : NULL;

    if (holder != NULL && holder->id == ID_UNKNOWN) // twice in this batch
        return -EEXIST;
    if (holder != NULL && add->mode == ADD_OR_RESET && asks_for(spec, holder))
        return 0;
    if (holder != NULL && !job_ended(holder)) {
        if (add->mode == ADD_NEW)
            return -EEXIST;
        if (add->mode == ADD_IF_ABSENT)
            return 0;
    }
    uint32_t slot = slab_take(&jobs->slab);
    struct job *job = job_at(jobs, slot);
    int r = job_init(job, jobs->traits, spec);
    if (r < 0) {
        slab_give(&jobs->slab, slot);
        return r;
    }
    job->id = ID_UNKNOWN;
    job->slot = slot;
    job->owner = add->owner;
    job->source = (uint8_t)add->source;
    out->job = job;
    if (spec->name != NULL)
        out->displaced = names_put(jobs->names, job);
    return 0;
}

static void retract(struct jobs *jobs, const struct incoming *in)
{
    uint32_t slot;

    if (in->job == NULL)
        return;
    slot = in->job->slot;
    if (in->displaced != NULL)
        names_put(jobs->names, in->displaced);
    else
        names_drop(jobs->names, in->job);
    job_clear(in->job);
    slab_give(&jobs->slab, slot);
}

/* Give the batch its ids, and names where there are none: now that no spec can ask for a name that was made. */
static int number(struct jobs *jobs, const struct incoming *batch, size_t n)
{
    uint64_t id = jobs->next_id;

    for (size_t i = 0; i < n; i++) {
        struct job *job = batch[i].job;
        if (job == NULL)
            continue;
        job->id = id++;
        if (job_name(job)[0] != '\0')
            continue;
        int r = make_name(jobs, job);
        if (r < 0)
            return r;
        names_put(jobs->names, job);
    }
    jobs->next_id = id;
    return 0;
}

/* Second half: take the job in, and start it. Cannot fail. */
static void take_in(struct jobs *jobs, const struct incoming *in, int64_t now)
{
    struct job *job = in->job;
    struct job_events events;

    if (in->displaced != NULL)
        jobs_remove(jobs, in->displaced, now, "replaced");
    list_append(jobs, &jobs->by_id, job->slot);
    jobs->counts.listed++;
    jobs->counts.ever++;
    jobs->foreground_ever += !job_background(job);
    job_start(job, now, &events);
    stepped(jobs, job, now, &events, 0);
}

/* Is it an ended job that stays, to be reset? */
static bool holder_ended(const struct jobs *jobs, const struct job_spec *spec)
{
    return job_ended(names_get(jobs->names, spec->name));
}

/* All of the first halves, or none. */
static int prepare_all(struct jobs *jobs, const struct jobs_add *add, struct incoming *batch, size_t *failed)
{
    size_t more = 0, going = add->leaving + jobs->n_ended;
    int r = 0;

    for (size_t i = 0; r == 0 && i < add->n; i++) {
        r = prepare(jobs, add, i, &batch[i]);
        more += batch[i].job != NULL && (batch[i].displaced == NULL || batch[i].displaced->in_ended);
        going -= r == 0 && add->mode == ADD_OR_RESET && batch[i].job == NULL && holder_ended(jobs, &add->specs[i]);
        *failed = i;
    }
    if (r == 0 && more > 0 && more + jobs->counts.listed > jobs->config.max_jobs + going)
        r = -ENOSPC;
    if (r == 0)
        r = number(jobs, batch, add->n);
    for (size_t i = add->n; r < 0 && i > 0; i--)
        retract(jobs, &batch[i - 1]);
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
    struct incoming *batch = calloc(add->n, sizeof *batch);
    if (batch == NULL)
        return -ENOMEM;
    r = prepare_all(jobs, add, batch, failed);
    for (size_t i = 0; r == 0 && i < add->n; i++) {
        if (batch[i].job != NULL)
            take_in(jobs, &batch[i], now);
        else if (add->mode == ADD_OR_RESET)
            jobs_reset(jobs, names_get(jobs->names, add->specs[i].name), now);
        if (jobs_out != NULL)
            jobs_out[i] = batch[i].job != NULL ? batch[i].job : names_get(jobs->names, add->specs[i].name);
    }
    size_t room = jobs->config.max_jobs + add->leaving;
    if (r == 0 && jobs->counts.listed > room)
        forget_oldest(jobs, MIN(jobs->counts.listed - room, add->n + TRIM_MAX)); // a new bound is reached in parts
    free(batch);
    return r;
}

int jobs_take_up(struct jobs *jobs, const struct jobs_kept *kept, int64_t done, int64_t now, struct job **out)
{
    if (kept->id < jobs->next_id || names_get(jobs->names, kept->spec->name) != NULL)
        return -EEXIST;
    int r = reserve(jobs, 1);
    if (r < 0)
        return r;
    uint32_t slot = slab_take(&jobs->slab);
    struct job *job = job_at(jobs, slot);
    r = job_init(job, jobs->traits, kept->spec);
    if (r == 0)
        r = job_take_up(job, kept->life, done);
    if (r < 0) {
        job_clear(job);
        slab_give(&jobs->slab, slot);
        return r;
    }
    job->slot = slot;
    job->id = kept->id;
    job->owner = kept->owner;
    job->source = (uint8_t)kept->source;
    jobs->next_id = kept->id + 1;
    names_put(jobs->names, job);
    list_append(jobs, &jobs->by_id, slot);
    jobs->counts.listed++;
    jobs->counts.ever += !job_ended(job);
    // That it asks for work to be done is true of a configured job even if it has been.
    jobs->foreground_ever += !job_background(job) && (!job_ended(job) || kept->source == SOURCE_CONFIG);
    account(jobs, job, 1);
    settle(jobs, job, now);
    *out = job;
    return 0;
}

uint64_t jobs_next_id(const struct jobs *jobs)
{
    return jobs->next_id;
}

void jobs_begin_ids_at(struct jobs *jobs, uint64_t id)
{
    jobs->next_id = MAX(jobs->next_id, id);
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

void jobs_release(struct jobs *jobs, struct job *job, int64_t start, int64_t now)
{
    bool waited = job_waits(job);
    struct job_events events;

    job_release(job, start, now, &events);
    settle(jobs, job, now);
    tell(jobs, job, &events);
    if (waited && events.n == 0)
        jobs->hooks.changed(jobs->hooks.ctx, job);
}

void jobs_remove(struct jobs *jobs, struct job *job, int64_t now, const char *why)
{
    if (!job_ended(job))
        jobs_stop(jobs, job, now, why);
    forget(jobs, job);
}

bool jobs_next_due(const struct jobs *jobs, int64_t *due, struct job **job)
{
    uint32_t slot;

    if (!sched_next(jobs->sched, due, &slot))
        return false;
    if (job != NULL)
        *job = job_at(jobs, slot);
    return true;
}

static void prefetch_job(const struct job *job)
{
    for (size_t at = 0; at < sizeof *job; at += CACHE_LINE)
        __builtin_prefetch((const char *)job + at, 1);
}

/* A step of a job that is due. Its place in the counts changes only when it ends. */
static void run_one(struct jobs *jobs, struct job *job, int64_t now)
{
    enum job_state before = (enum job_state)job->state;
    struct job_events events;

    job_run(job, now, &events);
    if (job_ended(job))
        account_as(jobs, job, before, -1);
    settle(jobs, job, now);
    tell(jobs, job, &events);
}

/*
 * The due ones are taken in batches: their memory is on its way from far before the first of them is run. At a million
 * jobs that is most of what a tick costs.
 */
size_t jobs_run_due(struct jobs *jobs, int64_t now, size_t max)
{
    uint32_t slots[RUN_BATCH];
    struct job *due[RUN_BATCH];
    size_t steps = 0, n;

    while (steps < max && (n = sched_pop_due_many(jobs->sched, now, slots, MIN(max - steps, RUN_BATCH))) > 0) {
        for (size_t i = 0; i < n; i++) {
            due[i] = slab_at(&jobs->slab, slots[i]);
            prefetch_job(due[i]);
        }
        for (size_t i = 0; i < n; i++)
            run_one(jobs, due[i], now);
        steps += n;
    }
    return steps;
}

static void begin_walk(struct jobs *jobs, const struct job_list *list, uint64_t end, struct jobs_cursor *cursor)
{
    *cursor = (struct jobs_cursor){.jobs = jobs, .list = list, .next = job_at(jobs, list->first), .end = end};
    LIST_INSERT_HEAD(&jobs->cursors, cursor, link);
}

void jobs_begin(struct jobs *jobs, struct jobs_cursor *cursor)
{
    begin_walk(jobs, &jobs->by_id, jobs->next_id, cursor);
}

void jobs_begin_ended(struct jobs *jobs, struct jobs_cursor *cursor)
{
    begin_walk(jobs, &jobs->ended, UINT64_MAX, cursor);
}

void jobs_note_end(struct jobs *jobs, struct job *job)
{
    list_remove(jobs, &jobs->ended, job->slot);
    list_append(jobs, &jobs->ended, job->slot);
}

struct job *jobs_next(struct jobs_cursor *cursor)
{
    struct job *job = cursor->next;

    if (job == NULL || job->id >= cursor->end)
        return NULL;
    cursor->next = job_at(cursor->jobs, link_in(cursor->jobs, cursor->list, job->slot)->next);
    return job;
}

void jobs_end(struct jobs_cursor *cursor)
{
    LIST_REMOVE(cursor, link);
}

const char *jobs_nearest(const struct jobs *jobs, const char *wanted)
{
    const struct job *job = job_at(jobs, jobs->by_id.first);
    struct nearest nearest;

    nearest_init(&nearest, wanted);
    for (unsigned n = 0; job != NULL && n < NEAREST_MAX; n++) {
        nearest_offer(&nearest, job_name(job));
        job = job_at(jobs, job->by_id_link.next);
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
