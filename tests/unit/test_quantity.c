/* Rates, spans and counts: what is taken, what is refused and why, and that nothing is lost on the way. */
#include "daemon/quantity.h"
#include "tests/unit/random.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

typedef unsigned __int128 u128;

#define DAY (86400 * NSEC_PER_SEC)

#define NOT_A_SPAN "is not a time span such as 500ms, 2s or 1min 30s"
#define NOT_A_RATE "is not a rate such as 0.5, 30/min or 1/26h"
#define NINES      "9999999999999999999" // 19 digits: the longest number that is taken

struct refusal {
    const char *text;
    int error;
    const char *why;
};

static void rates_are_read_exactly(void **state)
{
    static const struct {
        const char *text;
        struct rate rate;
    } rows[] = {
        {"1", {NSEC_PER_SEC, 1}},
        {"0.5", {2 * NSEC_PER_SEC, 1}},
        {"3", {NSEC_PER_SEC, 3}},
        {"3/s", {NSEC_PER_SEC, 3}},
        {"0.3", {10 * NSEC_PER_SEC, 3}},
        {".3", {10 * NSEC_PER_SEC, 3}},
        {"000.300000000000000000000000000", {10 * NSEC_PER_SEC, 3}},
        {"7/min", {60 * NSEC_PER_SEC, 7}},
        {"30/min", {2 * NSEC_PER_SEC, 1}},
        {" 2 / h ", {1800 * NSEC_PER_SEC, 1}},
        {"1/26h", {26 * 3600 * NSEC_PER_SEC, 1}},
        {"1/1min 30s", {90 * NSEC_PER_SEC, 1}},
        {"1/0.5s", {NSEC_PER_SEC / 2, 1}},
        {"1/.5s", {NSEC_PER_SEC / 2, 1}},
        {"1/3", {3 * NSEC_PER_SEC, 1}},
        {"2.5/3d", {6 * DAY / 5, 1}},
        {"1/ns", {1, 1}},
        {"1000000000", {1, 1}},
        {"0.999999999", {UINT64_C(1000000000000000000), 999999999}},
        {"999999999.999999999", {UINT64_C(1000000000000000000), UINT64_C(999999999999999999)}},
        {"1/4611686018427387903ns", {SPAN_MAX, 1}},
        {"4611686018427387902/4611686018427387903ns", {SPAN_MAX, SPAN_MAX - 1}},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rate rate = {0, 0};
        const char *why = "";
        if (rate_parse(rows[i].text, &rate, &why) != 0)
            fail_msg("'%s' %s", rows[i].text, why);
        if (rate.ns != rows[i].rate.ns || rate.ticks != rows[i].rate.ticks)
            fail_msg("'%s' is read as %" PRIu64 "/%" PRIu64, rows[i].text, rate.ns, rate.ticks);
    }
}

static void rates_are_refused_with_a_reason(void **state)
{
    static const struct refusal rows[] = {
        {"", -EINVAL, "is empty"},
        {" \t", -EINVAL, "is empty"},
        {"0", -ERANGE, "is zero"},
        {"0.000", -ERANGE, "is zero"},
        {"0/min", -ERANGE, "is zero"},
        {"-1", -ERANGE, "is negative"},
        {"-0.5/min", -ERANGE, "is negative"},
        {"1/-2s", -ERANGE, "is negative"},
        {"nan", -ERANGE, "is not a number"},
        {"NaN", -ERANGE, "is not a number"},
        {"inf", -ERANGE, "is infinite"},
        {"Infinity", -ERANGE, "is infinite"},
        {"0x10", -EINVAL, NOT_A_RATE},
        {"1,5", -EINVAL, NOT_A_RATE},
        {"1e3", -EINVAL, NOT_A_RATE},
        {"+1", -EINVAL, NOT_A_RATE},
        {".", -EINVAL, NOT_A_RATE},
        {"1..5", -EINVAL, NOT_A_RATE},
        {"fast", -EINVAL, NOT_A_RATE},
        {"/min", -EINVAL, NOT_A_RATE},
        {"5/", -EINVAL, NOT_A_RATE},
        {"5/fortnight", -EINVAL, NOT_A_RATE},
        {"5/min 30s", -EINVAL, NOT_A_RATE},
        {"5/1/2", -EINVAL, NOT_A_SPAN},
        {"5/2x", -EINVAL, NOT_A_SPAN},
        {"1/0", -ERANGE, "divides by zero"},
        {"1/0ms", -ERANGE, "divides by zero"},
        {"2s", -EINVAL, "is a time span, not a rate; did you mean interval?"},
        {"1min 30s", -EINVAL, "is a time span, not a rate; did you mean interval?"},
        {"500 ms", -EINVAL, "is a time span, not a rate; did you mean interval?"},
        {"1000000000.000000001", -ERANGE, "is more than a tick a nanosecond"},
        {"2/ns", -ERANGE, "is more than a tick a nanosecond"},
        {NINES, -ERANGE, "is more than a tick a nanosecond"},
        {"9" NINES, -ERANGE, "has more than 19 digits"},
        {"1e", -EINVAL, NOT_A_RATE},
        {"0.00000000000000000001", -ERANGE, "has more than 19 digits"},
        {"0.0000000001", -ERANGE, "is less than a tick in 146 years"},
        {"0.5/100y", -ERANGE, "is less than a tick in 146 years"},
        {"1/147y", -ERANGE, "is longer than 146 years"},
        {"0.3333333333333", -ERANGE, "has more digits than can be kept exactly"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rate rate = {12, 34};
        const char *why = "nothing";
        int r = rate_parse(rows[i].text, &rate, &why);
        if (r != rows[i].error || strcmp(why, rows[i].why) != 0)
            fail_msg("'%s': %d, '%s'", rows[i].text, r, why);
        assert_true(rate.ns == 12 && rate.ticks == 34);
    }
}

static void spans_are_read_exactly(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } rows[] = {
        {"0", 0},
        {"0s", 0},
        {"1", NSEC_PER_SEC},
        {"2.5", 2500 * NSEC_PER_MSEC},
        {"500ms", 500 * NSEC_PER_MSEC},
        {"1min 30s", 90 * NSEC_PER_SEC},
        {"1min30s", 90 * NSEC_PER_SEC},
        {" 1 min 30 s ", 90 * NSEC_PER_SEC},
        {"30s 1min", 90 * NSEC_PER_SEC},
        {"1min 30", 90 * NSEC_PER_SEC},
        {"1.5h", 5400 * NSEC_PER_SEC},
        {"1M", 2629800 * NSEC_PER_SEC},
        {"1m", 60 * NSEC_PER_SEC},
        {"2 months", 2 * 2629800 * NSEC_PER_SEC},
        {"1y", 31557600 * NSEC_PER_SEC},
        {"1w 1d 1h 1m 1s 1ms 1us 1ns", 694861001001001},
        {"1\u00b5s", 1000},
        {"1\u03bcs", 1000},
        {"0.000000001", 1},
        {"0.0000000010000000000000000000", 1},
        {"0.000001ms", 1},
        {"4611686018427387903ns", SPAN_MAX},
        {"4611686018427387902ns 1ns", SPAN_MAX},
        {"4611686018.427387903s", SPAN_MAX},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t ns = -1;
        const char *why = "";
        if (span_parse(rows[i].text, &ns, &why) != 0)
            fail_msg("'%s' %s", rows[i].text, why);
        if (ns != rows[i].ns)
            fail_msg("'%s' is read as %" PRId64, rows[i].text, ns);
    }
}

static void spans_are_refused_with_a_reason(void **state)
{
    static const struct refusal rows[] = {
        {"", -EINVAL, "is empty"},
        {"  ", -EINVAL, "is empty"},
        {"-1s", -ERANGE, "is negative"},
        {"1s -1ms", -ERANGE, "is negative"},
        {"inf", -ERANGE, "is infinite"},
        {"infinity", -ERANGE, "is infinite"},
        {"nan", -EINVAL, NOT_A_SPAN},
        {"s", -EINVAL, NOT_A_SPAN},
        {"+1s", -EINVAL, NOT_A_SPAN},
        {"0x10", -EINVAL, NOT_A_SPAN},
        {"1,5s", -EINVAL, NOT_A_SPAN},
        {"1e3", -EINVAL, NOT_A_SPAN},
        {"1.5.5s", -EINVAL, NOT_A_SPAN},
        {"1S", -EINVAL, NOT_A_SPAN},
        {"1 parsec", -EINVAL, NOT_A_SPAN},
        {"1s, 2ms", -EINVAL, NOT_A_SPAN},
        {"0.5ns", -ERANGE, "is finer than a nanosecond"},
        {"1s 0.0000000015", -ERANGE, "is finer than a nanosecond"},
        {"0.0000000000000000001", -ERANGE, "is finer than a nanosecond"},
        {"4611686018427387904ns", -ERANGE, "is longer than 146 years"},
        {"4611686018427387903ns 1ns", -ERANGE, "is longer than 146 years"},
        {"100y 100y", -ERANGE, "is longer than 146 years"},
        {NINES "y", -ERANGE, "is longer than 146 years"},
        {"1" NINES, -ERANGE, "has more than 19 digits"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t ns = -7;
        const char *why = "nothing";
        int r = span_parse(rows[i].text, &ns, &why);
        if (r != rows[i].error || strcmp(why, rows[i].why) != 0)
            fail_msg("'%s': %d, '%s'", rows[i].text, r, why);
        assert_int_equal(ns, -7);
    }
}

static void formats_are_the_short_ones(void **state)
{
    static const struct {
        struct rate rate;
        const char *text;
    } rates[] = {
        {{NSEC_PER_SEC, 1}, "1/s"},
        {{2 * NSEC_PER_SEC, 1}, "0.5/s"},
        {{NSEC_PER_SEC, 3}, "3/s"},
        {{10 * NSEC_PER_SEC, 3}, "0.3/s"},
        {{60 * NSEC_PER_SEC, 7}, "7/min"},
        {{1800 * NSEC_PER_SEC, 1}, "2/h"},
        {{DAY, 7}, "7/d"},
        {{26 * 3600 * NSEC_PER_SEC, 1}, "1/26h"},
        {{UINT64_C(1000000000000000000), 999999999}, "0.999999999/s"},
        {{SPAN_MAX, 1}, "1/4611686018427387903ns"},
        // as a decimal number it would need 20 digits
        {{UINT64_C(1490116119384765625), 340282366921}, "340282366921/1490116119384765625ns"},
        {{SPAN_MAX, SPAN_MAX - 1}, "4611686018427387902/4611686018427387903ns"},
    };
    static const struct {
        int64_t ns;
        const char *text;
    } spans[] = {
        {0, "0s"},
        {1, "1ns"},
        {1500, "1.5us"},
        {500 * NSEC_PER_MSEC, "500ms"},
        {333333333, "333.333333ms"},
        {NSEC_PER_SEC, "1s"},
        {90 * NSEC_PER_SEC, "1min 30s"},
        {60500 * NSEC_PER_MSEC, "1min 0.5s"},
        {DAY + 1, "1d 0.000000001s"},
        {3600 * NSEC_PER_SEC, "1h"},
        {INT64_MAX, "106751d 23h 47min 16.854775807s"},
    };
    char buf[QUANTITY_TEXT_MAX];
    (void)state;

    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++)
        assert_string_equal(rate_format(rates[i].rate, buf, sizeof buf), rates[i].text);
    for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++)
        assert_string_equal(span_format(spans[i].ns, buf, sizeof buf), spans[i].text);
}

/* With too small a buffer something is left out, and nothing is written behind the buffer. */
static void formats_stay_within_the_buffer(void **state)
{
    static const struct rate rates[] = {{10 * NSEC_PER_SEC, 3}, {SPAN_MAX, SPAN_MAX - 1}, {DAY, 7}};
    static const int64_t spans[] = {0, 1, 1500, 333333333, 60500 * NSEC_PER_MSEC, INT64_MAX};
    (void)state;

    for (size_t i = 0; i < 3 + 6; i++) {
        char whole[QUANTITY_TEXT_MAX];
        i < 3 ? rate_format(rates[i], whole, sizeof whole) : span_format(spans[i - 3], whole, sizeof whole);
        for (size_t size = 1; size <= strlen(whole) + 1; size++) {
            char *cut = malloc(size + 1);
            assert_non_null(cut);
            cut[size] = '#';
            i < 3 ? rate_format(rates[i], cut, size) : span_format(spans[i - 3], cut, size);
            assert_int_equal(cut[size], '#');
            assert_true(strlen(cut) < size);
            if (size > strlen(whole))
                assert_string_equal(cut, whole);
            free(cut);
        }
    }
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    return b == 0 ? a : gcd(b, a % b);
}

/* Any rate that the header allows: intervals, decimals as people write them, and any fraction at all. */
static struct rate random_rate(struct random *r)
{
    uint64_t ns = (uint64_t)random_magnitude(r, SPAN_MAX), ticks = 1;

    switch (random_below(r, 5)) {
    case 0:
        break;
    case 1: // N a second, minute or hour
        ns = (uint64_t[]){1, 60, 3600}[random_below(r, 3)] * (uint64_t)NSEC_PER_SEC;
        ticks = 1 + random_below(r, 1000000);
        break;
    case 2: // N / 10^k a second
        ns = (uint64_t)NSEC_PER_SEC;
        for (uint64_t digits = random_below(r, 10); digits > 0; digits--)
            ns *= 10;
        ticks = 1 + random_below(r, 1000000000);
        break;
    case 3: // a decimal number, of many digits as a rule
        for (ns = 1; ns < SPAN_MAX / 5 && !random_once_in(r, 30);)
            ns *= random_once_in(r, 3) ? 2 : 5;
        ticks = (uint64_t)random_magnitude(r, (int64_t)ns);
        break;
    default:
        ticks = (uint64_t)random_magnitude(r, (int64_t)ns);
    }
    uint64_t divisor = gcd(ns, ticks);
    return (struct rate){ns / divisor, ticks / divisor};
}

static void rates_survive_the_round_trip(void **state)
{
    struct random r = random_start(1);
    char text[QUANTITY_TEXT_MAX];
    (void)state;

    for (int i = 0; i < 200000; i++) {
        struct rate rate = random_rate(&r), back = {0, 0};
        const char *why = "";
        if (rate_parse(rate_format(rate, text, sizeof text), &back, &why) != 0)
            fail_msg("%" PRIu64 "/%" PRIu64 ": '%s' %s", rate.ns, rate.ticks, text, why);
        if (back.ns != rate.ns || back.ticks != rate.ticks)
            fail_msg("%" PRIu64 "/%" PRIu64 ": '%s' is read differently", rate.ns, rate.ticks, text);
    }
}

static void spans_survive_the_round_trip(void **state)
{
    static const int64_t round[] = {1, NSEC_PER_USEC, NSEC_PER_MSEC, NSEC_PER_SEC, 60 * NSEC_PER_SEC, DAY};
    struct random r = random_start(2);
    char text[QUANTITY_TEXT_MAX];
    (void)state;

    for (int i = 0; i < 200000; i++) {
        int64_t span = random_magnitude(&r, SPAN_MAX), back = -1;
        const char *why = "";
        span -= span % round[random_below(&r, 6)];
        if (span_parse(span_format(span, text, sizeof text), &back, &why) != 0)
            fail_msg("%" PRId64 ": '%s' %s", span, text, why);
        if (back != span)
            fail_msg("%" PRId64 ": '%s' is read as %" PRId64, span, text, back);
    }
}

/* k * ns / ticks, half up, from the definition. */
static u128 exact_due(struct rate rate, uint64_t k)
{
    u128 doubled = (u128)2 * k * rate.ns; // within 128 bits for the k used here
    return (doubled + rate.ticks) / ((u128)2 * rate.ticks);
}

static void due_times_do_not_drift(void **state)
{
    static const struct {
        const char *rate;
        int64_t first, millionth, billionth;
    } rows[] = {
        {"3/s", 333333333, 333333333333333, 333333333333333333},
        {"7/min", 8571428571, 8571428571428571, 8571428571428571429},
        {"0.3", 3333333333, 3333333333333333, 3333333333333333333},
        {"1/3ns", 3, 3000000, 3000000000},
        {"2/3ns", 2, 1500000, 1500000000},
        {"1.5", 666666667, 666666666666667, 666666666666666667},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rate rate;
        const char *why;
        assert_int_equal(rate_parse(rows[i].rate, &rate, &why), 0);
        assert_int_equal(rate_due(rate, 0), 0);
        assert_int_equal(rate_due(rate, 1), rows[i].first);
        assert_int_equal(rate_interval(rate), rows[i].first);
        assert_false(rate_is_faster(rate, rows[i].first - 1));
        assert_true(rate_is_faster(rate, rows[i].first + 1));
        assert_int_equal(rate_due(rate, 1000000), rows[i].millionth);
        assert_int_equal(rate_due(rate, 1000000000), rows[i].billionth);
    }
}

static void due_times_are_the_rounded_fraction(void **state)
{
    struct random r = random_start(3);
    (void)state;

    for (int i = 0; i < 500000; i++) {
        struct rate rate = random_rate(&r);
        uint64_t k = (uint64_t)random_magnitude(&r, INT64_MAX);
        u128 expected = exact_due(rate, k);
        if (expected > TIME_NEVER)
            expected = TIME_NEVER;
        if ((u128)rate_due(rate, k) != expected)
            fail_msg("tick %" PRIu64 " of %" PRIu64 "/%" PRIu64 " is due at %" PRId64, k, rate.ns, rate.ticks,
                     rate_due(rate, k));
    }
}

static void check_ticks_by(struct rate rate, int64_t elapsed)
{
    uint64_t k = rate_ticks_by(rate, elapsed);

    assert_true(k > 0);
    if (exact_due(rate, k) <= (u128)elapsed || exact_due(rate, k - 1) > (u128)elapsed)
        fail_msg("%" PRIu64 " ticks of %" PRIu64 "/%" PRIu64 " by %" PRId64, k, rate.ns, rate.ticks, elapsed);
}

static void counting_ticks_is_the_inverse(void **state)
{
    struct random r = random_start(4);
    (void)state;

    for (int i = 0; i < 200000; i++) {
        struct rate rate = random_rate(&r);
        assert_int_equal(rate_ticks_by(rate, -1), 0);
        assert_int_equal(rate_ticks_by(rate, INT64_MIN), 0);
        check_ticks_by(rate, 0);
        check_ticks_by(rate, random_magnitude(&r, INT64_MAX));
        int64_t due = rate_due(rate, (uint64_t)random_magnitude(&r, INT64_MAX));
        if (due == TIME_NEVER)
            continue;
        check_ticks_by(rate, due);
        check_ticks_by(rate, due + 1);
        if (due > 0)
            check_ticks_by(rate, due - 1);
    }
}

/* The same against counting on fingers. */
static void counting_ticks_agrees_with_a_walk(void **state)
{
    struct random r = random_start(5);
    (void)state;

    for (int i = 0; i < 2000; i++) {
        uint64_t ns = 1 + random_below(&r, 20), ticks = 1 + random_below(&r, ns), k = 0;
        struct rate rate = {ns, ticks};
        for (int64_t t = 0; t < 100; t++) {
            while (exact_due(rate, k) <= (u128)t)
                k++;
            assert_int_equal(rate_ticks_by(rate, t), k);
        }
    }
}

static void counts_are_whole_and_bounded(void **state)
{
    static const struct {
        const char *text;
        uint64_t max;
        int error;
        uint64_t value; // or else:
        const char *why;
    } rows[] = {
        {"0", 10, 0, 0, NULL},
        {" 10 ", 10, 0, 10, NULL},
        {"0000000000000000000000000000010", 10, 0, 10, NULL},
        {"11", 10, -ERANGE, 0, "is too large"},
        {"5", 5, 0, 5, NULL},
        {"6", 5, -ERANGE, 0, "is too large"},
        {"9", 5, -ERANGE, 0, "is too large"},
        {"1", 0, -ERANGE, 0, "is too large"},
        {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX, NULL},
        {"18446744073709551616", UINT64_MAX, -ERANGE, 0, "is too large"},
        {"99999999999999999999999", UINT64_MAX, -ERANGE, 0, "is too large"},
        {"", 10, -EINVAL, 0, "is not a whole number"},
        {"-1", 10, -ERANGE, 0, "is negative"},
        {"+1", 10, -EINVAL, 0, "is not a whole number"},
        {"1.0", 10, -EINVAL, 0, "is not a whole number"},
        {"0x1", 10, -EINVAL, 0, "is not a whole number"},
        {"1 2", 10, -EINVAL, 0, "is not a whole number"},
        {"five", 10, -EINVAL, 0, "is not a whole number"},
    };
    (void)state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t value = 77;
        const char *why = "nothing";
        int r = count_parse(rows[i].text, rows[i].max, &value, &why);
        if (r != rows[i].error)
            fail_msg("'%s' of at most %" PRIu64 ": %d", rows[i].text, rows[i].max, r);
        assert_int_equal(value, r == 0 ? rows[i].value : 77);
        if (r < 0)
            assert_string_equal(why, rows[i].why);
    }
}

static void booleans_are_those_of_systemd(void **state)
{
    static const char *const words[2][6] = {{"no", "false", "off", "0", "NO", "Off"},
                                            {"yes", "true", "on", "1", "Yes", "TRUE"}};
    static const char *const others[] = {"", "2", "y", "ja", "yess", " yes"};
    const char *why = "";
    bool value;
    (void)state;

    for (int expected = 0; expected < 2; expected++)
        for (size_t i = 0; i < 6; i++) {
            value = !expected;
            assert_int_equal(bool_parse(words[expected][i], &value, &why), 0);
            assert_int_equal(value, expected);
        }
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(bool_parse(others[i], &value, &why), -EINVAL);
        assert_string_equal(why, "is neither yes nor no");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_read_exactly),        cmocka_unit_test(rates_are_refused_with_a_reason),
        cmocka_unit_test(spans_are_read_exactly),        cmocka_unit_test(spans_are_refused_with_a_reason),
        cmocka_unit_test(formats_are_the_short_ones),    cmocka_unit_test(formats_stay_within_the_buffer),
        cmocka_unit_test(rates_survive_the_round_trip),  cmocka_unit_test(spans_survive_the_round_trip),
        cmocka_unit_test(due_times_do_not_drift),        cmocka_unit_test(due_times_are_the_rounded_fraction),
        cmocka_unit_test(counting_ticks_is_the_inverse), cmocka_unit_test(counting_ticks_agrees_with_a_walk),
        cmocka_unit_test(counts_are_whole_and_bounded),  cmocka_unit_test(booleans_are_those_of_systemd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
