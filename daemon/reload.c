#include "reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct job_spec *const *)a)->name, (*(const struct job_spec *const *)b)->name);
}

/* The file's jobs sorted by name, or NULL. */
static const struct job_spec **sorted(const struct config *config)
{
    size_t n = config == NULL ? 0 : config->n_jobs;
    const struct job_spec **specs = calloc(n + 1, sizeof(struct job_spec *));

    for (size_t i = 0; specs != NULL && i < n; i++)
        specs[i] = &config->jobs[i];
    if (specs != NULL)
        qsort(specs, n, sizeof(struct job_spec *), by_name);
    return specs;
}

static const struct job_spec *find(const struct job_spec **specs, size_t n, const struct job_spec *wanted)
{
    const struct job_spec **found = bsearch(&wanted, specs, n, sizeof(struct job_spec *), by_name);
    return found == NULL ? NULL : *found;
}

static int list_new(struct reload_jobs *list, size_t room)
{
    *list = (struct reload_jobs){.specs = calloc(room + 1, sizeof(struct job_spec *))};
    return list->specs == NULL ? -ENOMEM : 0;
}

int reload_compare(const struct config *old, const struct config *new, struct reload_plan *out)
{
    size_t n_old = old == NULL ? 0 : old->n_jobs;
    const struct job_spec **before = sorted(old), **after = sorted(new);
    int r = before == NULL || after == NULL ? -ENOMEM : 0;

    *out = (struct reload_plan){0};
    if (r == 0 && (list_new(&out->added, new->n_jobs) < 0 || list_new(&out->changed, new->n_jobs) < 0 ||
                   list_new(&out->removed, n_old) < 0))
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < new->n_jobs; i++) {
        const struct job_spec *spec = &new->jobs[i], *was = find(before, n_old, spec);
        if (was == NULL)
            out->added.specs[out->added.n++] = spec;
        else if (spec_equal(was, spec))
            out->unchanged++;
        else
            out->changed.specs[out->changed.n++] = spec;
    }
    for (size_t i = 0; r == 0 && i < n_old; i++)
        if (find(after, new->n_jobs, &old->jobs[i]) == NULL)
            out->removed.specs[out->removed.n++] = &old->jobs[i];
    free(before);
    free(after);
    if (r < 0)
        reload_plan_clear(out);
    return r;
}

void reload_plan_clear(struct reload_plan *plan)
{
    free(plan->added.specs);
    free(plan->changed.specs);
    free(plan->removed.specs);
    *plan = (struct reload_plan){0};
}

const struct job *reload_conflict(const struct reload_plan *plan, const struct jobs *jobs)
{
    const struct reload_jobs *lists[] = {&plan->added, &plan->changed};

    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < lists[l]->n; i++) {
            const struct job *job = jobs_find(jobs, lists[l]->specs[i]->name);
            if (job != NULL && job->source != SOURCE_CONFIG && !job_ended(job))
                return job;
        }
    return NULL;
}

void reload_result_clear(struct reload_result *result)
{
    text_list_clear(&result->added);
    text_list_clear(&result->changed);
    text_list_clear(&result->removed);
    text_list_clear(&result->restart_needed);
    text_list_clear(&result->mistakes);
}

static int add_names(const struct reload_jobs *jobs, struct text_list *out)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < jobs->n; i++)
        r = text_list_add(out, jobs->specs[i]->name);
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
    };

    int r = add_names(&plan->added, &out->added);
    if (r == 0)
        r = add_names(&plan->changed, &out->changed);
    if (r == 0)
        r = add_names(&plan->removed, &out->removed);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(settings); i++)
        if (settings[i].changed)
            r = text_list_add(&out->restart_needed, settings[i].setting);
    out->unchanged = plan->unchanged;
    return r;
}

/* The job that goes with its section; NULL when it has gone, or another has its name. */
static struct job *leaves(const struct jobs *jobs, const struct job_spec *spec)
{
    struct job *job = jobs_find(jobs, spec->name);

    return job != NULL && job->source == SOURCE_CONFIG ? job : NULL;
}

/* Ended jobs give way anyhow. */
static bool leaves_alive(const struct jobs *jobs, const struct job_spec *spec)
{
    const struct job *job = leaves(jobs, spec);

    return job != NULL && !job_ended(job);
}

int reload_apply(const struct reload_plan *plan, struct jobs *jobs, uid_t owner, int64_t now)
{
    size_t n = plan->added.n + plan->changed.n, failed;
    struct job_spec *specs = calloc(n + 1, sizeof *specs);
    struct jobs_add add = {.specs = specs, .n = n, .mode = ADD_REPLACE, .source = SOURCE_CONFIG, .owner = owner};
    int r = specs == NULL ? -ENOMEM : 0;

    for (size_t i = 0; i < plan->removed.n; i++)
        add.leaving += leaves_alive(jobs, plan->removed.specs[i]);
    for (size_t i = 0; r == 0 && i < n; i++)
        specs[i] = i < plan->added.n ? *plan->added.specs[i] : *plan->changed.specs[i - plan->added.n];
    if (r == 0)
        r = jobs_add(jobs, &add, now, NULL, &failed);
    free(specs);
    for (size_t i = 0; r == 0 && i < plan->removed.n; i++) {
        struct job *job = leaves(jobs, plan->removed.specs[i]);
        if (job != NULL)
            jobs_remove(jobs, job, now, "reload");
    }
    return r;
}
