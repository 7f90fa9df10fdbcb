/* Reloads: the digest of the old configuration against the new one, and the changes in slices or at once. */
#include "tests/unit/jobs_world.h"

#include "daemon/reload.h"
#include "tests/unit/random.h"

#include <errno.h>

#define N_MAX 400

static void digests_give_back_what_was_put_in(void **state)
{
    static const char *const names[] = {"A",
                                        "a",
                                        "a-1",
                                        "a-10",
                                        "a-2",
                                        "ab",
                                        "b",
                                        "b234567890123456789012345678901234567890",
                                        "b234567890123456789012345678901234567891"};
    struct digest d = {0};
    struct digest_reader r;

    (void)state;
    digest_begin(&r, &d);
    assert_false(digest_next(&r));
    for (size_t round = 0; round < 100; round++) // more than the first room
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
            assert_int_equal(digest_add(&d, names[i], UINT64_MAX - i), 0);
    assert_int_equal(d.n, 100 * ARRAY_SIZE(names));
    digest_begin(&r, &d);
    for (size_t i = 0; i < d.n; i++) {
        assert_true(digest_next(&r));
        assert_string_equal(r.name, names[i % ARRAY_SIZE(names)]);
        assert_true(r.print == UINT64_MAX - i % ARRAY_SIZE(names));
    }
    assert_false(digest_next(&r));
    assert_false(digest_next(&r));
    digest_clear(&d);
}

static void names_in_a_row_take_little(void **state)
{
    struct digest d = {0};

    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        char name[16];
        snprintf(name, sizeof name, "job-%06u", i);
        assert_int_equal(digest_add(&d, name, i), 0);
    }
    assert_in_range(d.len, 100000, 100000 * 12);
    digest_clear(&d);
}

/* A configuration of some out of N_MAX names, in an order that is not theirs, each with one of two specs. */
struct sample {
    struct config config;
    struct job_spec specs[N_MAX];
    char names[N_MAX][8];
    int variant[N_MAX]; // of each name; 0: it is not there
};

static void draw(struct sample *s, struct random *r)
{
    uint64_t start = random_below(r, N_MAX), some = 1 + random_below(r, 4);

    *s = (struct sample){.config.jobs = s->specs};
    settings_default(&s->config.daemon);
    for (uint64_t k = 0; k < N_MAX; k++) {
        size_t i = (start + 7 * k) % N_MAX; // 7 has no divisor in common with N_MAX
        snprintf(s->names[i], sizeof s->names[i], "%zu", i);
        if (!random_once_in(r, some))
            continue;
        s->variant[i] = 1 + (int)random_below(r, 2);
        s->specs[s->config.n_jobs++] = loop(s->names[i], s->variant[i] * SEC);
    }
}

static struct reload_plan compare(const struct digest *old, const struct sample *new)
{
    struct reload_plan plan;

    assert_int_equal(reload_compare(old, &new->config, &plan), 0);
    return plan;
}

static void comparing_finds_every_difference(void **state)
{
    static struct sample old, new;
    struct random r = random_start(7);

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        size_t added = 0, changed = 0, removed = 0, same = 0;
        draw(&old, &r);
        draw(&new, &r);
        struct reload_plan first = compare(&(struct digest){0}, &old), plan = compare(&first.digest, &new);
        for (size_t i = 0; i < N_MAX; i++) {
            added += old.variant[i] == 0 && new.variant[i] != 0;
            changed += old.variant[i] != 0 && new.variant[i] != 0 && old.variant[i] != new.variant[i];
            removed += old.variant[i] != 0 && new.variant[i] == 0;
            same += old.variant[i] != 0 && old.variant[i] == new.variant[i];
        }
        assert_int_equal(first.n_added, old.config.n_jobs);
        assert_int_equal(plan.n_added, added);
        assert_int_equal(plan.n_specs, added + changed);
        assert_int_equal(plan.removed.n, removed);
        assert_int_equal(plan.unchanged, same);
        assert_int_equal(plan.digest.n, new.config.n_jobs);
        for (size_t i = 0; i < plan.n_specs; i++) {
            int was = old.variant[atoi(plan.specs[i]->name)];
            assert_true(i < plan.n_added ? was == 0 : was != 0);
            assert_true(i == 0 || i == plan.n_added || plan.specs[i - 1] < plan.specs[i]); // the order of the file
        }
        reload_plan_clear(&plan);
        reload_plan_clear(&first);
    }
}

static int apply(struct world *w, struct reload_plan *plan, unsigned *slices)
{
    int r;

    *slices = 0;
    do {
        r = reload_step(plan, w->jobs, 0, 0);
        w->told[0] = '\0'; // it has room for a few
        ++*slices;
    } while (r > 0);
    return r;
}

static void the_jobs_are_then_those_of_the_file(void **state)
{
    static struct sample samples[2];
    struct digest digest = {0};
    struct random r = random_start(8);
    struct world w;
    unsigned slices, most = 0;

    (void)state;
    world_init(&w, 1000, 10);
    for (unsigned round = 0; round < 100; round++) {
        struct sample *s = &samples[round % 2];
        struct jobs_counts counts;
        draw(s, &r);
        struct reload_plan plan = compare(&digest, s);
        size_t changes = plan.n_specs + plan.removed.n;
        assert_int_equal(apply(&w, &plan, &slices), 0);
        assert_true(changes <= 256 ? slices == 1 : slices > 2);
        most = slices > most ? slices : most;
        jobs_counts(w.jobs, &counts);
        assert_int_equal(counts.live, s->config.n_jobs);
        for (size_t i = 0; i < N_MAX; i++) {
            const struct job *job = jobs_find(w.jobs, s->names[i]);
            assert_true(s->variant[i] == 0 ? job == NULL : rate_interval(job_rate(job)) == s->variant[i] * SEC);
        }
        digest_clear(&digest);
        digest = plan.digest;
        plan.digest = (struct digest){0};
        reload_plan_clear(&plan);
    }
    assert_true(most > 2); // some rounds were large enough
    digest_clear(&digest);
    jobs_free(w.jobs);
}

/* Whatever can refuse a large one is found before the first job is touched. */
static void refused_before_anything_is_done(void **state)
{
    static struct sample s;
    struct random r = random_start(9);
    struct jobs_counts counts;
    struct world w;
    unsigned slices;

    (void)state;
    do
        draw(&s, &r);
    while (s.config.n_jobs < 300);
    world_init(&w, 1000, 10);
    const char *last = s.config.jobs[s.config.n_jobs - 1].name;
    struct job_spec spec = loop(last, SEC);
    const struct jobs_add add = {.specs = &spec, .n = 1, .source = SOURCE_CONTROL};
    size_t failed;
    assert_int_equal(jobs_add(w.jobs, &add, 0, NULL, &failed), 0);

    struct reload_plan plan = compare(&(struct digest){0}, &s);
    assert_int_equal(apply(&w, &plan, &slices), -EEXIST);
    assert_string_equal(job_name(plan.other), last);
    reload_plan_clear(&plan);

    jobs_remove(w.jobs, jobs_find(w.jobs, last), 0, "test");
    world_add(&w, loop("other", SEC), 0);
    s.config.daemon.max_jobs = (uint32_t)s.config.n_jobs;
    plan = compare(&(struct digest){0}, &s);
    assert_int_equal(apply(&w, &plan, &slices), -ENOSPC);
    reload_plan_clear(&plan);
    jobs_counts(w.jobs, &counts);
    assert_int_equal(counts.ever, 2);
    assert_int_equal(jobs_max(w.jobs), 1000);

    s.config.daemon.max_jobs++;
    plan = compare(&(struct digest){0}, &s);
    assert_int_equal(apply(&w, &plan, &slices), 0);
    assert_int_equal(jobs_max(w.jobs), s.config.n_jobs + 1);
    reload_plan_clear(&plan);
    jobs_free(w.jobs);
}

/* Users go on adding jobs between the slices; once it has begun they cannot stop it. */
static void what_users_add_meanwhile_does_not_stop_it(void **state)
{
    static struct sample s;
    struct random r = random_start(10);
    struct jobs_counts counts;
    struct world w;
    unsigned slices;

    (void)state;
    do
        draw(&s, &r);
    while (s.config.n_jobs < 300);
    s.config.daemon.max_jobs = (uint32_t)s.config.n_jobs;
    world_init(&w, 1000, 10);
    struct reload_plan plan = compare(&(struct digest){0}, &s);
    while (plan.stage != RELOAD_ADD)
        assert_int_equal(reload_step(&plan, w.jobs, 0, 0), 1);
    world_add(&w, loop("other", SEC), 0);
    world_add(&w, loop(s.config.jobs[5].name, SEC), 0);
    assert_int_equal(apply(&w, &plan, &slices), 0);
    jobs_counts(w.jobs, &counts);
    assert_int_equal(counts.live, s.config.n_jobs + 1);
    assert_int_equal(jobs_find(w.jobs, s.config.jobs[5].name)->source, SOURCE_CONFIG);
    reload_plan_clear(&plan);
    jobs_free(w.jobs);
}

static void a_result_names_the_first_thousand(void **state)
{
    struct job_spec *specs = calloc(1500, sizeof *specs);
    char(*names)[8] = calloc(1500, sizeof *names);
    struct config config = {.jobs = specs, .n_jobs = 1500};
    struct reload_result result = {0};
    struct reload_plan plan;

    (void)state;
    for (unsigned i = 0; i < 1500; i++) {
        snprintf(names[i], sizeof names[i], "%u", 9999 - i);
        specs[i] = loop(names[i], SEC);
    }
    assert_int_equal(reload_compare(&(struct digest){0}, &config, &plan), 0);
    assert_int_equal(reload_describe(&plan, &config.daemon, &config.daemon, &result), 0);
    assert_int_equal(result.n_added, 1500);
    assert_int_equal(result.added.n, RELOAD_NAMES_MAX);
    assert_string_equal(result.added.items[0], "9999");
    reload_result_clear(&result);

    struct config empty = {0};
    struct reload_plan back;
    assert_int_equal(reload_compare(&plan.digest, &empty, &back), 0);
    assert_int_equal(reload_describe(&back, &config.daemon, &config.daemon, &result), 0);
    assert_int_equal(result.n_removed, 1500);
    assert_int_equal(result.removed.n, RELOAD_NAMES_MAX);
    reload_result_clear(&result);
    reload_plan_clear(&back);
    reload_plan_clear(&plan);
    free(names);
    free(specs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_give_back_what_was_put_in),
        cmocka_unit_test(names_in_a_row_take_little),
        cmocka_unit_test(comparing_finds_every_difference),
        cmocka_unit_test(the_jobs_are_then_those_of_the_file),
        cmocka_unit_test(refused_before_anything_is_done),
        cmocka_unit_test(what_users_add_meanwhile_does_not_stop_it),
        cmocka_unit_test(a_result_names_the_first_thousand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
