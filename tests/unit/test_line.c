/* Text in a fixed buffer: numbers against printf(3), and what becomes of that which does not fit. */
#include "daemon/line.h"
#include "tests/unit/random.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define ROOM 32

/* The buffer's bytes behind the line's own are not to be touched. */
static void expect(const char *buf, size_t size, const struct line *line, const char *wanted)
{
    if (strcmp(buf, wanted) != 0 || line->len != strlen(wanted))
        fail_msg("in %zu bytes the line is '%s', %zu long, and not '%s'", size, buf, line->len, wanted);
    for (size_t i = size; i < ROOM; i++)
        assert_int_equal(buf[i], 'x');
}

/* In every room, the one that it just fits into among them. */
static void check_number(uint64_t n)
{
    char whole[ROOM], buf[ROOM];
    size_t len = (size_t)snprintf(whole, sizeof whole, "a%" PRIu64, n);

    for (size_t size = 2; size <= ROOM; size++) {
        memset(buf, 'x', sizeof buf);
        struct line line = line_begin(buf, size);
        line_text(&line, "a");
        line_number(&line, n);
        expect(buf, size, &line, len < size ? whole : "a");
    }
}

static void numbers_are_as_printf_writes_them(void **state)
{
    struct random r = random_start(3);
    (void)state;

    for (uint64_t n = 0; n < 12000; n++)
        check_number(n);
    for (uint64_t power = 10;; power *= 10) {
        check_number(power - 1);
        check_number(power);
        check_number(power + 1);
        if (power > UINT64_MAX / 10)
            break;
    }
    check_number(UINT64_MAX);
    for (int i = 0; i < 10000; i++)
        check_number(random_u64(&r) >> random_below(&r, 64));
}

static void text_that_does_not_fit_is_cut(void **state)
{
    char buf[ROOM];
    (void)state;

    for (size_t size = 1; size <= ROOM; size++) {
        char wanted[ROOM] = "";
        snprintf(wanted, size, "%s", "one two three");
        memset(buf, 'x', sizeof buf);
        struct line line = line_begin(buf, size);
        line_text(&line, "one ");
        line_bytes(&line, "two three and more", 9);
        expect(buf, size, &line, wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_as_printf_writes_them),
        cmocka_unit_test(text_that_does_not_fit_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
