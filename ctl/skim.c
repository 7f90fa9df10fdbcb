#include "skim.h"

#include "daemon/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/* As deep as varlink.c lets messages nest. */
#define DEPTH_MAX 32

/* What stands for a character that there is not, or that no text can have. */
#define REPLACEMENT 0xfffd

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

bool skim_is(struct skim_value value, char begin)
{
    return value.text != NULL && value.text[0] == begin;
}

bool skim_is_word(struct skim_value value, const char *word)
{
    return value.text != NULL && value.len == strlen(word) && memcmp(value.text, word, value.len) == 0;
}

bool skim_is_text(struct skim_value value, const char *text)
{
    return skim_is(value, '"') && value.len == strlen(text) + 2 && memcmp(value.text + 1, text, value.len - 2) == 0;
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
        if (skim_is_text(key, keys[at]))
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

struct skim_value skim_member(struct skim_value object, const char *key)
{
    struct skim s = {.at = object.text, .end = object.text + object.len};
    struct skim_value found;

    if (!enter(&s, '{'))
        return (struct skim_value){0};
    while (next_key(&s, &found)) {
        struct skim_value value = take_value(&s);
        if (skim_is_text(found, key))
            return value;
    }
    return (struct skim_value){0};
}

/* A member of a reply, which is one of these or null. */
static struct skim_value take_member(struct skim *s, const char *begins)
{
    struct skim_value value = take_value(s);

    if (skim_is_word(value, "null"))
        return (struct skim_value){0};
    if (value.text != NULL && strchr(begins, value.text[0]) == NULL)
        fail(s);
    return value;
}

bool skim_reply(const char *text, size_t len, struct skim_reply *out)
{
    struct skim s = {.at = text, .end = text + len};
    struct skim_value key;

    *out = (struct skim_reply){0};
    if (!enter(&s, '{'))
        return false;
    while (next_key(&s, &key)) {
        if (skim_is_text(key, "error"))
            out->error = take_member(&s, "\"");
        else if (skim_is_text(key, "parameters"))
            out->parameters = take_member(&s, "{");
        else if (skim_is_text(key, "continues"))
            out->continues = skim_is_word(take_member(&s, "tf"), "true");
        else
            take_value(&s);
    }
    return !s.broken && skip_space(s.at, s.end) == s.end;
}

/* In the parameters. */
static void read_parameters(struct skim *s, const char *name, struct skim_slice *out)
{
    struct skim_value key;

    if (!enter(s, '{'))
        fail(s);
    while (next_key(s, &key)) {
        struct skim_value value = take_value(s);
        if (skim_is_text(key, name) && skim_is(value, '['))
            out->values = value;
    }
}

bool skim_slice(const char *text, size_t len, const char *name, struct skim_slice *out)
{
    struct skim s = {.at = text, .end = text + len};
    struct skim_value key;

    *out = (struct skim_slice){0};
    if (!enter(&s, '{'))
        return false;
    while (next_key(&s, &key)) {
        if (skim_is_text(key, "parameters")) {
            read_parameters(&s, name, out);
            continue;
        }
        struct skim_value value = take_value(&s);
        if (skim_is_text(key, "continues"))
            out->continues = skim_is_word(value, "true");
        else if (skim_is_text(key, "error") && !skim_is_word(value, "null"))
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

static uint32_t read_hex(const char *p)
{
    uint32_t n = 0;

    for (int i = 0; i < 4; i++)
        n = n << 4 | (uint32_t)(is_digit(p[i]) ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return n;
}

/* The character of a \u escape, of two where two make one; steps over them. */
static uint32_t take_unicode(const char **p, const char *end)
{
    uint32_t c = read_hex(*p + 2);

    *p += 6;
    if (c >= 0xd800 && c < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u') {
        uint32_t low = read_hex(*p + 2);
        if (low >= 0xdc00 && low < 0xe000) {
            *p += 6;
            return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    return c == 0 || (c >= 0xd800 && c < 0xe000) ? REPLACEMENT : c;
}

/* The bytes of the escape at *p, of which there are at most 4; steps over it. */
static char *resolve_escape(char *to, const char **p, const char *end)
{
    static const char pairs[] = "b\bf\fn\nr\rt\t";
    char c = (*p)[1];

    if (c == 'u')
        return utf8_put(to, take_unicode(p, end));
    *p += 2;
    for (size_t i = 0; i < sizeof pairs - 1; i += 2)
        if (c == pairs[i])
            c = pairs[i + 1];
    *to++ = c;
    return to;
}

/* What stands between the quotes, cut to size - 1 bytes. */
static void resolve(struct skim_value string, char *buf, size_t size)
{
    const char *p = string.text + 1, *end = string.text + string.len - 1;
    char *to = buf, *last = buf + size - 1, escape[4];

    while (p < end && to < last) {
        const char *backslash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((backslash != NULL ? backslash : end) - p);
        to = mempcpy(to, p, MIN(plain, (size_t)(last - to)));
        p += plain;
        if (p < end) {
            size_t n = (size_t)(resolve_escape(escape, &p, end) - escape);
            to = mempcpy(to, escape, MIN(n, (size_t)(last - to)));
        }
    }
    *to = '\0';
}

const char *skim_text(struct skim_value value, char *buf, size_t size)
{
    if (!skim_is(value, '"'))
        return NULL;
    resolve(value, buf, size);
    return buf;
}

char *skim_copy(struct skim_value value)
{
    char *text = skim_is(value, '"') ? malloc(value.len) : NULL; // an escape is longer than what it stands for

    if (text != NULL)
        resolve(value, text, value.len);
    return text;
}
