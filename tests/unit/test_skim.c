/* Reading JSON where it stands: it takes what jansson takes, finds what jansson finds, and no bytes do harm. */
#include "daemon/skim.h"
#include "tests/unit/random.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static struct skim_value value_of(const char *text)
{
    return (struct skim_value){text, strlen(text)};
}

/* The value that the whole text is; false if it is none. */
static bool read_whole(const char *text, size_t len, struct skim_value *out)
{
    struct skim s = skim_begin(text, len);

    *out = skim_take(&s);
    return skim_ended(&s);
}

static void what_is_no_value_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "[",
        "]",
        "{}x",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{\"a\":1,}",
        "{1:1}",
        "[1}",
        "{\"a\":1]",
        "tru",
        "True",
        "nul",
        "nan",
        "01",
        "-",
        "+1",
        "1.",
        ".1",
        "1e",
        "1e+",
        "0x1",
        "'a'",
        "\"",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u123g\"",
        "\"\n\"",
        "\"\x1b\"",
        "\"\xff\"",
        "\"\xc3\"",
        "\"\xc0\xaf\"",
        "\"\xed\xa0\x80\"",
        // What no C string can hold, and halves of a pair.
        "\"a\\u0000z\"",
        "\"\\ud83c\"",
        "\"\\ud83cx\"",
        "\"\\ud83c\\u0078\"",
        "\"\\udf75\\ud83c\"",
        "\"\\ud83c\\n\"",
    };
    struct skim_value value;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        if (read_whole(texts[i], strlen(texts[i]), &value))
            fail_msg("%s is taken", texts[i]);
}

static void escapes_are_resolved(void **state)
{
    static const struct {
        const char *text, *resolved;
    } rows[] = {
        {"\"\"", ""},
        {"\"plain\"", "plain"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041 \\u00e9 \\u20ac \\uD83C\\uDF75 z\"", "A \xc3\xa9 \xe2\x82\xac \xf0\x9f\x8d\xb5 z"},
        {"\"\xc3\xa9\\u001f\"", "\xc3\xa9\x1f"},
    };
    char buf[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *copy = skim_copy(value_of(rows[i].text));
        assert_non_null(copy);
        assert_string_equal(copy, rows[i].resolved);
        assert_string_equal(skim_text(value_of(rows[i].text), buf, sizeof buf), rows[i].resolved);
        assert_string_equal(skim_text(value_of(rows[i].text), buf, 1), "");
        free(copy);
    }
    assert_null(skim_copy(value_of("3")));
    assert_null(skim_copy((struct skim_value){0}));
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
    assert_true(skim_is_text(skim_member(value_of(text), "name"), "tea"));
    assert_false(skim_is_text(skim_member(value_of(text), "name"), "te"));
    assert_true(skim_is(skim_member(value_of(text), "deep"), '{'));
    assert_null(skim_member(value_of(text), "none").text);
    assert_null(skim_member(value_of("[1]"), "none").text);
    assert_null(skim_member((struct skim_value){0}, "none").text);
    skim_members(value_of("[1]"), keys, values, ARRAY_SIZE(keys));
    assert_null(values[0].text);
}

/* A key may be written with escapes, by those who hope that somebody does not know it then. */
static void texts_are_known_however_they_are_written(void **state)
{
    static const struct {
        const char *text, *word;
        bool same;
    } rows[] = {
        {"\"name\"", "name", true},
        {"\"\\u006eame\"", "name", true},
        {"\"nam\\u0065\"", "name", true},
        {"\"n\\u0061me\"", "name", true},
        {"\"names\"", "name", false},
        {"\"nam\"", "name", false},
        {"\"nam\\n\"", "name", false},
        {"\"\\u006eames\"", "name", false},
        {"\"\\u006eam\"", "name", false},
        {"\"Name\"", "name", false},
        {"\"\\n\"", "name", false},
        {"\"name\\u0020\"", "name", false},
        {"3", "name", false},
        {"null", "null", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (skim_is_text(value_of(rows[i].text), rows[i].word) != rows[i].same)
            fail_msg("%s is %s%s", rows[i].text, rows[i].same ? "not " : "", rows[i].word);
    assert_false(skim_is_text((struct skim_value){0}, "name"));
}

/* An array can be gone through in one go with what is in its objects. */
static void objects_are_entered_where_they_stand(void **state)
{
    static const char text[] = "[ {\"a\":1} ,{},{\"b\":[2],\"c\":3}]";
    struct skim s = skim_array(value_of(text));
    struct skim_value key;
    char keys[8] = "";
    size_t objects = 0;

    (void)state;
    for (; skim_more(&s); objects++) {
        assert_true(skim_enter(&s, '{'));
        while (skim_next_key(&s, &key)) {
            strncat(keys, key.text + 1, 1);
            assert_non_null(skim_take(&s).text);
        }
    }
    assert_int_equal(objects, 3);
    assert_string_equal(keys, "abc");
    assert_true(skim_ended(&s));
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

/* jansson refuses numbers that are too large, which are JSON nevertheless, and keys that damage made the same. */
static bool beyond_jansson(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);

    return code == json_error_numeric_overflow || code == json_error_duplicate_key;
}

static void check_value(struct skim_value value, const json_t *expected);

static void check_members(struct skim_value object, json_t *expected)
{
    struct skim_value found;
    const char *key;
    json_t *member;

    json_object_foreach (expected, key, member) {
        if (strpbrk(key, "\\\"\b\f\n\r\t") != NULL)
            continue; // skim_is_text() is not for those
        found = skim_member(object, key);
        assert_non_null(found.text);
        check_value(found, member);
    }
}

static void check_values(struct skim_value array, const json_t *expected)
{
    struct skim s = skim_array(array);
    struct skim_value value;
    size_t n = 0;

    while (skim_next(&s, &value))
        check_value(value, json_array_get(expected, n++));
    assert_int_equal(n, json_array_size(expected));
}

static void check_value(struct skim_value value, const json_t *expected)
{
    char buf[256];
    int64_t n = 0;

    switch (json_typeof(expected)) {
    case JSON_OBJECT:
        assert_true(skim_is(value, '{'));
        check_members(value, (json_t *)(uintptr_t)expected);
        break;
    case JSON_ARRAY:
        assert_true(skim_is(value, '['));
        check_values(value, expected);
        break;
    case JSON_STRING:
        assert_string_equal(skim_text(value, buf, sizeof buf), json_string_value(expected));
        break;
    case JSON_INTEGER:
        assert_true(skim_int(value, &n) && n == json_integer_value(expected));
        break;
    case JSON_REAL:
        assert_false(skim_int(value, &n));
        break;
    case JSON_TRUE:
        assert_true(skim_is_word(value, "true"));
        break;
    case JSON_FALSE:
        assert_true(skim_is_word(value, "false"));
        break;
    case JSON_NULL:
        assert_true(skim_is_word(value, "null"));
        break;
    }
}

static void check_same(const char *text, size_t len, unsigned *taken, unsigned *refused)
{
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    struct skim_value value;
    bool good = read_whole(text, len, &value);

    if (root == NULL && beyond_jansson(&error))
        return;
    if (good != (root != NULL))
        fail_msg("%.*s is %s, jansson says: %s", (int)len, text, good ? "taken" : "refused", error.text);
    if (good)
        check_value(value, root);
    *taken += good;
    *refused += !good;
    json_decref(root);
}

static void damaged_texts_are_judged_as_by_jansson(void **state)
{
    static const char sound[] =
        "{\"parameters\":{\"jobs\":[{\"n\":-1.5e3,\"\\u006d\":\"\\u00e9\\\"\xc3\xa9\xf0\x9f\x8d\xb5\\\\\"},"
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
    static char text[200001];
    struct skim_value value;

    (void)state;
    for (size_t depth = 1; depth <= 100000; depth *= 10) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = '\0';
        assert_int_equal(read_whole(text, 2 * depth, &value), depth <= 32);
    }
    memset(text, '[', 33);
    memset(text + 33, ']', 33);
    text[66] = '\0';
    assert_false(read_whole(text, 66, &value));
    text[65] = '\0';
    assert_true(read_whole(text + 1, 64, &value));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_value_is_refused),
        cmocka_unit_test(escapes_are_resolved),
        cmocka_unit_test(members_are_found),
        cmocka_unit_test(texts_are_known_however_they_are_written),
        cmocka_unit_test(objects_are_entered_where_they_stand),
        cmocka_unit_test(integers_are_exact_or_refused),
        cmocka_unit_test(damaged_texts_are_judged_as_by_jansson),
        cmocka_unit_test(deep_nesting_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
