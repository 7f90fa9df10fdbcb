/* JSON as text: what jansson makes of the same values, and what it reads back. */
#include "daemon/emit.h"
#include "tests/unit/random.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_MAX 64

/* The character that begins at `text`: as many bytes as jansson takes for one, or 0. */
static size_t character_length(const char *text)
{
    for (size_t n = 1; n <= 4 && text[n - 1] != '\0'; n++) {
        json_t *value = json_stringn(text, n);
        bool good = value != NULL;
        json_decref(value);
        if (good)
            return n;
    }
    return 0;
}

/* The text with U+FFFD for each byte that is not of a character. */
static json_t *oracle_text(const char *text)
{
    char mended[3 * TEXT_MAX + 1], *to = mended;

    while (*text != '\0') {
        size_t n = character_length(text);
        to = n > 0 ? mempcpy(to, text, n) : mempcpy(to, "\xef\xbf\xbd", 3);
        text += n > 0 ? n : 1;
    }
    *to = '\0';
    return json_string(mended);
}

/* Bytes of every kind; those that make up characters of several bytes often stand together. */
static void random_text(struct random *r, char *text)
{
    static const char *const pieces[] = {"\xc3\xa9",
                                         "\xe2\x82\xac",
                                         "\xf0\x9f\x8d\xb5",
                                         "\xed\xa0\x80",
                                         "\xc0\x80",
                                         "\xf4\x8f",
                                         "\xf4\x90\x80\x80",
                                         "\xe0\x9f\xbf",
                                         "\x7f",
                                         "\"",
                                         "\\",
                                         "\n"};
    size_t len = 0, wanted = random_below(r, TEXT_MAX - 4);

    while (len < wanted) {
        const char *piece = pieces[random_below(r, sizeof pieces / sizeof pieces[0])];
        if (random_once_in(r, 3))
            len += (size_t)(stpcpy(text + len, piece) - (text + len));
        else
            text[len++] = (char)random_between(r, 1, random_once_in(r, 4) ? 255 : 127);
    }
    text[len] = '\0';
}

static int64_t random_int(struct random *r)
{
    static const int64_t edges[] = {0, 1, -1, 9, 10, 99, 100, INT64_MAX, INT64_MIN, INT64_MIN + 1};

    if (random_once_in(r, 4))
        return edges[random_below(r, sizeof edges / sizeof edges[0])];
    return random_once_in(r, 2) ? random_magnitude(r, INT64_MAX) : -random_magnitude(r, INT64_MAX);
}

static json_t *emit_random(struct random *r, struct emit *e, const char *key, unsigned depth);

static json_t *emit_random_members(struct random *r, struct emit *e, bool object, unsigned depth)
{
    json_t *value = object ? json_object() : json_array();

    for (uint64_t n = random_below(r, 5); n > 0; n--) {
        char key[8];
        snprintf(key, sizeof key, "k%d", (int)n);
        json_t *member = emit_random(r, e, object ? key : NULL, depth + 1);
        int failed = object ? json_object_set_new(value, key, member) : json_array_append_new(value, member);
        assert_int_equal(failed, 0);
    }
    return value;
}

/* Emit a value, and return what it is. */
static json_t *emit_random(struct random *r, struct emit *e, const char *key, unsigned depth)
{
    char text[TEXT_MAX];
    json_t *value;
    int64_t n = random_int(r);
    bool object = random_once_in(r, 2);

    switch (random_below(r, depth < 4 ? 6 : 4)) {
    case 0:
        emit_null(e, key);
        return json_null();
    case 1:
        emit_bool(e, key, object);
        return json_boolean(object);
    case 2:
        emit_int(e, key, n);
        return json_integer(n);
    case 3:
        random_text(r, text);
        emit_text(e, key, text);
        return oracle_text(text);
    default:
        emit_open(e, key, object ? '{' : '[');
        value = emit_random_members(r, e, object, depth);
        emit_close(e, object ? '}' : ']');
        return value;
    }
}

static void it_writes_what_jansson_writes(void **state)
{
    struct random r = random_start(0x656d6974);
    struct emit e = {0};

    (void)state;
    for (int round = 0; round < 20000; round++) {
        emit_reset(&e);
        json_t *value = emit_random(&r, &e, NULL, 0);
        char *expected = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        assert_non_null(expected);
        assert_false(e.failed);
        if (e.len != strlen(expected) || memcmp(e.text, expected, e.len) != 0)
            fail_msg("round %d:\n%.*s, but jansson writes\n%s", round, (int)e.len, e.text, expected);
        json_t *read = json_loadb(e.text, e.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        assert_true(json_equal(read, value));
        json_decref(read);
        json_decref(value);
        free(expected);
    }
    emit_free(&e);
}

/* Alone and between others: each byte, and each that follows a first byte of UTF-8. */
static void every_byte_is_escaped_as_jansson_does(void **state)
{
    struct emit e = {0};

    (void)state;
    for (unsigned first = 1; first < 256; first++)
        for (unsigned second = 1; second < 256; second++) {
            const char text[] = {'a', (char)first, (char)second, '\0'};
            json_t *value = oracle_text(text);
            char *expected = json_dumps(value, JSON_ENCODE_ANY);
            emit_reset(&e);
            emit_text(&e, NULL, text);
            if (e.len != strlen(expected) || memcmp(e.text, expected, e.len) != 0)
                fail_msg("%02x %02x: %.*s, but jansson writes %s", first, second, (int)e.len, e.text, expected);
            json_decref(value);
            free(expected);
        }
    emit_free(&e);
}

static void texts_of_any_length_fit(void **state)
{
    struct emit e = {0};

    (void)state;
    for (size_t len = 0; len < 10000; len += 97) {
        char *text = calloc(1, len + 1);
        assert_non_null(text);
        memset(text, 1, len);
        emit_text(&e, NULL, text); // behind those before: commas, though no array was opened
        free(text);
        assert_false(e.failed);
        assert_int_equal(e.text[e.len - 1], '"');
        if (len > 0)
            assert_memory_equal(e.text + e.len - 7, "\\u0001\"", 7);
    }
    emit_free(&e);
    assert_null(e.text);
    emit_free(&e);
}

static void texts_in_an_array(void **state)
{
    static const char *const texts[] = {"a", "b\n"};
    static const char expected[] = "{\"none\":[],\"one\":[\"a\"],\"two\":[\"a\",\"b\\n\"]}";
    struct emit e = {0};

    (void)state;
    emit_open(&e, NULL, '{');
    emit_texts(&e, "none", NULL, 0);
    emit_texts(&e, "one", texts, 1);
    emit_texts(&e, "two", texts, 2);
    emit_close(&e, '}');
    assert_int_equal(e.len, sizeof expected - 1);
    assert_memory_equal(e.text, expected, e.len);
    emit_free(&e);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_writes_what_jansson_writes),
        cmocka_unit_test(every_byte_is_escaped_as_jansson_does),
        cmocka_unit_test(texts_of_any_length_fit),
        cmocka_unit_test(texts_in_an_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
