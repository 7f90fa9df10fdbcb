/* Names, globs, similar words and escaping, each against a plain second opinion. */
#include "daemon/text.h"
#include "tests/unit/random.h"

#include <ctype.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FORTY "0123456789012345678901234567890123456789"

static void names_are_plain_words(void **state)
{
    static const char *const good[] = {"a", "7", "tea", "Tea-2", "a.b_c-d", "countdown-7", "9lives", FORTY};
    static const char *const bad[] = {"",   " ",   ".a",     "-a",  "_a",      "a b",  "a/b",
                                      "a*", "a\n", "\u00e4", "a\"", FORTY "0", "a[b]", "a=b\t"};
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        if (!name_valid(good[i]))
            fail_msg("'%s' is no name", good[i]);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (name_valid(bad[i]))
            fail_msg("'%s' is a name", bad[i]);
}

static void every_byte_of_a_name_is_checked(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        const char first[] = {(char)c, '\0'}, second[] = {'a', (char)c, '\0'};
        bool alnum = c < 128 && isalnum(c);
        assert_int_equal(name_valid(first), alnum);
        assert_int_equal(name_valid(second), alnum || strchr("._-", c) != NULL);
    }
}

static void globs_are_told_from_names(void **state)
{
    (void)state;
    assert_true(is_glob("*") && is_glob("a?") && is_glob("[ab]"));
    assert_false(is_glob("") || is_glob("tea-2") || is_glob("a]"));
}

static void globs_fit_the_whole_text(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool fits;
    } rows[] = {
        {"", "", true},        {"", "a", false},       {"*", "", true},       {"a", "", false},
        {"tea", "tea", true},  {"tea", "teas", false}, {"tea*", "tea", true}, {"*-2", "tea-2-2", true},
        {"t?a", "tea", true},  {"[!a]", "a", false},   {"[^a]", "b", true},   {"[]a]", "]", true},
        {"[!]a]", "]", false}, {"[a-c]x", "bx", true}, {"[a-]", "-", true},   {"[c-a]", "b", false},
        {"[ab", "a", false}, // never closed: fits nothing
        {"*[", "a[", false},   {"TEA", "tea", false},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (glob_match(rows[i].pattern, rows[i].text) != rows[i].fits)
            fail_msg("'%s' on '%s' should be %d", rows[i].pattern, rows[i].text, rows[i].fits);
}

static void globs_agree_with_fnmatch(void **state)
{
    static const char *const pieces[] = {"a", "b", "-", "]", "*", "**", "?", "[ab]", "[!a]", "[a-b]", "[]a]", "[!-b]"};
    struct random r = random_start(1);
    (void)state;

    for (int i = 0; i < 300000; i++) {
        char pattern[64] = "", text[16] = "";
        size_t len = 0;
        for (uint64_t n = random_below(&r, 7); n > 0; n--)
            len += (size_t)snprintf(pattern + len, sizeof pattern - len, "%s",
                                    pieces[random_below(&r, ARRAY_SIZE(pieces))]);
        for (size_t n = random_below(&r, 9), at = 0; at < n; at++)
            text[at] = "aabb-]c"[random_below(&r, 7)];
        if (glob_match(pattern, text) != (fnmatch(pattern, text, FNM_NOESCAPE) == 0))
            fail_msg("'%s' on '%s'", pattern, text);
    }
}

/* A matcher that tries every place for every star would not come back from this. */
static void globs_made_to_hurt_do_not(void **state)
{
    char pattern[4001], text[4001];
    (void)state;

    for (size_t i = 0; i < 4000; i += 2)
        memcpy(pattern + i, "a*", 2);
    memcpy(pattern + 3998, "*b", 3);
    memset(text, 'a', 4000);
    text[4000] = '\0';
    assert_false(glob_match(pattern, text));
    text[3999] = 'b';
    assert_true(glob_match(pattern, text));
}

/* Optimal string alignment by its recursive definition. */
static unsigned slow_distance(const char *a, size_t n, const char *b, size_t m)
{
    if (n == 0 || m == 0)
        return (unsigned)(n + m);
    bool same = tolower((unsigned char)a[n - 1]) == tolower((unsigned char)b[m - 1]);
    unsigned best = slow_distance(a, n - 1, b, m - 1) + !same;
    unsigned other = slow_distance(a, n - 1, b, m) + 1;
    best = other < best ? other : best;
    other = slow_distance(a, n, b, m - 1) + 1;
    best = other < best ? other : best;
    if (n > 1 && m > 1 && tolower((unsigned char)a[n - 1]) == tolower((unsigned char)b[m - 2]) &&
        tolower((unsigned char)a[n - 2]) == tolower((unsigned char)b[m - 1])) {
        other = slow_distance(a, n - 2, b, m - 2) + 1;
        best = other < best ? other : best;
    }
    return best;
}

static void the_nearest_word_is_the_nearest(void **state)
{
    struct random r = random_start(2);
    (void)state;

    for (int i = 0; i < 3000; i++) {
        char words[5][7] = {{0}}; // the first one is wanted
        for (size_t w = 0; w < 5; w++)
            for (size_t len = 1 + random_below(&r, 6), at = 0; at < len; at++)
                words[w][at] = "abBc"[random_below(&r, 4)];
        struct nearest nearest;
        nearest_init(&nearest, words[0]);
        const char *best = NULL;
        unsigned best_distance = 0;
        for (size_t w = 1; w < 5; w++) {
            size_t a = strlen(words[0]), b = strlen(words[w]), longer = a > b ? a : b;
            unsigned d = slow_distance(words[0], a, words[w], b);
            nearest_offer(&nearest, words[w]);
            // a third of the longer word, rounded up; of one letter nothing is left to know it by
            if (d <= (longer + 2) / 3 && d < longer && (best == NULL || d < best_distance)) {
                best = words[w];
                best_distance = d;
            }
        }
        if (nearest.best != best || (best != NULL && nearest.distance != best_distance))
            fail_msg("near '%s': '%s' instead of '%s'", words[0], nearest.best != NULL ? nearest.best : "-",
                     best != NULL ? best : "-");
    }
}

static void slips_of_the_finger_are_understood(void **state)
{
    static const struct {
        const char *word;
        int data;
    } table[] = {{"countdown", 1}, {"loop", 2}, {"once", 3}};
    (void)state;

    assert_string_equal(nearest_of("cuontdown", table, 3, sizeof table[0]), "countdown");
    assert_string_equal(nearest_of("LOOP", table, 3, sizeof table[0]), "loop");
    assert_string_equal(nearest_of("onec", table, 3, sizeof table[0]), "once");
    assert_null(nearest_of("interval", table, 3, sizeof table[0]));
    assert_null(nearest_of("", table, 3, sizeof table[0]));
}

/* Words longer than the working space are left alone. */
static void long_words_are_not_compared(void **state)
{
    char word[200];
    struct nearest nearest;
    (void)state;

    for (size_t len = 60; len < sizeof word; len++) {
        memset(word, 'a', len);
        word[len] = '\0';
        nearest_init(&nearest, word);
        nearest_offer(&nearest, word + 1);
        assert_int_equal(nearest.best != NULL, len <= 64);
    }
}

static size_t encode_utf8(char *out, uint32_t c, size_t len)
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

    if (len == 1) {
        out[0] = (char)c;
    } else {
        for (size_t i = len - 1; i > 0; i--, c >>= 6)
            out[i] = (char)(0x80 | (c & 0x3f));
        out[0] = (char)(lead[len] | c);
    }
    out[len] = '\0';
    return len;
}

static size_t utf8_len(uint32_t c)
{
    return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

static void every_character_is_written_as_utf8(void **state)
{
    char text[5], written[5];
    (void)state;

    for (uint32_t c = 1; c <= 0x10ffff; c++) {
        encode_utf8(text, c, utf8_len(c));
        *utf8_put(written, c) = '\0';
        assert_string_equal(written, text);
    }
}

static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static void every_character_is_printable_or_not(void **state)
{
    char text[5], shown[32];
    (void)state;

    for (uint32_t c = 1; c < 0x200000; c++) {
        size_t len = encode_utf8(text, c, utf8_len(c));
        bool good = c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff) && !is_control(c);
        if (text_printable(text) != good)
            fail_msg("U+%04X is taken for %s", c, good ? "unprintable" : "printable");
        size_t n = text_escape(shown, sizeof shown, 0, text);
        assert_int_equal(n, strlen(shown));
        if (good && c != '"' && c != '\\')
            assert_string_equal(shown, text);
        else
            assert_int_equal(n, good ? 2 : 4 * len);
    }
}

static void longer_than_needed_is_not_utf8(void **state)
{
    char text[5];
    (void)state;

    for (size_t len = 2; len <= 4; len++)
        for (uint32_t c = 1; c < (len == 2 ? 0x80U : len == 3 ? 0x800U : 0x10000U); c++) {
            encode_utf8(text, c, len);
            if (text_printable(text))
                fail_msg("U+%04X in %zu bytes is taken", c, len);
        }
}

static void escaped_text_reads_as_meant(void **state)
{
    static const struct {
        const char *text, *shown;
    } rows[] = {
        {"", ""},
        {"brew the tea", "brew the tea"},
        {"say \"no\"", "say \\\"no\\\""},
        {"a\\b", "a\\\\b"},
        {"two\nlines\r", "two\\x0alines\\x0d"},
        {"\x1b[31m", "\\x1b[31m"},
        {"gr\u00fc\u00df", "gr\u00fc\u00df"},
        {"\xff\xfe", "\\xff\\xfe"},
        {"\xc3", "\\xc3"},
        {"\xe2\x82", "\\xe2\\x82"},
        {"\xc3(", "\\xc3("},
        {"\xe2\x80\xa8", "\\xe2\\x80\\xa8"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
        {"\x7f", "\\x7f"},
    };
    char shown[64];
    (void)state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        memcpy(shown, "x=", 3);
        assert_int_equal(text_escape(shown, sizeof shown, 2, rows[i].text), strlen(rows[i].shown) + 2);
        assert_memory_equal(shown, "x=", 2);
        assert_string_equal(shown + 2, rows[i].shown);
    }
}

/* Whatever goes in: what comes out is printable, has no bare quote, ends in time and was cut between characters. */
static void escaping_any_bytes_is_safe(void **state)
{
    struct random r = random_start(3);
    (void)state;

    for (int i = 0; i < 100000; i++) {
        char text[24], whole[128], cut[128];
        size_t len = random_below(&r, sizeof text), size = 1 + random_below(&r, 100);
        for (size_t at = 0; at < len; at++)
            text[at] = random_once_in(&r, 2) ? "\"\\a\n\xc3\xa4\xe2\x82\xac"[random_below(&r, 9)]
                                             : (char)random_below(&r, 256);
        text[len] = '\0';
        text_escape(whole, sizeof whole, 0, text);
        memset(cut, '#', sizeof cut);
        size_t n = text_escape(cut, size, 0, text);
        assert_true(n < size && cut[n] == '\0' && strlen(cut) == n);
        assert_true(cut[size] == '#');
        assert_memory_equal(cut, whole, n);
        assert_true(text_printable(cut));
        assert_true(strlen(whole) == n || n + 4 >= size);
        for (size_t at = 0; at < n; at++) {
            assert_true(cut[at] != '"');
            if (cut[at] == '\\')
                at += cut[at + 1] == 'x' ? 3 : 1;
            assert_true(at < n);
        }
    }
}

static void texts_in_a_row(void **state)
{
    struct text_list list = {0};
    char expected[16];
    (void)state;

    for (int i = 0; i < 100; i++)
        assert_int_equal(i % 2 == 0 ? text_list_add(&list, "even") : text_list_addf(&list, "odd %d", i), 0);
    assert_int_equal(list.n, 100);
    for (int i = 0; i < 100; i++) {
        snprintf(expected, sizeof expected, "odd %d", i);
        assert_string_equal(list.items[i], i % 2 == 0 ? "even" : expected);
    }
    text_list_clear(&list);
    assert_int_equal(list.n, 0);
    text_list_clear(&list); // and it is good for another row
    assert_int_equal(text_list_add(&list, "again"), 0);
    text_list_clear(&list);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_in_a_row),
        cmocka_unit_test(names_are_plain_words),
        cmocka_unit_test(every_byte_of_a_name_is_checked),
        cmocka_unit_test(globs_are_told_from_names),
        cmocka_unit_test(globs_fit_the_whole_text),
        cmocka_unit_test(globs_agree_with_fnmatch),
        cmocka_unit_test(globs_made_to_hurt_do_not),
        cmocka_unit_test(the_nearest_word_is_the_nearest),
        cmocka_unit_test(slips_of_the_finger_are_understood),
        cmocka_unit_test(long_words_are_not_compared),
        cmocka_unit_test(every_character_is_written_as_utf8),
        cmocka_unit_test(every_character_is_printable_or_not),
        cmocka_unit_test(longer_than_needed_is_not_utf8),
        cmocka_unit_test(escaped_text_reads_as_meant),
        cmocka_unit_test(escaping_any_bytes_is_safe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
