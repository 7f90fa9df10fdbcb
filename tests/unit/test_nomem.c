/*
 * What happens when there is no memory: each allocation of a call fails in turn, and all must be as it was.
 *
 * Linked with --wrap for the four functions below, so that they come here first.
 */
#include "daemon/emit.h"
#include "daemon/reload.h"
#include "daemon/sched.h"
#include "tests/unit/jobs_world.h"

#include <errno.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_reallocarray(void *old, size_t n, size_t size);
char *__real_strdup(const char *text);

/* Allocations until the one that fails; below 0: none does. */
static int until_failure = -1;

static bool fails_now(void)
{
    if (until_failure < 0 || until_failure-- > 0)
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *old, size_t n, size_t size)
{
    return fails_now() ? NULL : __real_reallocarray(old, n, size);
}

char *__wrap_strdup(const char *text)
{
    return fails_now() ? NULL : __real_strdup(text);
}

static void a_batch_without_memory_changes_nothing(void **state)
{
    static struct picture before;
    bool done = false;
    int failures = 0;
    (void)state;

    for (int nth = 0; !done; nth++) {
        struct world w;
        world_init(&w, 100, 100);
        world_add(&w, loop("live", SEC), 0);
        world_add(&w, once("ended", 0), 0);
        jobs_run_due(w.jobs, 0, 10);
        struct job_spec specs[32] = {countdown("live", 1), countdown(NULL, 1), countdown("ended", 1)};
        char texts[32][40];
        for (size_t i = 3; i < 32; i++) { // each with a name and a message of its own
            specs[i] = loop(i % 2 == 0 ? texts[i] : NULL, SEC);
            specs[i].message = texts[i];
            snprintf(texts[i], sizeof texts[i], "a-text-that-must-be-copied-%zu", i);
        }
        struct jobs_add add = {.specs = specs, .n = 32, .mode = ADD_REPLACE};
        size_t failed;
        picture_take(&before, w.jobs);
        w.told[0] = '\0';

        until_failure = nth;
        int r = jobs_add(w.jobs, &add, SEC, NULL, &failed);
        done = until_failure >= 0; // the call had no need of so many
        until_failure = -1;
        failures += !done;
        assert_int_equal(r, done ? 0 : -ENOMEM);
        if (r < 0) {
            world_told(&w, "");
            picture_check_same(&before, w.jobs);
            assert_int_equal(jobs_add(w.jobs, &add, SEC, NULL, &failed), 0); // there is some again
        }
        assert_int_equal(jobs_find(w.jobs, "live")->id, 3);
        assert_int_equal(jobs_find(w.jobs, "ended")->id, 5);
        assert_int_equal(jobs_find(w.jobs, "loop-34")->id, 34);
        jobs_free(w.jobs);
    }
    assert_true(failures >= 29 + 14); // a message, a name: or this test has lost its grip
}

static void the_first_batch_without_memory(void **state)
{
    static struct picture before;
    int failures = 0;
    (void)state;

    for (bool done = false; !done; failures++) {
        struct job_spec spec = loop("a", SEC);
        struct jobs_add add = {.specs = &spec, .n = 1};
        struct world w;
        size_t failed;
        world_init(&w, 100, 100);
        picture_take(&before, w.jobs);
        until_failure = failures;
        done = jobs_add(w.jobs, &add, 0, NULL, &failed) == 0;
        until_failure = -1;
        if (!done) {
            picture_check_same(&before, w.jobs);
            assert_int_equal(jobs_add(w.jobs, &add, 0, NULL, &failed), 0);
        }
        assert_int_equal(jobs_run_due(w.jobs, 0, 10), 1);
        jobs_free(w.jobs);
    }
    assert_true(failures > 8); // memory for the job, its name's place, its traits and its deadline
}

static void no_memory_for_the_jobs_at_all(void **state)
{
    const struct jobs_config config = {10, 10, {1, 2}};
    const struct jobs_hooks hooks = {world_event, world_changed, world_removed, NULL};
    int failures = 0;
    (void)state;

    for (;; failures++) {
        until_failure = failures;
        struct jobs *jobs = jobs_new(&config, &hooks);
        until_failure = -1;
        if (jobs != NULL) {
            jobs_free(jobs);
            break;
        }
    }
    assert_true(failures > 0);
}

/* The reason cannot be kept, so the job is as it was, and the caller knows. */
static void a_failure_without_memory_is_told_to_the_caller(void **state)
{
    static struct picture before;
    struct world w;
    (void)state;

    world_init(&w, 10, 10);
    struct job *job = world_add(&w, loop("a", SEC), 0);
    jobs_run_due(w.jobs, 0, 10);
    picture_take(&before, w.jobs);
    w.told[0] = '\0';
    for (int nth = 0; nth < 2; nth++) {
        until_failure = nth;
        int r = jobs_fail(w.jobs, job, 1, "exit status 1");
        until_failure = -1;
        assert_int_equal(r, -ENOMEM);
        world_told(&w, "");
        picture_check_same(&before, w.jobs);
    }
    assert_int_equal(jobs_fail(w.jobs, job, 1, "exit status 1"), 0);
    jobs_free(w.jobs);
}

/* Three hundred jobs, so that they are added in slices; and a message for each, which takes memory of its own. */
static struct config *make_config(const char *message)
{
    struct config_builder *b = config_builder_new(NULL, NULL);
    struct config *config;
    char text[128];

    assert_non_null(b);
    for (unsigned i = 0; i < 300; i++) {
        int n = snprintf(text, sizeof text, "[job:job-%u]\nkind = loop\nmessage = %s-%u\n", i, message, i);
        assert_int_equal(config_builder_add(b, "file", text, (size_t)n), 0);
    }
    assert_int_equal(config_builder_finish(b, &config), 0);
    config_builder_free(b);
    return config;
}

static void a_configuration_without_memory(void **state)
{
    int failures = 0;
    (void)state;

    for (bool done = false; !done; failures++) {
        static const char text[] = "[defaults]\nmessage = x\n[job:a]\nkind = loop\n[job:b]\nkind = once\nmessage = y\n";
        struct config *config = NULL;
        until_failure = failures;
        struct config_builder *b = config_builder_new(NULL, NULL);
        int r = b == NULL ? -ENOMEM : config_builder_add(b, "file", text, sizeof text - 1);
        if (r == 0)
            r = config_builder_finish(b, &config);
        done = until_failure >= 0;
        until_failure = -1;
        assert_int_equal(r, done ? 0 : -ENOMEM);
        config_builder_free(b);
        config_free(config);
    }
    assert_true(failures > 8);
}

static void comparing_without_memory(void **state)
{
    struct config *config = make_config("m");
    int failures = 0;
    (void)state;

    for (bool done = false; !done; failures++) {
        struct reload_plan plan;
        until_failure = failures;
        int r = reload_compare(&(struct digest){0}, config, &plan);
        done = until_failure >= 0;
        until_failure = -1;
        assert_int_equal(r, done ? 0 : -ENOMEM);
        assert_true(done || (plan.specs == NULL && plan.digest.n == 0));
        reload_plan_clear(&plan);
    }
    assert_true(failures > 3); // the order, what becomes of them, the digest
    config_free(config);
}

/* It ends in the middle; with the old digest kept, the next one does it all again. */
static void a_reload_without_memory_is_done_again(void **state)
{
    struct config *config = make_config("m");
    int failures = 0;
    (void)state;

    for (bool done = false; !done; failures += 50) {
        struct reload_plan plan;
        struct jobs_counts counts;
        struct world w;
        int r;
        world_init(&w, 1000, 10);
        assert_int_equal(reload_compare(&(struct digest){0}, config, &plan), 0);
        until_failure = failures;
        while ((r = reload_step(&plan, w.jobs, 0, 0)) > 0)
            ;
        done = until_failure >= 0;
        until_failure = -1;
        assert_int_equal(r, done ? 0 : -ENOMEM);
        reload_plan_clear(&plan);
        assert_int_equal(reload_compare(&(struct digest){0}, config, &plan), 0);
        while ((r = reload_step(&plan, w.jobs, 0, 0)) > 0)
            ;
        assert_int_equal(r, 0);
        reload_plan_clear(&plan);
        jobs_counts(w.jobs, &counts);
        assert_int_equal(counts.live, 300);
        jobs_free(w.jobs);
    }
    assert_true(failures > 300);
    config_free(config);
}

static void a_schedule_that_cannot_grow_keeps_what_it_has(void **state)
{
    (void)state;
    for (int nth = 0; nth < 2; nth++) {
        struct sched *s = sched_new();
        uint32_t handle;
        assert_non_null(s);
        assert_int_equal(sched_reserve(s, 2), 0);
        sched_set(s, 0, 20);
        sched_set(s, 1, 10);
        until_failure = nth;
        int r = sched_reserve(s, 1000);
        until_failure = -1;
        assert_int_equal(r, -ENOMEM);
        assert_true(sched_pop_due(s, 20, &handle) && handle == 1);
        assert_int_equal(sched_reserve(s, 1000), 0);
        sched_set(s, 999, 15);
        assert_true(sched_pop_due(s, 20, &handle) && handle == 999);
        assert_true(sched_pop_due(s, 20, &handle) && handle == 0);
        sched_free(s);
    }
}

/* A key that cannot be kept leaves the one from before. */
static void a_draft_without_memory_keeps_what_was_said(void **state)
{
    struct spec_draft draft = {0};
    struct job_spec spec = {0}, copy;
    struct spec_error err;
    (void)state;

    assert_int_equal(spec_draft_set(&draft, KEY_KIND, "loop", &err), 0);
    assert_int_equal(spec_draft_set(&draft, KEY_NAME, "tea", &err), 0);
    assert_int_equal(spec_draft_set(&draft, KEY_MESSAGE, "hot", &err), 0);
    until_failure = 0;
    assert_int_equal(spec_draft_set(&draft, KEY_NAME, "coffee", &err), -ENOMEM);
    until_failure = 0;
    assert_int_equal(spec_draft_set(&draft, KEY_MESSAGE, "cold", &err), -ENOMEM);
    assert_string_equal(draft.spec.name, "tea");
    assert_string_equal(draft.spec.message, "hot");
    for (int nth = 0; nth < 2; nth++) {
        until_failure = nth;
        assert_int_equal(spec_from_draft(&draft, NULL, &spec, &err), -ENOMEM);
        assert_null(spec.name);
    }
    until_failure = -1;
    assert_int_equal(spec_from_draft(&draft, NULL, &spec, &err), 0);
    for (int nth = 0; nth < 2; nth++) {
        until_failure = nth;
        assert_int_equal(spec_copy(&spec, &copy), -ENOMEM);
    }
    until_failure = -1;
    spec_clear(&spec);
    spec_draft_clear(&draft);
}

/* What could not be kept is noted, and nothing more is written behind the gap. */
static void json_without_memory_is_known_to_be_broken(void **state)
{
    struct emit e = {0};
    size_t len;
    (void)state;

    emit_open(&e, NULL, '[');
    len = e.room;
    until_failure = 0;
    for (size_t i = 0; i < len; i++)
        emit_int(&e, NULL, 7);
    until_failure = -1;
    assert_true(e.failed);
    assert_true(e.len <= e.room);
    len = e.len;
    emit_text(&e, NULL, "late");
    assert_int_equal(e.len, len);
    emit_reset(&e);
    emit_text(&e, NULL, "again");
    assert_false(e.failed);
    emit_free(&e);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_without_memory_changes_nothing),
        cmocka_unit_test(the_first_batch_without_memory),
        cmocka_unit_test(no_memory_for_the_jobs_at_all),
        cmocka_unit_test(a_failure_without_memory_is_told_to_the_caller),
        cmocka_unit_test(a_configuration_without_memory),
        cmocka_unit_test(comparing_without_memory),
        cmocka_unit_test(a_reload_without_memory_is_done_again),
        cmocka_unit_test(a_schedule_that_cannot_grow_keeps_what_it_has),
        cmocka_unit_test(a_draft_without_memory_keeps_what_was_said),
        cmocka_unit_test(json_without_memory_is_known_to_be_broken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
