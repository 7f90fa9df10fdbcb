/* The whole path of a tick but for its report: due, the job's state and count, the counts of all, its next deadline. */
#include "daemon/jobs.h"
#include "timers.h"
#include "virtual_clock.h"

#include <stdio.h>

#define ADD_BATCH 1000

static struct jobs *jobs;
static bool stopped;

static void on_event(void *ctx, struct job *job, const struct job_event *ev)
{
    (void)ctx;
    (void)job;
    timers_ticks += ev->type == EVENT_TICK;
}

static void on_removed(void *ctx, struct job *job)
{
    (void)ctx;
    (void)job;
}

static int add_batch(const struct timer_load *load, uint32_t from, uint32_t n)
{
    static char names[ADD_BATCH][16];
    static struct job_spec specs[ADD_BATCH];
    const struct jobs_add add = {.specs = specs, .n = n};
    size_t failed;

    for (uint32_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "job-%08u", from + i);
        specs[i] = (struct job_spec){.name = names[i],
                                     .kind = JOB_LOOP,
                                     .rate = rate_from_interval(load->interval[from + i]),
                                     .count = COUNT_FOREVER,
                                     .delay = load->first[from + i],
                                     .immediate = true};
    }
    return jobs_add(jobs, &add, virtual_now(), NULL, &failed);
}

static int start(const struct timer_load *load)
{
    const struct jobs_config config = {.max_jobs = load->n, .seed = {1, 2}};
    const struct jobs_hooks hooks = {.event = on_event, .removed = on_removed};
    int r = 0;

    jobs = jobs_new(&config, &hooks);
    if (jobs == NULL)
        return -1;
    for (uint32_t i = 0; r == 0 && i < load->n; i += ADD_BATCH)
        r = add_batch(load, i, load->n - i < ADD_BATCH ? load->n - i : ADD_BATCH);
    return r;
}

static void run(void)
{
    int64_t due;

    for (stopped = false; !stopped;) {
        jobs_next_due(jobs, &due, NULL);
        virtual_poll((int)((due - virtual_now() + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC));
        jobs_run_due(jobs, virtual_now(), SIZE_MAX);
    }
}

static void stop(void)
{
    stopped = true;
}

const struct timers_driver timers_driver = {"jobs", start, run, stop};
