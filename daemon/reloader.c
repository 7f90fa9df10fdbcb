#include "reloader.h"

#include "conf_files.h"
#include "worker.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum stage { IDLE, READING, APPLYING, CLEANING };

struct reloader {
    const char *path;
    struct jobs *jobs;
    struct reloader_hooks hooks;
    struct worker *worker;
    enum stage stage; // while READING and CLEANING what follows is the worker's
    atomic_bool given_up;
    struct digest digest;  // of the configuration in force; then only read
    struct config *config; // the new one
    struct reload_plan plan;
    struct text_list mistakes;
    int error;  // of reading
    bool again; // somebody asked since it began
};

static void note_mistake(void *ctx, const char *line)
{
    struct reloader *r = ctx;

    text_list_add(&r->mistakes, line); // one that cannot be kept is missing from the list; it is refused anyway
}

/* On the worker's thread. */
static void read_and_compare(void *ctx)
{
    struct reloader *r = ctx;

    r->error = conf_files_load(r->path, note_mistake, r, &r->given_up, &r->config);
    if (r->error == 0)
        r->error = reload_compare(&r->digest, r->config, &r->plan);
}

/* On the worker's thread: a million texts are to be freed, and a heap full of them to be given back. */
static void clean(void *ctx)
{
    struct reloader *r = ctx;

    reload_plan_clear(&r->plan);
    config_free(r->config);
    r->config = NULL;
    malloc_trim(0);
}

static void end(struct reloader *r, int error)
{
    if (error == 0) {
        struct digest old = r->digest;
        r->digest = r->plan.digest;
        r->plan.digest = old;
    }
    r->hooks.end(r->hooks.ctx, error, &r->plan, r->config, &r->mistakes);
    text_list_clear(&r->mistakes);
    r->stage = CLEANING;
    if (worker_start(r->worker, clean) == 0)
        return;
    clean(r); // then here; it takes its time
    r->stage = IDLE;
}

static void begin(struct reloader *r)
{
    r->again = false;
    r->stage = READING;
    r->hooks.begin(r->hooks.ctx);
    int error = worker_start(r->worker, read_and_compare);
    if (error < 0) {
        text_list_addf(&r->mistakes, "%s: cannot start a thread to read it: %s", r->path, strerror(-error));
        end(r, -EINVAL);
    }
}

static void on_done(void *ctx)
{
    struct reloader *r = ctx;

    if (r->stage == READING && r->error < 0) {
        end(r, r->error);
    } else if (r->stage == READING) {
        r->stage = APPLYING;
        r->hooks.apply(r->hooks.ctx, r->config);
    } else {
        r->stage = IDLE;
        if (r->again)
            begin(r);
    }
    r->hooks.ready(r->hooks.ctx);
}

struct reloader *reloader_new(const char *path, struct jobs *jobs, struct watch_set *watches,
                              const struct reloader_hooks *hooks)
{
    struct reloader *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->path = path;
    r->jobs = jobs;
    r->hooks = *hooks;
    r->worker = worker_new(watches, "reload", on_done, r);
    if (r->worker == NULL) {
        reloader_free(r);
        return NULL;
    }
    return r;
}

void reloader_free(struct reloader *r)
{
    if (r == NULL)
        return;
    atomic_store(&r->given_up, true);
    worker_free(r->worker);
    reload_plan_clear(&r->plan);
    config_free(r->config);
    text_list_clear(&r->mistakes);
    digest_clear(&r->digest);
    free(r);
}

int reloader_start(struct reloader *r, struct config *config, int64_t now)
{
    int error;

    r->config = config;
    error = reload_compare(&r->digest, config, &r->plan);
    if (error == 0)
        error = reload_resume(&r->plan, r->jobs, now);
    if (error == 0)
        do
            error = reload_step(&r->plan, r->jobs, geteuid(), now);
        while (error > 0);
    if (error == 0) {
        r->digest = r->plan.digest;
        r->plan.digest = (struct digest){0};
    }
    clean(r);
    return error;
}

void reloader_ask(struct reloader *r)
{
    if (r->stage == IDLE)
        begin(r);
    else
        r->again = true;
}

bool reloader_under_way(const struct reloader *r)
{
    return r->again || r->stage == READING || r->stage == APPLYING;
}

bool reloader_busy(const struct reloader *r)
{
    return r->stage == APPLYING;
}

/* A refusal by the jobs there are is told as a mistake in the file. */
static int refuse(struct reloader *r, int error)
{
    const struct job *other = r->plan.other;

    if (error == -EEXIST)
        text_list_addf(&r->mistakes, "%s: job:%s: uid %u has added a job of this name; 'twistyctl rm %s' first",
                       r->path, job_name(other), other->owner, job_name(other));
    else if (error == -ENOSPC)
        text_list_addf(&r->mistakes, "%s: daemon: max-jobs: %u is too few for all jobs", r->path,
                       r->config->daemon.max_jobs);
    else
        return error;
    return -EINVAL;
}

void reloader_work(struct reloader *r, int64_t now)
{
    if (r->stage != APPLYING)
        return;
    int error = reload_step(&r->plan, r->jobs, geteuid(), now);
    if (error <= 0)
        end(r, error < 0 ? refuse(r, error) : 0);
}
