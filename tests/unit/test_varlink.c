/* Messages: what is a call or a reply and what is refused, how replies are written, and that no bytes do harm. */
#include "daemon/varlink.h"
#include "tests/unit/random.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static int parse_call(const char *text, struct varlink_call *call)
{
    return varlink_parse_call(text, strlen(text), call);
}

static void calls_are_read(void **state)
{
    static const struct {
        const char *text;
        unsigned flags;
        size_t n; // parameters
    } rows[] = {
        {"{\"method\":\"a.b.C\"}", 0, 0},
        {" {\"method\" : \"a.b.C\", \"parameters\" : {} }\n", 0, 0},
        {"{\"parameters\":{\"x\":1,\"y\":null},\"method\":\"a.b.C\"}", 0, 2},
        {"{\"method\":\"a.b.C\",\"parameters\":null,\"more\":null}", 0, 0},
        {"{\"method\":\"a.b.C\",\"more\":true,\"oneway\":false}", VARLINK_MORE, 0},
        {"{\"method\":\"a.b.C\",\"oneway\":true}", VARLINK_ONEWAY, 0},
        {"{\"upgrade\":true,\"method\":\"a.b.C\"}", VARLINK_UPGRADE, 0},
        {"{\"method\":\"a.b.C\",\"later\":[1,{}]}", 0, 0},
        {"{\"\\u006dethod\":\"a.b\\u002eC\",\"mor\\u0065\":true}", VARLINK_MORE, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct varlink_call call;

        if (parse_call(rows[i].text, &call) < 0)
            fail_msg("%s is refused", rows[i].text);
        assert_true(skim_is_text(call.method, "a.b.C"));
        assert_int_equal(call.flags, rows[i].flags);
        assert_int_equal(call.n, rows[i].n);
    }
}

/* Of more than fit, as many as fit are there. */
static void parameters_are_found_in_their_order(void **state)
{
    static const char text[] =
        "{\"method\":\"m\",\"parameters\":{\"a\":0,\"b\":[1],\"c\":{\"a\":2},\"d\":\"3\",\"e\":4,"
        "\"f\":5,\"g\":6,\"h\":7,\"i\":8,\"a\":9},\"more\":true}";
    static const char *const values[] = {"0", "[1]", "{\"a\":2}", "\"3\"", "4", "5", "6", "7"};
    struct varlink_call call;

    (void)state;
    assert_int_equal(parse_call(text, &call), 0);
    assert_int_equal(call.flags, VARLINK_MORE);
    assert_int_equal(call.n, VARLINK_PARAMETERS_MAX);
    for (size_t i = 0; i < call.n; i++) {
        assert_true(skim_is_text(call.parameters[i].key, (char[]){(char)('a' + i), '\0'}));
        assert_int_equal(call.parameters[i].value.len, strlen(values[i]));
        assert_memory_equal(call.parameters[i].value.text, values[i], strlen(values[i]));
    }
}

static void what_is_no_call_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "{\"method\":\"a.b.C\"",
        "{\"method\":\"a.b.C\"}{}",
        "{\"method\":\"a.b.C\"} x",
        "{\"method\":\"\xff\"}",
        "{\"method\":\"\\u0000\"}",
        "{\"method\":\"\\ud800\"}",
        "{\"method\":\"a\nb\"}",
        "{\"method\":\"a.b.C\",\"parameters\":{\"n\":NaN}}",
        "{\"method\":\"a.b.C\",\"parameters\":{\"n\":1]}",
        "{\"method\":\"a.b.C\",\"parameters\":{\"n\"}}",
        "GET / HTTP/1.1\r\n\r\n",
        "[]",
        "[{\"method\":\"a.b.C\"}]",
        "{}",
        "{\"method\":null}",
        "{\"method\":1}",
        "{\"method\":\"a.b.C\",\"method\":\"a.b.D\"}",
        "{\"method\":\"a.b.C\",\"\\u006dethod\":\"a.b.D\"}",
        "{\"method\":\"a.b.C\",\"parameters\":{},\"parameters\":{}}",
        "{\"method\":\"a.b.C\",\"more\":null,\"more\":true}",
        "{\"method\":\"a.b.C\",\"parameters\":[]}",
        "{\"method\":\"a.b.C\",\"parameters\":\"\"}",
        "{\"method\":\"a.b.C\",\"more\":1}",
        "{\"method\":\"a.b.C\",\"oneway\":\"true\"}",
        "{\"method\":\"a.b.C\",\"upgrade\":{}}",
        "{\"method\":\"a.b.C\",\"more\":true,\"oneway\":true}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        struct varlink_call call = {.flags = 77};

        if (parse_call(texts[i], &call) != -EINVAL)
            fail_msg("%s is taken", texts[i]);
        assert_int_equal(call.flags, 77);
    }
}

/* A method and as many nested arrays (or, with the bracket in a text, none). */
static int parse_nested(size_t depth, char bracket)
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
    memcpy(text + len, "}}", 3);
    return varlink_parse_call(text, len + 2, &call);
}

static void deep_nesting_is_refused(void **state)
{
    static const char harmless[] = "{\"method\":\"a.b.C\",\"x\":\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}";
    struct varlink_call call;

    (void)state;
    assert_int_equal(parse_nested(32, '['), 0);
    assert_int_equal(parse_nested(33, '['), -EINVAL);
    assert_int_equal(parse_nested(4000, '['), -EINVAL);
    assert_int_equal(parse_call(harmless, &call), 0);
}

static int parse_slice(const char *text, struct varlink_slice *out)
{
    return varlink_parse_slice(text, strlen(text), "jobs", out);
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
        struct varlink_slice slice;
        if (parse_slice(rows[i].text, &slice) < 0)
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
        struct varlink_slice slice;
        if (parse_slice(texts[i], &slice) == 0)
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
        struct varlink_reply reply;
        if (varlink_parse_reply(rows[i].text, strlen(rows[i].text), &reply) < 0)
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
        struct varlink_reply reply;
        if (varlink_parse_reply(texts[i], strlen(texts[i]), &reply) == 0)
            fail_msg("%s is taken", texts[i]);
    }
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
        struct varlink_reply reply;

        for (size_t i = 0; i < n; i++)
            value[i] = (char)random_between(&r, 1, 127);
        value[n] = '\0';
        emit_reset(&e);
        varlink_begin_reply(&e);
        emit_text(&e, "v", value);
        varlink_end(&e, continues);
        assert_ptr_equal(memchr(e.text, '\0', e.len), e.text + e.len - 1);
        if (varlink_parse_reply(e.text, e.len - 1, &reply) < 0)
            fail_msg("%s is refused", e.text);
        assert_string_equal(skim_text(skim_member(reply.parameters, "v"), got, sizeof got), value);
        assert_int_equal(reply.continues, continues);
    }
    emit_free(&e);
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

/* What jansson makes of a message, read as the interface says; NULL: it is no call. */
static json_t *call_by_jansson(const char *text, size_t len, json_error_t *error)
{
    static const char *const flags[] = {"more", "oneway", "upgrade"};
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, error);
    const json_t *parameters = json_object_get(root, "parameters");
    bool good = json_is_string(json_object_get(root, "method")) &&
                (parameters == NULL || json_is_null(parameters) || json_is_object(parameters));
    unsigned set = 0;

    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        const json_t *flag = json_object_get(root, flags[i]);
        good &= flag == NULL || json_is_null(flag) || json_is_boolean(flag);
        set += json_is_true(flag);
    }
    if (good && set <= 1)
        return root;
    json_decref(root);
    return NULL;
}

static bool json_judges_otherwise(const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);

    return code == json_error_numeric_overflow || code == json_error_duplicate_key;
}

static void damaged_calls_are_judged_as_by_jansson(void **state)
{
    static const char sound[] = "{\"method\":\"io.twisty.Control.Add\",\"parameters\":{\"jobs\":[{\"kind\":\"once\","
                                "\"count\":-1.5e3,\"message\":\"\\u00e9\\\"\\\\\"}],\"replace\":false},\"more\":true}";
    struct random r = random_start(0x64616d61);
    size_t read = 0, refused = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[sizeof sound];
        size_t len = sizeof sound - 1 - (random_once_in(&r, 4) ? random_below(&r, 40) : 0);
        struct varlink_call call = {0};
        json_error_t error = {0};

        memcpy(text, sound, sizeof sound);
        for (uint64_t hits = random_below(&r, 4); hits > 0; hits--)
            text[random_below(&r, len)] = (char)random_below(&r, 256);
        text[len] = '\0';
        int result = varlink_parse_call(text, len, &call);
        json_t *expected = call_by_jansson(text, len, &error);
        if ((result == 0) != (expected != NULL) && !json_judges_otherwise(&error))
            fail_msg("%.*s gives %d; jansson says: %s", (int)len, text, result, error.text);
        if (expected != NULL && result == 0) {
            assert_true(skim_is_text(call.method, json_string_value(json_object_get(expected, "method"))));
            assert_int_equal(call.n, json_object_size(json_object_get(expected, "parameters")));
        }
        read += result == 0;
        refused += result < 0;
        json_decref(expected);
    }
    assert_true(read > 1000);
    assert_true(refused > 1000);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_read),
        cmocka_unit_test(parameters_are_found_in_their_order),
        cmocka_unit_test(what_is_no_call_is_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(slices_are_read),
        cmocka_unit_test(what_is_no_slice_is_refused),
        cmocka_unit_test(replies_are_read),
        cmocka_unit_test(what_is_no_reply_is_refused),
        cmocka_unit_test(replies_are_written),
        cmocka_unit_test(random_texts_survive),
        cmocka_unit_test(damaged_calls_are_judged_as_by_jansson),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
