/* Looking through replies: it takes what jansson takes, finds what jansson finds, and no bytes do harm. */
#include "ctl/skim.h"
#include "daemon/varlink.h"
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

static bool slice_of(const char *text, struct skim_slice *out)
{
    return skim_slice(text, strlen(text), "jobs", out);
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

static void replies_are_read(void **state)
{
    static const struct {
        const char *text, *error, *parameters;
        bool continues;
    } rows[] = {
        {"{}", "", "", false},
        {" { } ", "", "", false},
        {"{\"parameters\":{\"n\":3},\"continues\":true}", "", "{\"n\":3}", true},
        {"{\"error\":\"a.b.No\",\"parameters\":{}}", "\"a.b.No\"", "{}", false},
        {"{\"error\":null,\"parameters\":null,\"continues\":null}", "", "", false},
        {"{\"later\":[1,{}],\"continues\":false}", "", "", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct skim_reply reply;
        if (!skim_reply(rows[i].text, strlen(rows[i].text), &reply))
            fail_msg("%s is refused", rows[i].text);
        assert_int_equal(reply.error.len, strlen(rows[i].error));
        assert_memory_equal(reply.error.text, rows[i].error, reply.error.len);
        assert_int_equal(reply.parameters.len, strlen(rows[i].parameters));
        assert_memory_equal(reply.parameters.text, rows[i].parameters, reply.parameters.len);
        assert_int_equal(reply.continues, rows[i].continues);
    }
}

static void what_is_no_reply_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "HTTP/1.1 400 Bad Request\r\n",
        "17",
        "\"text\"",
        "[]",
        "{",
        "{}{}",
        "{\"error\":true}",
        "{\"parameters\":3}",
        "{\"parameters\":[]}",
        "{\"continues\":\"yes\"}",
        "{\"continues\":1}",
        "{\"parameters\":{\"n\":}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct skim_reply reply;
        if (skim_reply(texts[i], strlen(texts[i]), &reply))
            fail_msg("%s is taken", texts[i]);
    }
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
        // What no text can have: the NUL, and half a pair.
        {"\"a\\u0000z\"", "a\xef\xbf\xbdz"},
        {"\"\\ud83c\"", "\xef\xbf\xbd"},
        {"\"\\ud83cx\"", "\xef\xbf\xbdx"},
        {"\"\\ud83c\\u0078\"", "\xef\xbf\xbdx"},
        {"\"\\udf75\\ud83c\"", "\xef\xbf\xbd\xef\xbf\xbd"},
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

/* What the daemon writes, a client reads, whatever is in it. */
static void random_texts_survive(void **state)
{
    struct random r = random_start(0x7661726c);
    struct emit e = {0};

    (void)state;
    for (int round = 0; round < 2000; round++) {
        char value[32], got[32];
        size_t n = random_below(&r, sizeof value);
        bool continues = random_once_in(&r, 2);
        struct skim_reply reply;

        for (size_t i = 0; i < n; i++)
            value[i] = (char)random_between(&r, 1, 127);
        value[n] = '\0';
        emit_reset(&e);
        varlink_begin_reply(&e);
        emit_text(&e, "v", value);
        varlink_end(&e, continues);
        assert_ptr_equal(memchr(e.text, '\0', e.len), e.text + e.len - 1);
        if (!skim_reply(e.text, e.len - 1, &reply))
            fail_msg("%s is refused", e.text);
        assert_string_equal(skim_text(skim_member(reply.parameters, "v"), got, sizeof got), value);
        assert_int_equal(reply.continues, continues);
    }
    emit_free(&e);
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

/* Of the elements and their members. */
static void check_texts(struct skim_value array, const json_t *expected)
{
    struct skim s = skim_array(array);
    struct skim_value value;
    const char *key;
    json_t *member;
    char buf[256];

    for (size_t i = 0; skim_next(&s, &value); i++) {
        json_t *element = json_array_get(expected, i);
        if (json_is_string(element))
            assert_string_equal(skim_text(value, buf, sizeof buf), json_string_value(element));
        json_object_foreach (element, key, member) {
            struct skim_value found = skim_member(value, key);
            // A key with escapes is not found, and of two that damage made the same, the first one is.
            if (json_is_string(member) && found.text != NULL && json_object_size(element) == 2)
                assert_string_equal(skim_text(found, buf, sizeof buf), json_string_value(member));
        }
    }
}

static void check_same(const char *text, size_t len, unsigned *taken, unsigned *refused)
{
    struct skim_slice slice;
    json_error_t error;
    json_t *root = json_loadb(text, len, 0, &error);
    bool is_slice = json_is_array(json_object_get(json_object_get(root, "parameters"), "jobs"));
    bool good = skim_slice(text, len, "jobs", &slice);

    if (root == NULL && beyond_jansson(&error))
        return;
    if (json_object_get(root, "error") == NULL && good != is_slice)
        fail_msg("%.*s is %s, jansson says: %s", (int)len, text, good ? "taken" : "refused", error.text);
    if (good)
        check_texts(slice.values, json_object_get(json_object_get(root, "parameters"), "jobs"));
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
        cmocka_unit_test(replies_are_read),
        cmocka_unit_test(what_is_no_reply_is_refused),
        cmocka_unit_test(escapes_are_resolved),
        cmocka_unit_test(random_texts_survive),
        cmocka_unit_test(members_are_found),
        cmocka_unit_test(integers_are_exact_or_refused),
        cmocka_unit_test(damaged_replies_are_judged_as_by_jansson),
        cmocka_unit_test(deep_nesting_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
