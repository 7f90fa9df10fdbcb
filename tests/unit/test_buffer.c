/* Bytes that are added and taken away at random come out as they went in, and little memory stays behind. */
#include "daemon/buffer.h"
#include "tests/unit/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/param.h>

#include <cmocka.h>

#define STEPS     20000
#define PIECE_MAX 3000
#define KEPT_MAX  4096

/* Each byte says its place. */
static char byte_at(size_t place)
{
    return (char)(place * 31 + place / 251);
}

static void add(struct buffer *b, size_t place, size_t n)
{
    char piece[PIECE_MAX];

    for (size_t i = 0; i < n; i++)
        piece[i] = byte_at(place + i);
    assert_int_equal(buffer_add(b, piece, n), 0);
}

static void take(struct buffer *b, size_t place, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buffer_begin(b)[i], byte_at(place + i));
    buffer_drain(b, n);
}

static void test_what_goes_in_comes_out(void **state)
{
    struct random random = random_start(1);
    struct buffer b = {0};
    size_t in = 0, out = 0, longest = 0;

    (void)state;
    for (int i = 0; i < STEPS; i++) {
        size_t n = random_below(&random, PIECE_MAX);
        if (random_once_in(&random, 2)) {
            add(&b, in, n);
            in += n;
        } else {
            n = MIN(n, in - out);
            take(&b, out, n);
            out += n;
        }
        longest = MAX(longest, in - out);
        assert_int_equal(buffer_length(&b), in - out);
        assert_true(b.room <= MAX(2 * longest, KEPT_MAX));
    }
    assert_true(out > 100 * PIECE_MAX);
    take(&b, out, in - out);
    assert_true(b.room <= KEPT_MAX);
    buffer_free(&b);
}

static void test_empty(void **state)
{
    struct buffer b = {0};

    (void)state;
    assert_int_equal(buffer_add(&b, "", 0), 0);
    buffer_drain(&b, 0);
    assert_int_equal(buffer_length(&b), 0);
    buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_goes_in_comes_out),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
