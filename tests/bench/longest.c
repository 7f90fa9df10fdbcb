/*
 * The longest that one call holds the loop, in CPU time: jobs are added one at a time, and then run in slices as the
 * daemon runs them, for a minute and a bit of virtual time.
 */
#include "daemon/jobs.h"
#include "tests/unit/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define START (1000 * NSEC_PER_SEC)
#define SPAN  (70 * NSEC_PER_SEC)
#define STEP  NSEC_PER_MSEC
#define SLICE 1024 // as daemon.c

static uint64_t ticks;

static void on_event(void *ctx, struct job *job, const struct job_event *ev)
{
    (void)ctx;
    (void)job;
    ticks += ev->type == EVENT_TICK;
}

static void on_removed(void *ctx, struct job *job)
{
    (void)ctx;
    (void)job;
}

static int64_t cpu_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* The time since `began`, if that is longer than what was the longest. */
static void note(int64_t began, int64_t *longest)
{
    int64_t took = cpu_now() - began;

    if (took > *longest)
        *longest = took;
}

static int add_one(struct jobs *jobs, uint32_t i, struct random *r, int64_t *longest)
{
    static const int64_t seconds[] = {1, 2, 3, 5, 7, 10, 15, 20, 30, 60};
    int64_t interval = seconds[random_below(r, sizeof seconds / sizeof seconds[0])] * NSEC_PER_SEC;
    char name[16];
    size_t failed;

    snprintf(name, sizeof name, "job-%08" PRIu32, i);
    const struct job_spec spec = {.name = name,
                                  .kind = JOB_LOOP,
                                  .rate = rate_from_interval(interval),
                                  .count = COUNT_FOREVER,
                                  .delay = random_between(r, 1, interval),
                                  .immediate = true};
    const struct jobs_add add = {.specs = &spec, .n = 1};
    int64_t began = cpu_now();
    int result = jobs_add(jobs, &add, START, NULL, &failed);
    note(began, longest);
    return result;
}

static void run(struct jobs *jobs, int64_t *longest)
{
    for (int64_t now = START; now < START + SPAN; now += STEP)
        for (size_t steps = SLICE; steps == SLICE;) {
            int64_t began = cpu_now(), due;
            steps = jobs_run_due(jobs, now, SLICE);
            jobs_next_due(jobs, &due, NULL);
            note(began, longest);
        }
}

int main(int argc, char **argv)
{
    uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000;
    const struct jobs_config config = {.max_jobs = n, .seed = {1, 2}};
    const struct jobs_hooks hooks = {.event = on_event, .removed = on_removed};
    struct jobs *jobs = jobs_new(&config, &hooks);
    struct random r = random_start(1);
    int64_t adding = 0, running = 0;

    for (uint32_t i = 0; i < n; i++)
        if (jobs == NULL || add_one(jobs, i, &r, &adding) < 0)
            return EXIT_FAILURE;
    run(jobs, &running);
    printf("{\"jobs\": %" PRIu32 ", \"ticks\": %" PRIu64 ", \"add_us\": %" PRId64 ", \"slice_us\": %" PRId64 "}\n", n,
           ticks, adding / NSEC_PER_USEC, running / NSEC_PER_USEC);
    jobs_free(jobs);
    return EXIT_SUCCESS;
}
