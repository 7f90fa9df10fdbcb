#include "reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/* One slice: names looked up, and jobs that are added or removed, which costs more. */
#define SLICE_LOOKS 4096
#define SLICE_JOBS  256

/* What becomes of a job. */
enum fate { UNCHANGED, ADDED, CHANGED };

/* The file's jobs sorted by name, or NULL. */
static const struct job_spec **sorted(const struct config *config)
{
    const struct job_spec **specs = calloc(config->n_jobs + 1, sizeof(struct job_spec *));

    for (size_t i = 0; specs != NULL && i < config->n_jobs; i++)
        specs[i] = &config->jobs[i];
    if (specs != NULL)
        spec_sort(specs, config->n_jobs);
    return specs;
}

/* Go through both in the order of names. The fates are in the order of the file. */
static int merge(const struct digest *old, const struct job_spec **specs, struct reload_plan *plan, uint8_t *fates)
{
    struct digest_reader before;
    int r = 0;

    digest_begin(&before, old);
    bool more = digest_next(&before);
    for (size_t i = 0; r == 0 && i < plan->config->n_jobs; i++) {
        uint64_t print = spec_print(specs[i]);
        int order = 1;
        for (; r == 0 && more && (order = strcmp(before.name, specs[i]->name)) < 0; more = digest_next(&before))
            r = digest_add(&plan->removed, before.name, before.print);
        bool known = more && order == 0;
        fates[specs[i] - plan->config->jobs] = !known ? ADDED : before.print == print ? UNCHANGED : CHANGED;
        if (known)
            more = digest_next(&before);
        if (r == 0)
            r = digest_add(&plan->digest, specs[i]->name, print);
    }
    for (; r == 0 && more; more = digest_next(&before))
        r = digest_add(&plan->removed, before.name, before.print);
    return r;
}

static void collect(struct reload_plan *plan, const uint8_t *fates, enum fate wanted)
{
    for (size_t i = 0; i < plan->config->n_jobs; i++)
        if (fates[i] == wanted)
            plan->specs[plan->n_specs++] = &plan->config->jobs[i];
}

int reload_compare(const struct digest *old, const struct config *new, struct reload_plan *out)
{
    const struct job_spec **specs = sorted(new);
    uint8_t *fates = calloc(new->n_jobs + 1, 1);
    int r = specs == NULL || fates == NULL ? -ENOMEM : 0;

    *out = (struct reload_plan){.config = new};
    if (r == 0)
        r = merge(old, specs, out, fates);
    if (r == 0) {
        out->specs = specs; // who were sorted are needed no more
        specs = NULL;
        collect(out, fates, ADDED);
        out->n_added = out->n_specs;
        collect(out, fates, CHANGED);
        out->unchanged = new->n_jobs - out->n_specs;
    }
    free(specs);
    free(fates);
    if (r < 0)
        reload_plan_clear(out);
    return r;
}

void reload_plan_clear(struct reload_plan *plan)
{
    free(plan->specs);
    digest_clear(&plan->digest);
    digest_clear(&plan->removed);
    *plan = (struct reload_plan){0};
}

static bool stays(const struct config *config, const struct job_spec **specs, const struct job *job)
{
    const struct job_spec as_it_is = job_spec_of(job);
    const struct job_spec *wanted = spec_find(specs, config->n_jobs, as_it_is.name);

    return wanted != NULL && spec_equal(wanted, &as_it_is);
}

int reload_resume(struct reload_plan *plan, struct jobs *jobs, int64_t now)
{
    const struct job_spec **specs = sorted(plan->config);
    struct jobs_cursor cursor;
    struct job *job;
    size_t n = 0;

    if (specs == NULL)
        return -ENOMEM;
    jobs_begin(jobs, &cursor);
    while ((job = jobs_next(&cursor)) != NULL)
        if (job->source == SOURCE_CONFIG && !stays(plan->config, specs, job))
            jobs_remove(jobs, job, now, "reload");
    jobs_end(&cursor);
    free(specs);
    for (size_t i = 0; i < plan->n_specs; i++) {
        job = jobs_find(jobs, plan->specs[i]->name);
        if (job == NULL || job->source != SOURCE_CONFIG)
            plan->specs[n++] = plan->specs[i];
    }
    plan->unchanged += plan->n_specs - n;
    plan->n_specs = plan->n_added = n;
    plan->first = true;
    return 0;
}

/* Is the name free for the file's job? */
static int check_spec(struct reload_plan *plan, const struct jobs *jobs, const struct job_spec *spec)
{
    const struct job *job = jobs_find(jobs, spec->name);

    if (job == NULL || job_ended(job)) {
        plan->more++;
        return 0;
    }
    plan->other = job;
    return job->source == SOURCE_CONFIG || plan->first ? 0 : -EEXIST;
}

/* The job that goes with its section; NULL when it has gone, or another has its name. */
static struct job *leaves(const struct jobs *jobs, const char *name)
{
    struct job *job = jobs_find(jobs, name);

    return job != NULL && job->source == SOURCE_CONFIG ? job : NULL;
}

static int check_specs(struct reload_plan *plan, const struct jobs *jobs)
{
    int r = 0;

    for (size_t n = 0; r == 0 && n < SLICE_LOOKS && plan->at < plan->n_specs; n++)
        r = check_spec(plan, jobs, plan->specs[plan->at++]);
    if (r < 0 || plan->at < plan->n_specs)
        return r < 0 ? r : 1;
    digest_begin(&plan->reader, &plan->removed);
    plan->stage = RELOAD_CHECK_REMOVED;
    return 1;
}

/* Ended jobs give way to new ones anyhow: they do not count. */
static int check_removed(struct reload_plan *plan, struct jobs *jobs)
{
    const struct daemon_settings *settings = &plan->config->daemon;
    struct jobs_counts counts;
    size_t n = 0;

    while (n < SLICE_LOOKS && digest_next(&plan->reader)) {
        const struct job *job = leaves(jobs, plan->reader.name);
        plan->leaving += job != NULL && !job_ended(job);
        n++;
    }
    if (n == SLICE_LOOKS)
        return 1;
    jobs_counts(jobs, &counts);
    if (plan->more > 0 && plan->more + counts.live > settings->max_jobs + plan->leaving)
        return -ENOSPC;
    jobs_configure(jobs, settings->max_jobs, settings->keep_ended);
    plan->at = 0;
    plan->stage = RELOAD_ADD;
    return 1;
}

static int add_specs(struct reload_plan *plan, struct jobs *jobs, uid_t owner, int64_t now)
{
    struct job_spec specs[SLICE_JOBS];
    struct jobs_add add = {.specs = specs, .leaving = plan->leaving, .mode = ADD_REPLACE, .source = SOURCE_CONFIG};
    size_t failed;

    for (; add.n < SLICE_JOBS && plan->at + add.n < plan->n_specs; add.n++)
        specs[add.n] = *plan->specs[plan->at + add.n];
    add.owner = owner;
    int r = jobs_add(jobs, &add, now, NULL, &failed);
    if (r == -ENOSPC) { // users have added jobs since the check: for once there are more
        add.leaving += UINT32_MAX;
        r = jobs_add(jobs, &add, now, NULL, &failed);
    }
    if (r < 0)
        return r;
    plan->at += add.n;
    if (plan->at == plan->n_specs) {
        digest_begin(&plan->reader, &plan->removed);
        plan->stage = RELOAD_REMOVE;
    }
    return 1;
}

static int remove_jobs(struct reload_plan *plan, struct jobs *jobs, int64_t now)
{
    for (size_t n = 0; n < SLICE_JOBS; n++) {
        if (!digest_next(&plan->reader))
            return 0;
        struct job *job = leaves(jobs, plan->reader.name);
        if (job != NULL)
            jobs_remove(jobs, job, now, "reload");
    }
    return 1;
}

static int step(struct reload_plan *plan, struct jobs *jobs, uid_t owner, int64_t now)
{
    switch (plan->stage) {
    case RELOAD_CHECK:
        return check_specs(plan, jobs);
    case RELOAD_CHECK_REMOVED:
        return check_removed(plan, jobs);
    case RELOAD_ADD:
        return add_specs(plan, jobs, owner, now);
    case RELOAD_REMOVE:
        return remove_jobs(plan, jobs, now);
    }
    return -EINVAL;
}

int reload_step(struct reload_plan *plan, struct jobs *jobs, uid_t owner, int64_t now)
{
    bool small = plan->n_specs + plan->removed.n <= SLICE_JOBS;
    int r;

    do
        r = step(plan, jobs, owner, now);
    while (r > 0 && small);
    return r;
}

void reload_result_clear(struct reload_result *result)
{
    text_list_clear(&result->added);
    text_list_clear(&result->changed);
    text_list_clear(&result->removed);
    text_list_clear(&result->restart_needed);
    text_list_clear(&result->mistakes);
}

static int add_names(const struct job_spec *const *specs, size_t n, struct text_list *out)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < MIN(n, RELOAD_NAMES_MAX); i++)
        r = text_list_add(out, specs[i]->name);
    return r;
}

static int add_removed(const struct digest *removed, struct text_list *out)
{
    struct digest_reader reader;
    int r = 0;

    digest_begin(&reader, removed);
    while (r == 0 && out->n < RELOAD_NAMES_MAX && digest_next(&reader))
        r = text_list_add(out, reader.name);
    return r;
}

int reload_describe(const struct reload_plan *plan, const struct daemon_settings *in_force,
                    const struct daemon_settings *wanted, struct reload_result *out)
{
    const struct {
        bool changed;
        const char *setting;
    } settings[] = {
        {in_force->log_target != wanted->log_target, "log-target"},
        {in_force->backend != wanted->backend, "backend"},
        {in_force->clock != wanted->clock, "clock"},
        {strcmp(in_force->state, wanted->state) != 0, "state"},
    };

    out->n_added = plan->n_added;
    out->n_changed = plan->n_specs - plan->n_added;
    out->n_removed = plan->removed.n;
    out->unchanged = plan->unchanged;
    int r = add_names(plan->specs, out->n_added, &out->added);
    if (r == 0)
        r = add_names(plan->specs + plan->n_added, out->n_changed, &out->changed);
    if (r == 0)
        r = add_removed(&plan->removed, &out->removed);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(settings); i++)
        if (settings[i].changed)
            r = text_list_add(&out->restart_needed, settings[i].setting);
    return r;
}
