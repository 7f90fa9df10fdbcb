/* All jobs together: adding, steps, order, slices, cursors, limits, and that one job's trouble is its own. */
#include "daemon/text.h"
#include "tests/unit/jobs_world.h"
#include "tests/unit/random.h"

#include <errno.h>
#include <inttypes.h>

#define NEVER_TOLD ""

static void jobs_run_in_the_order_of_the_file(void **state)
{
    struct job_spec specs[] = {once("c", 0), countdown("b", 2), once("a", 0), once("late", SEC)};
    struct jobs_add add = {.specs = specs, .n = 4, .source = SOURCE_CONFIG, .owner = 12};
    struct job *jobs[4];
    struct world w;
    int64_t due;
    size_t failed;
    (void)state;

    world_init(&w, 10, 10);
    assert_false(jobs_next_due(w.jobs, NULL, NULL));
    assert_int_equal(jobs_add(w.jobs, &add, 5, jobs, &failed), 0);
    world_told(&w, "c:start b:start a:start late:start"); // nothing runs from here
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(jobs[i]->id, i + 1);
        assert_int_equal(jobs[i]->owner, 12);
        assert_int_equal(jobs[i]->source, SOURCE_CONFIG);
    }
    assert_true(jobs_next_due(w.jobs, &due, &jobs[0]));
    assert_int_equal(due, 5);
    assert_string_equal(job_name(jobs[0]), "c");
    assert_int_equal(jobs_run_due(w.jobs, 4, 100), 0);
    world_told(&w, NEVER_TOLD);
    assert_int_equal(jobs_run_due(w.jobs, 5, 100), 3);
    world_told(&w, "c:finish b:tick a:finish");
    assert_true(jobs_next_due(w.jobs, &due, NULL));
    assert_int_equal(due, 5 + SEC);
    jobs_free(w.jobs);
    world_told(&w, "-c -b -a -late");
}

static void due_jobs_run_in_slices(void **state)
{
    struct world w;
    (void)state;

    world_init(&w, 10, 10);
    world_add(&w, once("a", 0), 0);
    world_add(&w, once("b", 0), 0);
    world_add(&w, once("c", 0), 0);
    w.told[0] = '\0';
    assert_int_equal(jobs_run_due(w.jobs, 0, 0), 0);
    assert_int_equal(jobs_run_due(w.jobs, 0, 2), 2);
    world_told(&w, "a:finish b:finish");
    assert_int_equal(jobs_run_due(w.jobs, 0, 2), 1);
    world_told(&w, "c:finish");
    assert_int_equal(jobs_run_due(w.jobs, 0, 2), 0);
    jobs_free(w.jobs);
}

/* Counter 1 counts three, one in 3 s; Counter 2 three, one a second; Countdown five, one a second. */
static void three_counters_end_in_their_time(void **state)
{
    struct world w;
    int64_t due, ends[3] = {0};
    struct job *jobs[3];
    (void)state;

    world_init(&w, 10, 10);
    assert_false(jobs_done(w.jobs)); // there was none yet
    struct job_spec slow = countdown("counter-1", 3);
    slow.rate = (struct rate){3 * (uint64_t)SEC, 1};
    jobs[0] = world_add(&w, slow, 0);
    jobs[1] = world_add(&w, countdown("counter-2", 3), 0);
    jobs[2] = world_add(&w, countdown("countdown", 5), 0);
    while (jobs_next_due(w.jobs, &due, NULL)) {
        assert_false(jobs_done(w.jobs));
        jobs_run_due(w.jobs, due, SIZE_MAX);
        for (size_t i = 0; i < 3; i++)
            if (job_ended(jobs[i]) && ends[i] == 0)
                ends[i] = due / SEC;
    }
    assert_true(jobs_done(w.jobs));
    assert_true(ends[0] == 9 && ends[1] == 3 && ends[2] == 5);
    assert_int_equal(w.ticks, 11);
    jobs_free(w.jobs);
}

static void background_jobs_hold_nobody(void **state)
{
    struct world w;
    (void)state;

    world_init(&w, 10, 10);
    struct job_spec spec = loop("heartbeat", SEC);
    spec.background = true;
    world_add(&w, spec, 0);
    assert_false(jobs_done(w.jobs)); // the first job that counts is still to come
    struct job *tea = world_add(&w, countdown("tea", 2), 0);
    assert_int_equal(jobs_pause(w.jobs, tea, 1), 0);
    assert_false(jobs_done(w.jobs)); // paused is not ended
    jobs_run_due(w.jobs, 10 * SEC, 100);
    assert_false(jobs_done(w.jobs));
    assert_int_equal(jobs_stop(w.jobs, tea, 11 * SEC, "control"), 0);
    assert_true(jobs_done(w.jobs));
    jobs_reset(w.jobs, tea, 12 * SEC);
    assert_false(jobs_done(w.jobs));
    jobs_remove(w.jobs, tea, 13 * SEC, "control");
    assert_true(jobs_done(w.jobs)); // also when its record is gone
    jobs_free(w.jobs);
}

/* The name of spec `bad` is taken; nothing of the batch may stay. */
static void check_refused_batch(struct world *w, struct job_spec *specs, size_t n, size_t bad)
{
    static struct picture before;
    struct jobs_add add = {.specs = specs, .n = n};
    size_t failed = 99;

    picture_take(&before, w->jobs);
    w->told[0] = '\0';
    assert_int_equal(jobs_add(w->jobs, &add, 7 * SEC, NULL, &failed), -EEXIST);
    assert_int_equal(failed, bad);
    world_told(w, NEVER_TOLD);
    picture_check_same(&before, w->jobs);
}

static void a_batch_is_all_or_nothing(void **state)
{
    struct world w;
    (void)state;

    world_init(&w, 20, 20);
    world_add(&w, loop("live", SEC), 0);
    world_add(&w, once("ended-1", 0), 0);
    world_add(&w, once("ended-2", 0), 0);
    jobs_run_due(w.jobs, 0, 100);
    for (size_t bad = 0; bad < 5; bad++) {
        // among names that are new, made, and those of ended jobs
        struct job_spec specs[] = {countdown("new", 1), countdown(NULL, 1), countdown("ended-1", 1), loop(NULL, SEC),
                                   once("ended-2", 0)};
        specs[bad].name = (char *)"live";
        check_refused_batch(&w, specs, 5, bad);
        for (size_t twin = 0; twin < bad; twin++) {
            if (specs[twin].name == NULL)
                continue;
            specs[bad].name = specs[twin].name;
            check_refused_batch(&w, specs, 5, bad);
        }
    }
    assert_int_equal(world_add(&w, countdown(NULL, 1), 0)->id, 4); // no number was used up
    jobs_free(w.jobs);
}

static void a_name_twice_in_a_batch_is_refused_in_every_mode(void **state)
{
    struct world w;
    size_t failed;
    (void)state;

    world_init(&w, 20, 20);
    for (enum jobs_add_mode mode = ADD_NEW; mode <= ADD_REPLACE; mode++) {
        struct job_spec specs[] = {countdown("a", 1), countdown("b", 1), countdown("a", 1)};
        struct jobs_add add = {.specs = specs, .n = 3, .mode = mode};
        assert_int_equal(jobs_add(w.jobs, &add, 0, NULL, &failed), -EEXIST);
        assert_int_equal(failed, 2);
        assert_null(jobs_find(w.jobs, "a"));
    }
    jobs_free(w.jobs);
}

static void the_bound_on_jobs_holds(void **state)
{
    static struct picture before;
    struct job_spec specs[] = {countdown("a", 1), countdown("b", 1), countdown("c", 1)};
    struct jobs_add add = {.specs = specs, .n = 3};
    struct world w;
    size_t failed;
    (void)state;

    world_init(&w, 2, 10);
    assert_int_equal(jobs_max(w.jobs), 2);
    picture_take(&before, w.jobs);
    assert_int_equal(jobs_add(w.jobs, &add, 0, NULL, &failed), -ENOSPC);
    assert_string_equal(specs[2].name, "c");
    picture_check_same(&before, w.jobs);
    add.n = 2;
    assert_int_equal(jobs_add(w.jobs, &add, 0, NULL, &failed), 0);
    add = (struct jobs_add){.specs = &specs[2], .n = 1};
    assert_int_equal(jobs_add(w.jobs, &add, 0, NULL, &failed), -ENOSPC);
    jobs_configure(w.jobs, 3, 10);
    assert_int_equal(jobs_max(w.jobs), 3);
    assert_int_equal(jobs_add(w.jobs, &add, 0, NULL, &failed), 0);
    jobs_configure(w.jobs, 1, 10); // a lower bound removes nobody
    add.n = 0;
    assert_int_equal(jobs_add(w.jobs, &add, 0, NULL, &failed), 0);
    assert_non_null(jobs_find(w.jobs, "c"));
    jobs_free(w.jobs);
}

static void if_absent_leaves_a_live_job(void **state)
{
    struct world w;
    struct job *out[3];
    size_t failed;
    (void)state;

    world_init(&w, 10, 10);
    struct job *tea = world_add(&w, countdown("tea", 9), 0);
    struct job *egg = world_add(&w, once("egg", 0), 0);
    uint64_t old_id = egg->id;
    jobs_run_due(w.jobs, 0, 100);
    w.told[0] = '\0';
    struct job_spec specs[] = {countdown("tea", 5), once("egg", SEC), countdown("rice", 1)};
    struct jobs_add add = {.specs = specs, .n = 3, .mode = ADD_IF_ABSENT};
    assert_int_equal(jobs_add(w.jobs, &add, 0, out, &failed), 0);
    assert_ptr_equal(out[0], tea);
    assert_int_equal(job_count(tea), 9);
    assert_int_equal(out[1]->id, old_id + 1); // an ended job is not in the way
    assert_int_equal(out[2]->id, old_id + 2);
    world_told(&w, "-egg egg:start rice:start");
    jobs_free(w.jobs);
}

static void replace_stops_a_live_job(void **state)
{
    struct world w;
    struct job *out[2];
    size_t failed;
    (void)state;

    world_init(&w, 10, 10);
    world_add(&w, countdown("tea", 9), 0);
    world_add(&w, countdown("rice", 9), 0);
    w.told[0] = '\0';
    struct job_spec specs[] = {countdown("egg", 3), countdown("tea", 5)};
    struct jobs_add add = {.specs = specs, .n = 2, .mode = ADD_REPLACE};
    assert_int_equal(jobs_add(w.jobs, &add, SEC, out, &failed), 0);
    world_told(&w, "egg:start tea:stop -tea tea:start");
    assert_int_equal(job_count(out[1]), 5);
    assert_int_equal(out[1]->id, 4);
    assert_ptr_equal(jobs_find(w.jobs, "tea"), out[1]);
    jobs_run_due(w.jobs, SEC, 100);
    world_told(&w, "rice:tick egg:tick tea:tick");
    jobs_free(w.jobs);
}

static void an_ended_job_gives_its_name_away(void **state)
{
    static struct picture picture;
    struct world w;
    (void)state;

    world_init(&w, 10, 10);
    struct job *old = world_add(&w, countdown("tea", 1), 0);
    assert_int_equal(jobs_fail(w.jobs, old, 0, "spilt"), 0);
    w.told[0] = '\0';
    struct job *new = world_add(&w, countdown("tea", 1), SEC);
    world_told(&w, "-tea tea:start");
    assert_ptr_equal(jobs_find(w.jobs, "tea"), new);
    picture_take(&picture, w.jobs);
    assert_int_equal(picture.n, 1);
    assert_int_equal(picture.counts.ever, 2);
    jobs_remove(w.jobs, new, SEC, "control");
    assert_null(jobs_find(w.jobs, "tea"));
    jobs_free(w.jobs);
}

static void names_are_made_for_those_without(void **state)
{
    struct world w;
    (void)state;

    world_init(&w, 10, 10);
    assert_string_equal(job_name(world_add(&w, countdown(NULL, 1), 0)), "countdown-1");
    assert_string_equal(job_name(world_add(&w, loop(NULL, SEC), 0)), "loop-2");
    assert_string_equal(job_name(world_add(&w, once(NULL, 0), 0)), "once-3");
    world_add(&w, countdown("countdown-6", 1), 0);
    world_add(&w, countdown("countdown-6-2", 1), 0);
    struct job *job = world_add(&w, countdown(NULL, 1), 0);
    assert_string_equal(job_name(job), "countdown-6-3");
    assert_true(name_valid(job_name(job)));
    jobs_free(w.jobs);
}

static void a_failure_is_one_job_s_own(void **state)
{
    struct world w;
    (void)state;

    world_init(&w, 10, 10);
    struct job *bad = world_add(&w, loop("bad", SEC), 0);
    struct job *good = world_add(&w, loop("good", SEC), 0);
    jobs_run_due(w.jobs, 0, 100);
    w.told[0] = '\0';
    assert_int_equal(jobs_fail(w.jobs, bad, SEC / 2, "exit status 1"), 0);
    world_told(&w, "bad:failed");
    assert_int_equal(bad->state, JOB_FAILED);
    assert_string_equal(job_reason(bad), "exit status 1");
    assert_int_equal(jobs_fail(w.jobs, bad, SEC, "again"), -ESRCH);
    world_told(&w, NEVER_TOLD);
    for (int64_t t = 1; t <= 3; t++)
        assert_int_equal(jobs_run_due(w.jobs, t * SEC, 100), 1);
    world_told(&w, "good:tick good:tick good:tick");
    assert_int_equal(good->state, JOB_RUNNING);
    assert_int_equal(good->missed, 0);
    assert_false(jobs_done(w.jobs));
    jobs_free(w.jobs);
}

static void steps_say_when_they_cannot(void **state)
{
    struct world w;
    (void)state;

    world_init(&w, 10, 10);
    struct job *job = world_add(&w, loop("a", SEC), 0);
    w.told[0] = '\0';
    assert_int_equal(jobs_resume(w.jobs, job, 0), -EALREADY);
    assert_int_equal(jobs_pause(w.jobs, job, 0), 0);
    assert_int_equal(jobs_pause(w.jobs, job, 0), -EALREADY);
    assert_false(jobs_next_due(w.jobs, NULL, NULL));
    assert_int_equal(jobs_resume(w.jobs, job, SEC), 0);
    assert_int_equal(jobs_stop(w.jobs, job, SEC, "control"), 0);
    assert_int_equal(jobs_stop(w.jobs, job, SEC, "control"), -ESRCH);
    assert_int_equal(jobs_pause(w.jobs, job, SEC), -ESRCH);
    assert_int_equal(jobs_resume(w.jobs, job, SEC), -ESRCH);
    jobs_remove(w.jobs, job, SEC, "control"); // an ended one goes without a word
    world_told(&w, "a:pause a:resume a:stop -a");
    job = world_add(&w, loop("b", SEC), 0);
    jobs_remove(w.jobs, job, SEC, "control");
    world_told(&w, "b:start b:stop -b");
    jobs_free(w.jobs);
}

/* One tick a nanosecond can never be kept up with; its neighbours are served all the same. */
static void a_busy_job_starves_nobody(void **state)
{
    struct world w;
    int64_t now = 0;
    (void)state;

    world_init(&w, 10, 10);
    struct job_spec greedy = loop("greedy", 1);
    greedy.missed = MISSED_BURST;
    world_add(&w, greedy, now);
    struct job *slow = world_add(&w, loop("slow", 1000), now);
    for (int i = 1; i <= 1000; i++, now += 1000) {
        jobs_run_due(w.jobs, now, 3);
        w.told[0] = '\0';
        if (slow->passed < (uint64_t)i)
            fail_msg("after %d slices the slow job has only %" PRIu64 " ticks", i, slow->passed);
    }
    assert_int_equal(slow->missed, 0);
    jobs_free(w.jobs);
}

static void old_ended_jobs_are_pushed_out(void **state)
{
    struct world w;
    (void)state;

    world_init(&w, 10, 2);
    struct job *a = world_add(&w, loop("a", SEC), 0), *b = world_add(&w, loop("b", SEC), 0);
    struct job *c = world_add(&w, loop("c", SEC), 0), *d = world_add(&w, loop("d", SEC), 0);
    world_add(&w, loop("live", SEC), 0);
    jobs_stop(w.jobs, c, 1, "control");
    jobs_stop(w.jobs, a, 2, "control");
    jobs_stop(w.jobs, b, 3, "control");
    jobs_stop(w.jobs, d, 4, "control");
    jobs_reset(w.jobs, a, 5);           // lives again,
    jobs_stop(w.jobs, a, 6, "control"); // and has ended last now
    w.told[0] = '\0';
    jobs_trim(w.jobs);
    world_told(&w, "-c -b");
    jobs_trim(w.jobs);
    world_told(&w, NEVER_TOLD);
    jobs_configure(w.jobs, 10, 0);
    assert_false(jobs_trim(w.jobs));
    world_told(&w, "-d -a");
    assert_non_null(jobs_find(w.jobs, "live"));
    jobs_free(w.jobs);
}

/* The next of a walk, by its name. */
static void assert_walks_to(struct jobs_cursor *cursor, const char *name)
{
    const struct job *job = jobs_next(cursor);

    assert_string_equal(job == NULL ? "(the end)" : job_name(job), name);
}

static void ended_jobs_are_walked_in_the_order_of_their_ends(void **state)
{
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    struct jobs_cursor cursor;
    struct job *jobs[5];
    struct world w;
    (void)state;

    world_init(&w, 10, 10);
    for (size_t i = 0; i < 5; i++)
        jobs[i] = world_add(&w, loop(names[i], SEC), 0);
    jobs_begin_ended(w.jobs, &cursor);
    assert_walks_to(&cursor, "(the end)");
    jobs_end(&cursor);
    for (size_t i = 4; i > 0; i--)
        jobs_stop(w.jobs, jobs[i], 1, "control"); // e d c b
    jobs_note_end(w.jobs, jobs[3]);               // e c b d
    jobs_begin_ended(w.jobs, &cursor);
    assert_walks_to(&cursor, "e");
    jobs_remove(w.jobs, jobs[2], 2, "removed"); // the next one goes,
    jobs_reset(w.jobs, jobs[1], 2);             // the one after that lives again,
    jobs_stop(w.jobs, jobs[0], 3, "control");   // and another ends meanwhile
    assert_walks_to(&cursor, "d");
    assert_walks_to(&cursor, "a");
    assert_walks_to(&cursor, "(the end)");
    jobs_end(&cursor);
    jobs_free(w.jobs);
}

/* Of a paused one that is no event, but whoever keeps jobs has to know. */
static void the_end_of_a_wait_is_told_in_any_case(void **state)
{
    struct job_spec spec = once("next", SEC);
    struct world w;
    (void)state;

    world_init(&w, 10, 10);
    spec.after = (char *)"first";
    struct job *running = world_add(&w, spec, 0);
    spec.name = (char *)"held";
    struct job *held = world_add(&w, spec, 0);
    jobs_pause(w.jobs, held, 0);
    w.told[0] = '\0';
    jobs_release(w.jobs, running, 5, 6);
    world_told(&w, "next:resume");
    jobs_release(w.jobs, held, 5, 6);
    world_told(&w, "~held");
    assert_false(job_waits(held));
    assert_int_equal(job_rest(held, 6), SEC);
    jobs_release(w.jobs, held, 7, 8); // it waits no more
    world_told(&w, "");
    jobs_free(w.jobs);
}

static void ignore_event(void *ctx, struct job *job, const struct job_event *ev)
{
    (void)ctx;
    (void)job;
    (void)ev;
}

static void count_removed(void *ctx, struct job *job)
{
    (void)job;
    ++*(unsigned *)ctx;
}

/* However many ended jobs a new bound leaves over, one call removes some: the loop has other things to do. */
static void many_are_pushed_out_in_parts(void **state)
{
    enum { N = 5000 };
    static struct job_spec specs[N];
    static struct job *added[N];
    unsigned removed = 0, calls = 0;
    const struct jobs_config config = {N, N, {1, 2}};
    const struct jobs_hooks hooks = {ignore_event, world_changed, count_removed, &removed};
    struct jobs_add add = {.specs = specs, .n = N};
    struct jobs *jobs = jobs_new(&config, &hooks);
    size_t failed;
    (void)state;

    for (size_t i = 0; i < N; i++)
        specs[i] = loop(NULL, SEC);
    assert_int_equal(jobs_add(jobs, &add, 0, added, &failed), 0);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(jobs_stop(jobs, added[i], 1, "control"), 0);
    assert_false(jobs_trim(jobs));
    assert_int_equal(removed, 0);
    jobs_configure(jobs, 3000, 10);
    add.n = 1;
    assert_int_equal(jobs_add(jobs, &add, 2, NULL, &failed), 0);
    assert_in_range(removed, 1, N / 4);
    for (bool more = true; more; calls++) {
        unsigned before = removed;
        more = jobs_trim(jobs);
        assert_in_range(removed - before, 1, N / 4);
    }
    assert_int_equal(removed, N - 10);
    assert_in_range(calls, 4, 20);
    jobs_free(jobs);
}

static void a_similar_name_is_found(void **state)
{
    struct world w;
    (void)state;

    world_init(&w, 10, 10);
    assert_null(jobs_nearest(w.jobs, "tea"));
    world_add(&w, loop("brew", SEC), 0);
    world_add(&w, loop("heartbeat", SEC), 0);
    assert_string_equal(jobs_nearest(w.jobs, "brw"), "brew");
    assert_string_equal(jobs_nearest(w.jobs, "haertbeat"), "heartbeat");
    assert_null(jobs_nearest(w.jobs, "something"));
    jobs_free(w.jobs);
}

static void no_jobs_are_easily_freed(void **state)
{
    (void)state;
    jobs_free(NULL);
}

/*
 * Random lives. The oracle knows the jobs by id in an array, from the hooks and from what jobs_add() promises.
 */
#define ROWS_MAX    200
#define CURSORS_MAX 4

struct row {
    struct job *job;
    uint64_t id;
    char name[32];
    bool background;
};

struct walk {
    bool open;
    struct jobs_cursor cursor;
    uint64_t last, end; // ids
};

struct crowd {
    struct world w;
    struct random r;
    struct row rows[ROWS_MAX];
    size_t n;
    struct walk walks[CURSORS_MAX];
    uint64_t next_id, foreground_ever;
    uint32_t max_jobs, keep_ended;
    int64_t now;
};

static void crowd_removed(void *ctx, struct job *job)
{
    struct crowd *c = ctx;
    size_t i = 0;

    while (i < c->n && c->rows[i].job != job)
        i++;
    if (i == c->n)
        fail_msg("a job that is not listed was removed");
    memmove(&c->rows[i], &c->rows[i + 1], (c->n - i - 1) * sizeof c->rows[0]);
    c->n--;
}

static void crowd_event(void *ctx, struct job *job, const struct job_event *ev)
{
    struct crowd *c = ctx;

    world_event(&c->w, job, ev);
    c->w.told[0] = '\0';
    assert_int_equal(ev->at, c->now);
}

static const struct row *crowd_row(const struct crowd *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->rows[i].name, name) == 0)
            return &c->rows[i];
    return NULL;
}

static struct job_spec crowd_spec(struct crowd *c)
{
    static char names[25][32];
    struct random *r = &c->r;
    size_t i = random_below(r, 25);

    snprintf(names[i], sizeof names[i], i % 2 == 0 ? "job_%zu" : "a-job-of-a-longer-name_%zu", i);
    struct job_spec spec = {
        .name = random_once_in(r, 3) ? NULL : names[i],
        .kind = (enum job_kind)random_below(r, 3),
        .missed = (enum missed_policy)random_below(r, 3),
        .rate = rate_from_interval(random_between(r, 1, 20)),
        .count = 1 + random_below(r, 6),
        .delay = random_once_in(r, 2) ? 0 : random_between(r, 0, 30),
        .immediate = random_once_in(r, 2),
        .background = random_once_in(r, 3),
    };
    if (spec.kind == JOB_LOOP && random_once_in(r, 3))
        spec.count = COUNT_FOREVER;
    return spec;
}

/* What jobs_add() has to say to this. taken[i]: spec i gets the job that is there. */
static int crowd_foresee(const struct crowd *c, const struct jobs_add *add, size_t *failed, bool *stays)
{
    size_t more = 0, ended = 0;

    for (size_t i = 0; i < c->n; i++)
        ended += job_ended(c->rows[i].job);
    for (size_t i = 0; i < add->n; i++) {
        const char *name = add->specs[i].name;
        const struct row *holder = name != NULL ? crowd_row(c, name) : NULL;
        bool live = holder != NULL && !job_ended(holder->job);
        *failed = i;
        stays[i] = live && add->mode == ADD_IF_ABSENT;
        for (size_t k = 0; k < i; k++)
            if (name != NULL && add->specs[k].name != NULL && strcmp(name, add->specs[k].name) == 0 && !stays[k])
                return -EEXIST;
        if (live && add->mode == ADD_NEW)
            return -EEXIST;
        more += holder == NULL || !live; // else it takes that one's place
    }
    return more > 0 && c->n - ended + more > c->max_jobs ? -ENOSPC : 0; // ended ones give way
}

static void crowd_add(struct crowd *c)
{
    static struct picture before;
    struct job_spec specs[4];
    bool stays[4];
    struct job *out[4];
    size_t failed = 0, expected_failed = 0;
    struct jobs_add add = {
        .specs = specs, .n = random_below(&c->r, 5), .mode = (enum jobs_add_mode)random_below(&c->r, 3)};

    for (size_t i = 0; i < add.n; i++)
        specs[i] = crowd_spec(c);
    picture_take(&before, c->w.jobs);
    int expected = crowd_foresee(c, &add, &expected_failed, stays);
    assert_int_equal(jobs_add(c->w.jobs, &add, c->now, out, &failed), expected);
    if (expected < 0) {
        assert_true(expected != -EEXIST || failed == expected_failed);
        picture_check_same(&before, c->w.jobs);
        return;
    }
    for (size_t i = 0; i < add.n; i++) {
        if (stays[i])
            continue;
        struct row *row = &c->rows[c->n++];
        *row = (struct row){.job = out[i], .id = c->next_id++, .background = specs[i].background};
        snprintf(row->name, sizeof row->name, "%s", job_name(out[i]));
        assert_int_equal(out[i]->id, row->id);
        c->foreground_ever += !row->background;
    }
}

static void crowd_walk(struct crowd *c)
{
    struct walk *walk = &c->walks[random_below(&c->r, CURSORS_MAX)];

    if (!walk->open) {
        jobs_begin(c->w.jobs, &walk->cursor);
        walk->open = true;
        walk->last = 0;
        walk->end = c->next_id;
        return;
    }
    if (random_once_in(&c->r, 20)) {
        jobs_end(&walk->cursor);
        walk->open = false;
        return;
    }
    const struct row *expected = NULL;
    for (size_t i = 0; i < c->n && expected == NULL; i++)
        if (c->rows[i].id > walk->last && c->rows[i].id < walk->end)
            expected = &c->rows[i];
    struct job *job = jobs_next(&walk->cursor);
    if (job != (expected != NULL ? expected->job : NULL))
        fail_msg("after id %" PRIu64 " a cursor returns the wrong job", walk->last);
    if (job != NULL)
        walk->last = job->id;
}

static void crowd_step_on_one(struct crowd *c)
{
    struct jobs *jobs = c->w.jobs;

    if (c->n == 0)
        return;
    struct job *job = c->rows[random_below(&c->r, c->n)].job;
    bool ended = job_ended(job), paused = job->state == JOB_PAUSED;
    switch (random_below(&c->r, 6)) {
    case 0:
        assert_int_equal(jobs_pause(jobs, job, c->now), ended ? -ESRCH : paused ? -EALREADY : 0);
        break;
    case 1:
        assert_int_equal(jobs_resume(jobs, job, c->now), ended ? -ESRCH : paused ? 0 : -EALREADY);
        break;
    case 2:
        jobs_reset(jobs, job, c->now);
        break;
    case 3:
        assert_int_equal(jobs_stop(jobs, job, c->now, "control"), ended ? -ESRCH : 0);
        break;
    case 4:
        assert_int_equal(jobs_fail(jobs, job, c->now, "of itself"), ended ? -ESRCH : 0);
        break;
    default:
        jobs_remove(jobs, job, c->now, "control");
    }
}

static void crowd_run(struct crowd *c)
{
    size_t max = random_once_in(&c->r, 3) ? 1 + random_below(&c->r, 5) : 1000;
    int64_t due;

    c->now += random_between(&c->r, 0, 15);
    size_t steps = jobs_run_due(c->w.jobs, c->now, max);
    assert_true(steps <= max);
    if (steps < max && jobs_next_due(c->w.jobs, &due, NULL))
        assert_true(due > c->now);
}

static void crowd_trim(struct crowd *c)
{
    size_t ended = 0;

    if (random_once_in(&c->r, 10)) {
        c->max_jobs = 5 + (uint32_t)random_below(&c->r, ROWS_MAX - 10);
        c->keep_ended = (uint32_t)random_below(&c->r, 10);
        jobs_configure(c->w.jobs, c->max_jobs, c->keep_ended);
    }
    while (jobs_trim(c->w.jobs))
        ;
    for (size_t i = 0; i < c->n; i++)
        ended += job_ended(c->rows[i].job);
    assert_true(ended <= c->keep_ended);
}

/* Count everything again, and look for the next deadline from end to end. */
static void crowd_check(struct crowd *c)
{
    struct jobs_counts counts, recount = {0};
    int64_t earliest = TIME_NEVER, due = TIME_NEVER;
    struct job *next = NULL;

    for (size_t i = 0; i < c->n; i++) {
        const struct row *row = &c->rows[i];
        bool live = !job_ended(row->job);
        recount.listed++;
        recount.live += live;
        recount.foreground += live && !row->background;
        recount.paused += row->job->state == JOB_PAUSED;
        earliest = job_due(row->job) < earliest ? job_due(row->job) : earliest;
        assert_int_equal(row->job->id, row->id);
        assert_ptr_equal(jobs_find(c->w.jobs, row->name), row->job);
    }
    jobs_counts(c->w.jobs, &counts);
    assert_int_equal(counts.listed, recount.listed);
    assert_int_equal(counts.live, recount.live);
    assert_int_equal(counts.foreground, recount.foreground);
    assert_int_equal(counts.paused, recount.paused);
    assert_int_equal(counts.ever, c->next_id - 1);
    assert_int_equal(counts.ticks, c->w.ticks);
    assert_int_equal(counts.missed, c->w.missed);
    assert_int_equal(jobs_done(c->w.jobs), c->foreground_ever > 0 && recount.foreground == 0);
    assert_int_equal(jobs_next_due(c->w.jobs, &due, &next), earliest != TIME_NEVER);
    if (earliest > c->now)
        assert_int_equal(due, earliest);
    else
        assert_true(due <= c->now);
    assert_true(next == NULL || job_due(next) <= due);
}

static void crowd_live(uint64_t salt)
{
    static struct crowd c;
    const struct jobs_hooks hooks = {crowd_event, world_changed, crowd_removed, &c};
    const struct jobs_config config = {ROWS_MAX - 10, 5, {salt, 2}};

    c = (struct crowd){.r = random_start(salt), .next_id = 1, .max_jobs = config.max_jobs, .keep_ended = 5};
    c.w.jobs = jobs_new(&config, &hooks);
    assert_non_null(c.w.jobs);
    for (int step = 0; step < 4000; step++) {
        uint64_t what = random_below(&c.r, 100);
        if (what < 12)
            crowd_add(&c);
        else if (what < 50)
            crowd_walk(&c);
        else if (what < 75)
            crowd_step_on_one(&c);
        else if (what < 97)
            crowd_run(&c);
        else
            crowd_trim(&c);
        crowd_check(&c);
    }
    for (size_t i = 0; i < CURSORS_MAX; i++)
        if (c.walks[i].open)
            jobs_end(&c.walks[i].cursor);
    jobs_free(c.w.jobs);
    assert_int_equal(c.n, 0);
}

static void random_lives_agree_with_an_array(void **state)
{
    (void)state;
    for (uint64_t salt = 1; salt <= 24; salt++)
        crowd_live(salt);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_run_in_the_order_of_the_file),
        cmocka_unit_test(due_jobs_run_in_slices),
        cmocka_unit_test(three_counters_end_in_their_time),
        cmocka_unit_test(background_jobs_hold_nobody),
        cmocka_unit_test(a_batch_is_all_or_nothing),
        cmocka_unit_test(a_name_twice_in_a_batch_is_refused_in_every_mode),
        cmocka_unit_test(the_bound_on_jobs_holds),
        cmocka_unit_test(if_absent_leaves_a_live_job),
        cmocka_unit_test(replace_stops_a_live_job),
        cmocka_unit_test(an_ended_job_gives_its_name_away),
        cmocka_unit_test(names_are_made_for_those_without),
        cmocka_unit_test(a_failure_is_one_job_s_own),
        cmocka_unit_test(steps_say_when_they_cannot),
        cmocka_unit_test(a_busy_job_starves_nobody),
        cmocka_unit_test(old_ended_jobs_are_pushed_out),
        cmocka_unit_test(ended_jobs_are_walked_in_the_order_of_their_ends),
        cmocka_unit_test(the_end_of_a_wait_is_told_in_any_case),
        cmocka_unit_test(many_are_pushed_out_in_parts),
        cmocka_unit_test(a_similar_name_is_found),
        cmocka_unit_test(no_jobs_are_easily_freed),
        cmocka_unit_test(random_lives_agree_with_an_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
