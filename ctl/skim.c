#include "skim.h"

#include "daemon/text.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>

/* As deep as varlink.c lets messages nest. */
#define DEPTH_MAX 32

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* The functions below return where their part of the text ends, or NULL if it is not what it should be. */

static const char *skip_escape(const char *p, const char *end)
{
    if (end - p < 2 || strchr("\"\\/bfnrtu", p[1]) == NULL || p[1] == '\0')
        return NULL;
    if (p[1] != 'u')
        return p + 2;
    if (end - p < 6 || !is_hex(p[2]) || !is_hex(p[3]) || !is_hex(p[4]) || !is_hex(p[5]))
        return NULL;
    return p + 6;
}

static const char *skip_string(const char *p, const char *end)
{
    if (p == end || *p++ != '"')
        return NULL;
    while (p != NULL && p < end && *p != '"') {
        unsigned char c = (unsigned char)*p;
        size_t len = c < 0x80 ? 1 : utf8_length(p);
        if (c < 0x20 || len == 0)
            return NULL;
        p = c == '\\' ? skip_escape(p, end) : p + len;
    }
    return p != NULL && p < end ? p + 1 : NULL;
}

static const char *skip_digits(const char *p, const char *end)
{
    const char *first = p;

    while (p < end && is_digit(*p))
        p++;
    return p > first ? p : NULL;
}

static const char *skip_number(const char *p, const char *end)
{
    p += p < end && *p == '-';
    const char *first = p;
    p = skip_digits(p, end);
    if (p == NULL || (*first == '0' && p > first + 1))
        return NULL;
    if (p < end && *p == '.')
        p = skip_digits(p + 1, end);
    if (p != NULL && p < end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < end && (*p == '-' || *p == '+');
        p = skip_digits(p, end);
    }
    return p;
}

static const char *skip_word(const char *p, const char *end, const char *word)
{
    size_t len = strlen(word);

    return (size_t)(end - p) >= len && memcmp(p, word, len) == 0 ? p + len : NULL;
}

static const char *skip_value(const char *p, const char *end, unsigned depth);

/* A key and its colon. */
static const char *skip_key(const char *p, const char *end)
{
    p = skip_string(p, end);
    if (p == NULL)
        return NULL;
    p = skip_space(p, end);
    return p < end && *p == ':' ? skip_space(p + 1, end) : NULL;
}

/* From '{' or '[' to the bracket behind it. */
static const char *skip_nested(const char *p, const char *end, unsigned depth)
{
    const char bracket = *p == '{' ? '}' : ']';

    if (depth > DEPTH_MAX)
        return NULL;
    p = skip_space(p + 1, end);
    if (p < end && *p == bracket)
        return p + 1;
    for (;;) {
        p = bracket == '}' ? skip_key(p, end) : p;
        p = p != NULL ? skip_value(p, end, depth) : NULL;
        p = p != NULL ? skip_space(p, end) : NULL;
        if (p == NULL || p == end || (*p != ',' && *p != bracket))
            return NULL;
        if (*p++ == bracket)
            return p;
        p = skip_space(p, end);
    }
}

static const char *skip_value(const char *p, const char *end, unsigned depth)
{
    switch (p < end ? *p : '\0') {
    case '"':
        return skip_string(p, end);
    case '{':
    case '[':
        return skip_nested(p, end, depth + 1);
    case 't':
        return skip_word(p, end, "true");
    case 'f':
        return skip_word(p, end, "false");
    case 'n':
        return skip_word(p, end, "null");
    default:
        return skip_number(p, end);
    }
}

static bool is_word(struct skim_value value, const char *word)
{
    return value.text != NULL && value.len == strlen(word) && memcmp(value.text, word, value.len) == 0;
}

static void fail(struct skim *s)
{
    s->broken = true;
}

/* Into an object or array, if one begins here. */
static bool enter(struct skim *s, char bracket)
{
    s->at = skip_space(s->at, s->end);
    if (s->at == s->end || *s->at != bracket)
        return false;
    s->at++;
    s->first = true;
    return true;
}

/* To the next value or key of what ends with that bracket; false at the end, and behind it, or if this is no JSON. */
static bool advance(struct skim *s, char bracket)
{
    bool first = s->first;

    s->at = skip_space(s->at, s->end);
    s->first = false;
    if (s->broken || s->at == s->end || (*s->at != bracket && !first && *s->at != ',')) {
        fail(s);
        return false;
    }
    if (*s->at == bracket) {
        s->at++;
        return false;
    }
    if (!first)
        s->at = skip_space(s->at + 1, s->end);
    return true;
}

static struct skim_value take(struct skim *s, const char *(*skip)(const char *p, const char *end))
{
    const char *begin = s->at, *end = skip(begin, s->end);

    if (end == NULL) {
        fail(s);
        return (struct skim_value){0};
    }
    s->at = end;
    return (struct skim_value){begin, (size_t)(end - begin)};
}

static const char *skip_any(const char *p, const char *end)
{
    return skip_value(p, end, 0);
}

static struct skim_value take_value(struct skim *s)
{
    return take(s, skip_any);
}

/* The next key of an object, with its quotes, and its colon. False at the end. */
static bool next_key(struct skim *s, struct skim_value *key)
{
    if (!advance(s, '}'))
        return false;
    *key = take(s, skip_string);
    s->at = skip_space(s->at, s->end);
    if (s->broken || s->at == s->end || *s->at != ':') {
        fail(s);
        return false;
    }
    s->at = skip_space(s->at + 1, s->end);
    return true;
}

struct skim skim_array(struct skim_value array)
{
    struct skim s = {.at = array.text, .end = array.text + array.len};

    s.broken = !enter(&s, '[');
    return s;
}

bool skim_next(struct skim *s, struct skim_value *out)
{
    if (!advance(s, ']'))
        return false;
    *out = take_value(s);
    return !s->broken;
}

/* Which key is this? The daemon has them in one order, so that the search goes on behind the last one. */
static size_t find_key(struct skim_value key, const char *const *keys, size_t n, size_t from)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = from + i < n ? from + i : from + i - n;
        if (strlen(keys[at]) == key.len - 2 && memcmp(keys[at], key.text + 1, key.len - 2) == 0)
            return at;
    }
    return n;
}

void skim_members(struct skim_value object, const char *const *keys, struct skim_value *values, size_t n)
{
    struct skim s = {.at = object.text, .end = object.text + object.len};
    struct skim_value key;
    size_t next = 0;

    memset(values, 0, n * sizeof *values);
    if (!enter(&s, '{'))
        return;
    while (next_key(&s, &key)) {
        struct skim_value value = take_value(&s);
        size_t at = find_key(key, keys, n, next);
        if (at < n) {
            values[at] = value;
            next = at + 1;
        }
    }
}

/* In the parameters. */
static void read_parameters(struct skim *s, const char *quoted_name, struct skim_slice *out)
{
    struct skim_value key;

    if (!enter(s, '{'))
        fail(s);
    while (next_key(s, &key)) {
        struct skim_value value = take_value(s);
        if (is_word(key, quoted_name) && !s->broken && value.text[0] == '[')
            out->values = value;
    }
}

bool skim_slice(const char *text, size_t len, const char *quoted_name, struct skim_slice *out)
{
    struct skim s = {.at = text, .end = text + len};
    struct skim_value key;

    *out = (struct skim_slice){0};
    if (!enter(&s, '{'))
        return false;
    while (next_key(&s, &key)) {
        if (is_word(key, "\"parameters\"")) {
            read_parameters(&s, quoted_name, out);
            continue;
        }
        struct skim_value value = take_value(&s);
        if (is_word(key, "\"continues\""))
            out->continues = is_word(value, "true");
        else if (is_word(key, "\"error\"") && !is_word(value, "null"))
            fail(&s);
    }
    return !s.broken && skip_space(s.at, s.end) == s.end && out->values.text != NULL;
}

bool skim_int(struct skim_value value, int64_t *out)
{
    int64_t n = 0;

    if (value.text == NULL)
        return false;
    const char *p = value.text, *end = p + value.len;
    bool negative = *p == '-';
    if (skip_number(p, end) != end)
        return false;
    // Downwards: there is one more number below zero.
    for (p += negative; p < end; p++)
        if (!is_digit(*p) || __builtin_mul_overflow(n, 10, &n) || __builtin_sub_overflow(n, *p - '0', &n))
            return false;
    if (!negative && n == INT64_MIN)
        return false;
    *out = negative ? n : -n;
    return true;
}

/* One with escapes: rare, and left to jansson. */
static const char *resolve(struct skim_value value, char *buf, size_t size)
{
    json_t *string = json_loadb(value.text, value.len, JSON_DECODE_ANY, NULL);
    const char *text = json_string_value(string);

    if (text != NULL)
        snprintf(buf, size, "%s", text);
    json_decref(string);
    return text != NULL ? buf : NULL;
}

const char *skim_text(struct skim_value value, char *buf, size_t size)
{
    if (value.text == NULL || value.text[0] != '"')
        return NULL;
    if (memchr(value.text, '\\', value.len) != NULL)
        return resolve(value, buf, size);
    size_t len = MIN(value.len - 2, size - 1);
    memcpy(buf, value.text + 1, len);
    buf[len] = '\0';
    return buf;
}
