/* The table against a plain array, how much one call does, and its hash against another implementation. */
#include "daemon/slab.h"
#include "daemon/table.h"
#include "tests/unit/random.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

#define THINGS 500

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
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t hash = table_hash(seed, text, rows[i].len);
        if (hash != rows[i].hash)
            fail_msg("the hash of '%.*s' is %08x", (int)rows[i].len, text, hash);
    }
}

static void the_seed_matters(void **state)
{
    static const uint64_t seeds[3][2] = {{1, 2}, {1, 3}, {2, 2}};
    uint32_t hash[3];
    (void)state;

    for (size_t i = 0; i < 3; i++)
        hash[i] = table_hash(seeds[i], "tea", 3);
    assert_true(hash[0] != hash[1] && hash[0] != hash[2] && hash[1] != hash[2]);
}

/* Is the thing among those of this hash, and is none of another hash among them? */
static bool is_there(const struct table *t, uint32_t thing, const uint32_t *hashes, uint32_t hash)
{
    bool found = false;

    for (uint32_t i = table_first(t, hash); i != TABLE_END; i = table_next(t, i)) {
        assert_int_equal(hashes[i], hash);
        assert_false(found && i == thing); // once only
        found |= i == thing;
    }
    return found;
}

static void the_table_agrees_with_an_array(void **state)
{
    struct random r = random_start(1);
    (void)state;

    for (int round = 0; round < 60; round++) {
        uint32_t n = 1 + (uint32_t)random_below(&r, THINGS), hashes[THINGS], range = round % 3 == 0 ? 7 : UINT32_MAX;
        bool there[THINGS] = {0};
        struct table t = {0};
        assert_int_equal(table_reserve(&t, n), 0);
        for (uint32_t i = 0; i < n; i++)
            hashes[i] = (uint32_t)random_below(&r, range); // or many things of few hashes
        for (int step = 0; step < 1500; step++) {
            uint32_t i = (uint32_t)random_below(&r, n);
            if (there[i] || random_once_in(&r, 10)) // also one that is not there
                table_drop(&t, i, hashes[i]);
            else
                table_put(&t, i, hashes[i]);
            there[i] = t.used > 0 && is_there(&t, i, hashes, hashes[i]);
            uint32_t k = (uint32_t)random_below(&r, n);
            assert_int_equal(is_there(&t, k, hashes, hashes[k]), there[k]);
        }
        table_fini(&t);
    }
}

/* However many there are: a put moves what is in one bucket, and buckets stay short. */
static void no_put_moves_many(void **state)
{
    static const uint64_t seed[2] = {1, 2};
    enum { N = 200000 };
    struct table t = {0};
    uint32_t longest = 0;
    (void)state;

    assert_int_equal(table_reserve(&t, N), 0);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t parted = t.buckets & (t.buckets > t.mask ? t.mask : t.mask >> 1), length = 0;
        for (uint32_t at = i > 0 ? t.heads[parted] : TABLE_END; at != TABLE_END; at = t.nodes[at].next)
            length++;
        longest = length > longest ? length : longest;
        table_put(&t, i, table_hash(seed, &i, sizeof i));
        assert_int_equal(t.buckets, t.used);
    }
    assert_in_range(longest, 3, 24); // some 3 on average; this many is one in a billion
    table_fini(&t);
}

static void what_a_slab_gives_out_stays_where_it_is(void **state)
{
    enum { N = 3 * SLAB_CHUNK };
    static uint64_t *at[N];
    struct random r = random_start(2);
    struct slab slab;
    (void)state;

    slab_init(&slab, sizeof(uint64_t));
    for (uint32_t i = 0; i < N; i++) {
        assert_int_equal(slab_reserve(&slab, 1), 0);
        uint32_t number = slab_take(&slab);
        assert_int_equal(number, i);
        at[i] = slab_at(&slab, i);
        assert_int_equal(*at[i], 0);
        *at[i] = i;
    }
    assert_int_equal(slab_room(&slab), N);
    for (int round = 0; round < 20000; round++) {
        uint32_t i = (uint32_t)random_below(&r, N);
        assert_int_equal(*at[i], i);
        slab_give(&slab, i);
        assert_int_equal(slab_take(&slab), i); // the last that was given back, and clean
        assert_int_equal(*at[i], 0);
        *at[i] = i;
    }
    for (uint32_t i = 0; i < N; i++) {
        assert_ptr_equal(slab_at(&slab, i), at[i]);
        slab_give(&slab, i);
    }
    assert_int_equal(slab_reserve(&slab, N), 0);
    assert_int_equal(slab_room(&slab), N);
    assert_int_equal(slab_reserve(&slab, UINT32_MAX), -ENOMEM);
    slab_fini(&slab);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_is_siphash_2_4),
        cmocka_unit_test(the_seed_matters),
        cmocka_unit_test(the_table_agrees_with_an_array),
        cmocka_unit_test(no_put_moves_many),
        cmocka_unit_test(what_a_slab_gives_out_stays_where_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
