/* The table of names against a plain array, and its hash against another implementation. */
#include "daemon/names.c" // for its hash, which nobody else is to see
#include "tests/unit/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NAMES_MAX 192
#define JOBS_EACH 3 // so many jobs want the same name

/* The key 00 01 .. 0f of the SipHash paper; the hashes are OpenSSL's, their low half. */
static void the_hash_is_siphash_2_4(void **state)
{
    static const char text[] = "countdown-7.of_the-Tea_and.9lives-x-y-z-";
    static const uint64_t seed[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    static const struct {
        size_t len;
        uint32_t hash;
    } rows[] = {
        {0, 0xdd0e0e31},  {1, 0x32b92239},  {7, 0x64d14886},  {8, 0xb067a16b},  {9, 0x7007e815},  {15, 0xd7c84229},
        {16, 0xa48d1ef7}, {17, 0xcb0146ae}, {23, 0x1e1c6c3f}, {24, 0x4be57d37}, {40, 0xf47e0b59},
    };
    struct names *names = names_new(seed);
    (void)state;

    assert_non_null(names);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[sizeof text];
        snprintf(name, sizeof name, "%.*s", (int)rows[i].len, text);
        if (hash_of(names, name) != rows[i].hash)
            fail_msg("the hash of '%s' is %08x", name, hash_of(names, name));
    }
    names_free(names);
}

static void the_seed_matters(void **state)
{
    static const uint64_t seeds[3][2] = {{1, 2}, {1, 3}, {2, 2}};
    uint32_t hash[3];
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        struct names *names = names_new(seeds[i]);
        assert_non_null(names);
        hash[i] = hash_of(names, "tea");
        names_free(names);
    }
    assert_true(hash[0] != hash[1] && hash[0] != hash[2] && hash[1] != hash[2]);
}

/* Jobs that compete for names, and who has which. */
struct world {
    struct names *names;
    struct job jobs[NAMES_MAX][JOBS_EACH];
    char text[NAMES_MAX][JOBS_EACH][16]; // equal names at different addresses
    struct job *holder[NAMES_MAX];
    uint32_t n, held;
};

static void world_init(struct world *w, uint32_t n, struct random *r)
{
    const uint64_t seed[2] = {random_u64(r), random_u64(r)};

    memset(w, 0, sizeof *w);
    w->n = n;
    w->names = names_new(seed);
    assert_non_null(w->names);
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < JOBS_EACH; j++) {
            snprintf(w->text[i][j], sizeof w->text[i][j], "job-%u", i);
            w->jobs[i][j].spec.name = w->text[i][j];
        }
}

static void check_all(const struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++)
        if (names_get(w->names, w->text[i][0]) != w->holder[i])
            fail_msg("%s is lost or another's", w->text[i][0]);
    assert_null(names_get(w->names, "job"));
    assert_null(names_get(w->names, ""));
}

static void random_step(struct world *w, struct random *r)
{
    uint32_t i = (uint32_t)random_below(r, w->n);
    struct job *job = &w->jobs[i][random_below(r, JOBS_EACH)];

    if (random_once_in(r, 2)) {
        names_drop(w->names, job); // does nothing for one that does not have its name
        w->held -= w->holder[i] == job;
        if (w->holder[i] == job)
            w->holder[i] = NULL;
        return;
    }
    assert_int_equal(names_reserve(w->names, w->held + (w->holder[i] == NULL)), 0);
    assert_ptr_equal(names_put(w->names, job), w->holder[i]);
    w->held += w->holder[i] == NULL;
    w->holder[i] = job;
}

static void names_agree_with_an_array(void **state)
{
    static const uint32_t sizes[] = {1, 2, 12, 24, 48, NAMES_MAX}; // 12, 24, 48: the table is as full as it gets
    static struct world w;
    struct random r = random_start(1);
    (void)state;

    for (int round = 0; round < 120; round++) {
        world_init(&w, sizes[round % 6], &r);
        if (round % 2 == 0)
            assert_int_equal(names_reserve(w.names, w.n), 0);
        for (int step = 0; step < 2000; step++) {
            random_step(&w, &r);
            if (step % 16 == 0)
                check_all(&w);
        }
        check_all(&w);
        assert_int_equal(w.names->used, w.held);
        for (uint32_t i = 0; i < w.n; i++)
            if (w.holder[i] != NULL)
                names_drop(w.names, w.holder[i]);
        memset(w.holder, 0, sizeof w.holder);
        check_all(&w);
        assert_int_equal(w.names->used, 0);
        names_free(w.names);
    }
}

static void an_empty_table_holds_nothing(void **state)
{
    static const uint64_t seed[2] = {0, 0};
    struct names *names = names_new(seed);
    char name[] = "tea";
    struct job job = {.spec.name = name}, nameless = {0};
    (void)state;

    assert_non_null(names);
    assert_null(names_get(names, "tea"));
    names_drop(names, &job);
    assert_int_equal(names_reserve(names, 1), 0);
    assert_null(names_put(names, &job));
    names_drop(names, &nameless);
    assert_ptr_equal(names_get(names, "tea"), &job);
    assert_int_equal(names_reserve(names, (size_t)UINT32_MAX + 1), -ENOMEM);
    assert_ptr_equal(names_get(names, "tea"), &job);
    names_free(names);
    names_free(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_siphash_2_4),
        cmocka_unit_test(the_seed_matters),
        cmocka_unit_test(names_agree_with_an_array),
        cmocka_unit_test(an_empty_table_holds_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
