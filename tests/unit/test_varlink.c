/* Messages: what is a call, what is refused and why, how replies are written, and that no bytes do harm. */
#include "daemon/varlink.h"
#include "tests/unit/random.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static void calls_are_read(void **state)
{
    static const struct {
        const char *text;
        unsigned flags;
        bool has_parameters;
    } rows[] = {
        {"{\"method\":\"a.b.C\"}", 0, false},
        {" {\"method\" : \"a.b.C\", \"parameters\" : {} }\n", 0, true},
        {"{\"method\":\"a.b.C\",\"parameters\":null,\"more\":null}", 0, false},
        {"{\"method\":\"a.b.C\",\"more\":true,\"oneway\":false}", VARLINK_MORE, false},
        {"{\"method\":\"a.b.C\",\"oneway\":true}", VARLINK_ONEWAY, false},
        {"{\"upgrade\":true,\"method\":\"a.b.C\"}", VARLINK_UPGRADE, false},
        {"{\"method\":\"a.b.C\",\"later\":[1,{}]}", 0, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct varlink_call call;
        const char *why = "";

        if (varlink_parse_call(rows[i].text, strlen(rows[i].text), &call, &why) < 0)
            fail_msg("%s: %s", rows[i].text, why);
        assert_string_equal(call.method, "a.b.C");
        assert_int_equal(call.flags, rows[i].flags);
        assert_int_equal(call.parameters != NULL, rows[i].has_parameters);
        varlink_call_clear(&call);
        assert_null(call.root);
    }
}

#define NOT_JSON "it is not JSON"

static void what_is_no_call_is_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", NOT_JSON},
        {"{", NOT_JSON},
        {"{\"method\":\"a.b.C\"", NOT_JSON},
        {"{\"method\":\"a.b.C\"}{}", NOT_JSON},
        {"{\"method\":\"a.b.C\"} x", NOT_JSON},
        {"{\"method\":\"\xff\"}", NOT_JSON},
        {"{\"method\":\"\\u0000\"}", NOT_JSON},
        {"{\"method\":\"\\ud800\"}", NOT_JSON},
        {"{\"method\":\"a\nb\"}", NOT_JSON},
        {"{\"method\":\"a.b.C\",\"parameters\":{\"n\":1e999}}", NOT_JSON},
        {"{\"method\":\"a.b.C\",\"parameters\":{\"n\":99999999999999999999}}", NOT_JSON},
        {"{\"method\":\"a.b.C\",\"parameters\":{\"n\":NaN}}", NOT_JSON},
        {"GET / HTTP/1.1\r\n\r\n", NOT_JSON},
        {"[]", "it is not a JSON object"},
        {"[{\"method\":\"a.b.C\"}]", "it is not a JSON object"},
        {"{}", "it has no method"},
        {"{\"method\":null}", "it has no method"},
        {"{\"method\":1}", "it has no method"},
        {"{\"method\":\"a.b.C\",\"method\":\"a.b.D\"}", "a member is given twice"},
        {"{\"method\":\"a.b.C\",\"parameters\":{\"a\":1,\"a\":2}}", "a member is given twice"},
        {"{\"method\":\"a.b.C\",\"parameters\":[]}", "its parameters are not an object"},
        {"{\"method\":\"a.b.C\",\"parameters\":\"\"}", "its parameters are not an object"},
        {"{\"method\":\"a.b.C\",\"more\":1}", "more, oneway and upgrade are true or false"},
        {"{\"method\":\"a.b.C\",\"oneway\":\"true\"}", "more, oneway and upgrade are true or false"},
        {"{\"method\":\"a.b.C\",\"upgrade\":{}}", "more, oneway and upgrade are true or false"},
        {"{\"method\":\"a.b.C\",\"more\":true,\"oneway\":true}", "more, oneway and upgrade exclude each other"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct varlink_call call = {.method = "untouched"};
        const char *why = "";

        int r = varlink_parse_call(rows[i].text, strlen(rows[i].text), &call, &why);
        if (r != -EINVAL || strcmp(why, rows[i].why) != 0)
            fail_msg("%s: got %d '%s', expected '%s'", rows[i].text, r, why, rows[i].why);
        assert_string_equal(call.method, "untouched");
    }
}

/* A method and as many nested arrays (or, with the bracket in a text, none). */
static int parse_nested(size_t depth, char bracket, const char **why)
{
    static const char head[] = "{\"method\":\"a.b.C\",\"parameters\":{\"a\":";
    char text[8192];
    struct varlink_call call;
    size_t len = sizeof head - 1;

    memcpy(text, head, len);
    memset(text + len, bracket, depth);
    len += depth;
    memset(text + len, bracket == '[' ? ']' : bracket, depth);
    len += depth;
    text[len++] = '}';
    text[len++] = '}';
    int r = varlink_parse_call(text, len, &call, why);
    if (r == 0)
        varlink_call_clear(&call);
    return r;
}

static void deep_nesting_is_refused(void **state)
{
    const char *why = "";
    static const char harmless[] = "{\"method\":\"a.b.C\",\"x\":\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}";
    struct varlink_call call;

    (void)state;
    assert_int_equal(parse_nested(30, '[', &why), 0);
    assert_int_equal(parse_nested(31, '[', &why), -EINVAL);
    assert_string_equal(why, "it is nested too deep");
    assert_int_equal(parse_nested(4000, '[', &why), -EINVAL);
    assert_string_equal(why, "it is nested too deep");
    assert_int_equal(varlink_parse_call(harmless, sizeof harmless - 1, &call, &why), 0);
    varlink_call_clear(&call);
}

/* A call must not cost much more than its text. */
static void too_many_values_are_refused(void **state)
{
    static const char head[] = "{\"parameters\":{\"x\":[", tail[] = "0]},\"method\":\"a.b.C\"}";
    const size_t values = 150000, len = sizeof head - 1 + 2 * values + sizeof tail - 1;
    char *text = malloc(len), *p = text;
    struct varlink_call call;
    const char *why = "";

    (void)state;
    assert_non_null(text);
    p = mempcpy(p, head, sizeof head - 1);
    for (size_t i = 0; i < values; i++)
        p = mempcpy(p, "0,", 2);
    memcpy(p, tail, sizeof tail - 1);
    assert_int_equal(varlink_parse_call(text, len, &call, &why), -EINVAL);
    assert_string_equal(why, "it has too many values");
    free(text);
}

static void check_text(char *text, size_t len, const char *expected)
{
    assert_non_null(text);
    assert_string_equal(text, expected);
    assert_int_equal(len, strlen(expected) + 1);
    free(text);
}

static void replies_are_written(void **state)
{
    struct emit e = {0};

    (void)state;
    varlink_begin_reply(&e);
    emit_text(&e, "a", "b\n\"\xc3\xa9");
    varlink_end(&e, false);
    check_text(e.text, e.len, "{\"parameters\":{\"a\":\"b\\n\\\"\xc3\xa9\"}}");
    e = (struct emit){0};
    varlink_begin_reply(&e);
    varlink_end(&e, true);
    check_text(e.text, e.len, "{\"parameters\":{},\"continues\":true}");
    e = (struct emit){0};
    varlink_begin_error(&e, "a.b.No");
    emit_null(&e, "x");
    varlink_end(&e, false);
    check_text(e.text, e.len, "{\"error\":\"a.b.No\",\"parameters\":{\"x\":null}}");
}

/* Damaged messages are read or refused; the sanitizers see to the rest. */
static void random_damage_does_no_harm(void **state)
{
    static const char sound[] = "{\"method\":\"io.twisty.Control.Add\",\"parameters\":{\"jobs\":[{\"kind\":\"once\","
                                "\"count\":-1.5e3,\"message\":\"\\u00e9\\\"\\\\\"}],\"replace\":false},\"more\":true}";
    struct random r = random_start(0x64616d61);
    size_t read = 0, refused = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[sizeof sound];
        size_t len = sizeof sound - 1 - (random_once_in(&r, 4) ? random_below(&r, 40) : 0);
        struct varlink_call call;
        const char *why = NULL;

        memcpy(text, sound, sizeof sound);
        for (uint64_t hits = random_below(&r, 4); hits > 0; hits--)
            text[random_below(&r, len)] = (char)random_below(&r, 256);
        if (varlink_parse_call(text, len, &call, &why) == 0) {
            assert_non_null(call.method);
            varlink_call_clear(&call);
            read++;
        } else {
            assert_non_null(why);
            refused++;
        }
    }
    assert_true(read > 1000);
    assert_true(refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_read),          cmocka_unit_test(what_is_no_call_is_refused),
        cmocka_unit_test(deep_nesting_is_refused), cmocka_unit_test(too_many_values_are_refused),
        cmocka_unit_test(replies_are_written),     cmocka_unit_test(random_damage_does_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
