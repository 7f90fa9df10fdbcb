/* Looking through replies: it takes what jansson takes, finds what jansson finds, and no bytes do harm. */
#include "ctl/skim.h"
#include "tests/unit/random.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static struct skim_value value_of(const char *text)
{
    return (struct skim_value){text, strlen(text)};
}

static bool slice_of(const char *text, struct skim_slice *out)
{
    return skim_slice(text, strlen(text), "\"jobs\"", out);
}

static void slices_are_read(void **state)
{
    static const struct {
        const char *text, *values;
        bool continues;
    } rows[] = {
        {"{\"parameters\":{\"jobs\":[]}}", "[]", false},
        {"{\"parameters\":{\"jobs\":[{\"a\":[1]},2]},\"continues\":true}", "[{\"a\":[1]},2]", true},
        {" { \"continues\" : true , \"parameters\" : { \"x\" : 1 , \"jobs\" : [ ] } } ", "[ ]", true},
        {"{\"error\":null,\"parameters\":{\"jobs\":[1]},\"continues\":false}", "[1]", false},
        {"{\"parameters\":{\"jobs\":[\"]\\\"}\"]}}", "[\"]\\\"}\"]", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct skim_slice slice;
        if (!slice_of(rows[i].text, &slice))
            fail_msg("%s is refused", rows[i].text);
        assert_int_equal(slice.values.len, strlen(rows[i].values));
        assert_memory_equal(slice.values.text, rows[i].values, slice.values.len);
        assert_int_equal(slice.continues, rows[i].continues);
    }
}

static void what_is_no_slice_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"parameters\":{}}",
        "{\"parameters\":[[]]}",
        "{\"parameters\":{\"jobs\":{}}}",
        "{\"parameters\":{\"jobs\":[]}",
        "{\"parameters\":{\"jobs\":[]}}x",
        "{\"parameters\":{\"jobs\":[]],\"a\":1}",
        "{\"parameters\":{\"jobs\":[]},}",
        "{\"parameters\":{\"jobs\":[1,]}}",
        "{\"parameters\":{\"jobs\":[]},\"later\":01}",
        "{\"error\":\"a.b.No\",\"parameters\":{\"jobs\":[]}}",
        "{\"parameters\":{\"jobs\":[\"\x1b\"]}}",
        "{\"parameters\":{\"jobs\":[\"\xff\"]}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct skim_slice slice;
        if (slice_of(texts[i], &slice))
            fail_msg("%s is taken", texts[i]);
    }
}

static void members_are_found(void **state)
{
    static const char *const keys[] = {"name", "left", "none", "state"};
    static const char text[] =
        " { \"state\":\"a\\nb\" , \"names\":0, \"name\" : \"tea\",\"left\":-3,\"deep\":{\"none\":1}}";
    struct skim_value values[ARRAY_SIZE(keys)];
    char buf[16];
    int64_t n = 7;

    (void)state;
    skim_members(value_of(text), keys, values, ARRAY_SIZE(keys));
    assert_string_equal(skim_text(values[0], buf, sizeof buf), "tea");
    assert_string_equal(skim_text(values[0], buf, 3), "te");
    assert_true(skim_int(values[1], &n) && n == -3);
    assert_null(values[2].text);
    assert_string_equal(skim_text(values[3], buf, sizeof buf), "a\nb");
    assert_string_equal(skim_text(values[3], buf, 3), "a\n");
    assert_null(skim_text(values[1], buf, sizeof buf));
    assert_null(skim_text(values[2], buf, sizeof buf));
    assert_false(skim_int(values[0], &n));
    assert_false(skim_int(values[2], &n));
    skim_members(value_of("[1]"), keys, values, ARRAY_SIZE(keys));
    assert_null(values[0].text);
}

static void integers_are_exact_or_refused(void **state)
{
    static const struct {
        const char *text;
        int64_t n;
    } good[] = {{"0", 0}, {"-0", 0}, {"9223372036854775807", INT64_MAX}, {"-9223372036854775808", INT64_MIN}};
    static const char *const bad[] = {"9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999",
                                      "1.0",
                                      "1e3",
                                      "\"1\"",
                                      "true",
                                      "null",
                                      "[1]"};
    int64_t n;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        assert_true(skim_int(value_of(good[i].text), &n) && n == good[i].n);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (skim_int(value_of(bad[i]), &n))
            fail_msg("%s is taken for %lld", bad[i], (long long)n);
}

/* jansson refuses numbers that are too large and U+0000, which are JSON nevertheless; damage seldom makes these. */
static bool beyond_jansson(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);

    return code == json_error_numeric_overflow || code == json_error_null_character;
}

static void check_same(const char *text, size_t len, unsigned *taken, unsigned *refused)
{
    struct skim_slice slice;
    json_error_t error;
    json_t *root = json_loadb(text, len, 0, &error);
    bool is_slice = json_is_array(json_object_get(json_object_get(root, "parameters"), "jobs"));
    bool good = skim_slice(text, len, "\"jobs\"", &slice);

    if (root == NULL && beyond_jansson(&error))
        return;
    if (json_object_get(root, "error") == NULL && good != is_slice)
        fail_msg("%.*s is %s, jansson says: %s", (int)len, text, good ? "taken" : "refused", error.text);
    *taken += good;
    *refused += !good;
    json_decref(root);
}

static void damaged_replies_are_judged_as_by_jansson(void **state)
{
    static const char sound[] =
        "{\"parameters\":{\"jobs\":[{\"n\":-1.5e3,\"m\":\"\\u00e9\\\"\xc3\xa9\xf0\x9f\x8d\xb5\\\\\"},"
        "null, [true,[0,10],{}], \"\", false]},\"continues\":true}";
    static const char spice[] = "{}[]\",:\\ \n019-+.eEu\xc3\xa9tn";
    struct random r = random_start(0x736b696d);
    unsigned taken = 0, refused = 0;

    (void)state;
    for (int round = 0; round < 100000; round++) {
        char text[sizeof sound];
        size_t len = sizeof sound - 1 - (random_once_in(&r, 8) ? random_below(&r, 100) : 0);
        memcpy(text, sound, sizeof sound);
        for (uint64_t hits = random_below(&r, 3); hits > 0; hits--)
            text[random_below(&r, len)] =
                random_once_in(&r, 3) ? (char)random_between(&r, 1, 255) : spice[random_below(&r, sizeof spice - 1)];
        text[len] = '\0';
        check_same(text, len, &taken, &refused);
    }
    assert_true(taken > 10000);
    assert_true(refused > 10000);
}

static void deep_nesting_is_refused(void **state)
{
    static const char head[] = "{\"parameters\":{\"jobs\":";
    static char text[200100];
    struct skim_slice slice;

    (void)state;
    for (size_t depth = 1; depth <= 100000; depth *= 10) {
        char *p = mempcpy(text, head, sizeof head - 1);
        memset(p, '[', depth);
        memset(p + depth, ']', depth);
        memcpy(p + 2 * depth, "}}", 3);
        assert_int_equal(slice_of(text, &slice), depth <= 32);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_read),
        cmocka_unit_test(what_is_no_slice_is_refused),
        cmocka_unit_test(members_are_found),
        cmocka_unit_test(integers_are_exact_or_refused),
        cmocka_unit_test(damaged_replies_are_judged_as_by_jansson),
        cmocka_unit_test(deep_nesting_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
