/*
 * jobs_world - a struct jobs for tests, with hooks that write down what they hear, and pictures of its state.
 */
#ifndef TWISTY_TESTS_JOBS_WORLD_H
#define TWISTY_TESTS_JOBS_WORLD_H

#include "daemon/jobs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEC NSEC_PER_SEC

struct world {
    struct jobs *jobs;
    char told[8192]; // "tea:start tea:tick -tea", a line for people who read a failed test
    uint64_t ticks, missed;
};

static inline void world_tell(struct world *w, const char *before, const char *name, const char *after)
{
    size_t len = strlen(w->told);

    snprintf(w->told + len, sizeof w->told - len, "%s%s%s%s", len > 0 ? " " : "", before, name, after);
}

static inline void world_event(void *ctx, struct job *job, const struct job_event *ev)
{
    struct world *w = ctx;
    char word[16];

    snprintf(word, sizeof word, ":%s", job_event_name(ev->type));
    world_tell(w, "", job_name(job), word);
    w->ticks += ev->type == EVENT_TICK || (ev->type == EVENT_FINISH && job_kind(job) == JOB_ONCE);
    w->missed += ev->type == EVENT_TICK || ev->type == EVENT_MISSED ? ev->missed : 0;
}

static inline void world_changed(void *ctx, struct job *job)
{
    world_tell(ctx, "~", job_name(job), "");
}

static inline void world_removed(void *ctx, struct job *job)
{
    world_tell(ctx, "-", job_name(job), "");
}

static inline void world_init(struct world *w, uint32_t max_jobs, uint32_t keep_ended)
{
    const struct jobs_config config = {max_jobs, keep_ended, {1, 2}};
    const struct jobs_hooks hooks = {world_event, world_changed, world_removed, w};

    *w = (struct world){0};
    w->jobs = jobs_new(&config, &hooks);
    assert_non_null(w->jobs);
}

/* What was told since the last check. */
static inline void world_told(struct world *w, const char *expected)
{
    assert_string_equal(w->told, expected);
    w->told[0] = '\0';
}

/* Specs that borrow their names, as jobs_add() does. */

static inline struct job_spec countdown(const char *name, uint64_t count)
{
    return (struct job_spec){
        .name = (char *)name, .kind = JOB_COUNTDOWN, .rate = {(uint64_t)SEC, 1}, .count = count, .immediate = true};
}

static inline struct job_spec loop(const char *name, int64_t interval)
{
    return (struct job_spec){.name = (char *)name,
                             .kind = JOB_LOOP,
                             .rate = rate_from_interval(interval),
                             .count = COUNT_FOREVER,
                             .immediate = true};
}

static inline struct job_spec once(const char *name, int64_t delay)
{
    return (struct job_spec){
        .name = (char *)name, .kind = JOB_ONCE, .rate = {(uint64_t)SEC, 1}, .count = 1, .delay = delay};
}

static inline struct job *world_add(struct world *w, struct job_spec spec, int64_t now)
{
    struct jobs_add add = {.specs = &spec, .n = 1};
    struct job *job = NULL;
    size_t failed;

    assert_int_equal(jobs_add(w->jobs, &add, now, &job, &failed), 0);
    assert_non_null(job);
    return job;
}

/* Everything that can be seen of the jobs, to compare one moment with another. */
struct picture {
    struct {
        struct job *job;
        uint64_t id, passed, missed;
        int64_t t0, due;
        enum job_state state;
    } row[256];
    size_t n;
    struct jobs_counts counts;
    int64_t next_due;
    struct job *next_job;
};

static inline void picture_take(struct picture *p, struct jobs *jobs)
{
    struct jobs_cursor cursor;

    memset(p, 0, sizeof *p); // padding too: pictures are compared whole
    jobs_begin(jobs, &cursor);
    for (struct job *job; (job = jobs_next(&cursor)) != NULL; p->n++) {
        assert_true(p->n < sizeof p->row / sizeof p->row[0]);
        p->row[p->n].job = job;
        p->row[p->n].id = job->id;
        p->row[p->n].passed = job->passed;
        p->row[p->n].missed = job->missed;
        p->row[p->n].t0 = job->t0;
        p->row[p->n].due = job_due(job);
        p->row[p->n].state = job->state;
        assert_ptr_equal(jobs_find(jobs, job_name(job)), job);
    }
    jobs_end(&cursor);
    jobs_counts(jobs, &p->counts);
    jobs_next_due(jobs, &p->next_due, &p->next_job);
}

static inline void picture_check_same(const struct picture *before, struct jobs *jobs)
{
    static struct picture after;

    picture_take(&after, jobs);
    assert_memory_equal(before, &after, sizeof after);
}

#endif
