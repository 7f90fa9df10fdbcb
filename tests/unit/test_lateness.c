/* The histogram of lateness against the same values, sorted. */
#include "daemon/lateness.h"
#include "tests/unit/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define VALUES 20000

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* What a sorted array says: the least value that `percent` of 100 do not exceed. */
static int64_t within_sorted(const int64_t *values, size_t n, unsigned percent)
{
    size_t rank = (n * percent + 99) / 100;

    return values[rank > 0 ? rank - 1 : 0];
}

static void check_against(const char *what, int64_t *values, size_t n)
{
    static const unsigned percents[] = {0, 1, 10, 50, 90, 99, 100};
    struct lateness l = {0};

    for (size_t i = 0; i < n; i++)
        lateness_add(&l, values[i]);
    qsort(values, n, sizeof *values, compare);
    assert_int_equal(l.n, n);
    assert_int_equal(l.max, values[n - 1]);
    for (size_t i = 0; i < sizeof percents / sizeof percents[0]; i++) {
        int64_t exact = within_sorted(values, n, percents[i]), got = lateness_within(&l, percents[i]);
        if (got < 0 || (got > exact ? got - exact : exact - got) > exact / 16)
            fail_msg("%s: %u of 100 within %lld, and the histogram says %lld", what, percents[i], (long long)exact,
                     (long long)got);
    }
    assert_int_equal(lateness_within(&l, 100), l.max);
}

static void it_answers_as_sorted_values_do(void **state)
{
    static int64_t values[VALUES];
    struct random r = random_start(7);
    (void)state;

    for (int bits = 1; bits <= 62; bits++) { // lateness of every magnitude up to these bits
        char what[32];
        for (size_t i = 0; i < VALUES; i++)
            values[i] = random_between(&r, 0, (INT64_C(1) << random_between(&r, 1, bits)) - 1);
        snprintf(what, sizeof what, "up to %d bits", bits);
        check_against(what, values, VALUES);
    }
    for (size_t i = 0; i < VALUES; i++)
        values[i] = i < VALUES * 98 / 100 ? 40000 : 5000000;
    check_against("a few that are late", values, VALUES);
}

static void within_a_bucket_it_is_nearer_than_the_buckets_width(void **state)
{
    static int64_t values[VALUES];
    struct lateness l = {0};
    (void)state;

    for (size_t i = 0; i < VALUES; i++)
        lateness_add(&l, values[i] = 60000 + (int64_t)i);
    int64_t off = lateness_within(&l, 50) - within_sorted(values, VALUES, 50);
    if (off < -200 || off > 200)
        fail_msg("half of what lies evenly is missed by %lld", (long long)off);
}

static void small_and_great_values_have_their_place(void **state)
{
    static const int64_t values[] = {0, 1, 31, 32, 33, 63, 64, INT64_MAX - 1, INT64_MAX};
    (void)state;

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        int64_t alone = values[i];
        check_against("one value", &alone, 1);
    }
}

static void none_at_all(void **state)
{
    struct lateness l = {0};
    (void)state;

    assert_int_equal(lateness_within(&l, 50), 0);
    assert_int_equal(lateness_within(&l, 100), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_answers_as_sorted_values_do),
        cmocka_unit_test(within_a_bucket_it_is_nearer_than_the_buckets_width),
        cmocka_unit_test(small_and_great_values_have_their_place),
        cmocka_unit_test(none_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
