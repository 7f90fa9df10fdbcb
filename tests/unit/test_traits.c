/* Traits are shared by those that ask the same, and only by them; and gone when nobody has them. */
#include "daemon/traits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const uint64_t seed[2] = {1, 2};

static struct job_spec loop_spec(void)
{
    return (struct job_spec){.name = (char *)"tea",
                             .message = (char *)"hot",
                             .rate = {NSEC_PER_SEC, 3},
                             .count = 5,
                             .delay = 9,
                             .kind = JOB_LOOP,
                             .immediate = true};
}

static void what_is_each_job_s_own_does_not_matter(void **state)
{
    struct traits_pool *pool = traits_pool_new(seed);
    struct job_spec a = loop_spec(), b = loop_spec();
    char hot[] = "hot";
    (void)state;

    assert_non_null(pool);
    b.name = (char *)"rice";
    b.message = hot;
    b.delay = 1;
    b.rate.ns = 7;
    const struct traits *first = traits_take(pool, &a);
    assert_ptr_equal(traits_take(pool, &b), first);
    hot[0] = 'x';
    assert_string_equal(first->spec.message, "hot");
    assert_null(first->spec.name);
    assert_int_equal(first->spec.rate.ticks, 3);
    traits_drop(first);
    assert_int_equal(first->uses, 1);
    traits_drop(first);
    traits_drop(NULL);
    traits_pool_free(pool);
    traits_pool_free(NULL);
}

/* One change at a time; each makes other traits, which are found again when others came between. */
static void everything_else_matters(void **state)
{
    enum { N = 11 };
    struct traits_pool *pool = traits_pool_new(seed);
    struct job_spec specs[N];
    const struct traits *traits[N];
    (void)state;

    assert_non_null(pool);
    for (size_t i = 0; i < N; i++)
        specs[i] = loop_spec();
    specs[1].message = NULL;
    specs[2].message = (char *)"hotter";
    specs[3].rate.ticks = 1;
    specs[4].count = COUNT_FOREVER;
    specs[5].report.when = REPORT_NONE;
    specs[6].report = (struct report_rule){REPORT_EVERY_N, 6};
    specs[7].kind = JOB_COUNTDOWN;
    specs[8].missed = MISSED_BURST;
    specs[9].immediate = false;
    specs[10].background = true;
    for (size_t i = 0; i < N; i++) {
        traits[i] = traits_take(pool, &specs[i]);
        assert_non_null(traits[i]);
        for (size_t k = 0; k < i; k++)
            assert_ptr_not_equal(traits[k], traits[i]);
    }
    for (size_t i = 0; i < N; i++)
        assert_ptr_equal(traits_take(pool, &specs[i]), traits[i]);
    for (size_t i = 0; i < 2 * (size_t)N; i++)
        traits_drop(traits[i % N]);
    traits_pool_free(pool);
}

/* Ten thousand, each with a message of its own, and in the end all memory of texts is given back. */
static void many_different_ones_work(void **state)
{
    enum { N = 10000 };
    static const struct traits *traits[N];
    struct traits_pool *pool = traits_pool_new(seed);
    struct job_spec spec = loop_spec();
    char message[16];
    (void)state;

    assert_non_null(pool);
    spec.message = message;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < N; i++) {
            snprintf(message, sizeof message, "cup %zu", i);
            traits[i] = traits_take(pool, &spec);
            assert_non_null(traits[i]);
        }
        for (size_t i = 0; i < N; i++) {
            snprintf(message, sizeof message, "cup %zu", i);
            assert_string_equal(traits[i]->spec.message, message);
            assert_ptr_equal(traits_take(pool, &spec), traits[i]);
            traits_drop(traits[i]);
            traits_drop(traits[i]);
        }
    }
    traits_pool_free(pool);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_each_job_s_own_does_not_matter),
        cmocka_unit_test(everything_else_matters),
        cmocka_unit_test(many_different_ones_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
