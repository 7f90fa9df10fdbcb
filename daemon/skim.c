#include "skim.h"

#include "text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/* A call nests four deep; what nests deeper than this was made to hurt. */
#define DEPTH_MAX 32

/* The longest text that skim_is_text() is asked for, and a NUL. */
#define TEXT_ROOM 64

/* The halves of a surrogate pair. */
#define HIGH_FIRST 0xd800
#define LOW_FIRST  0xdc00
#define LOW_LAST   0xdfff

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Of the \uXXXX that begins at p. */
static uint32_t read_hex(const char *p)
{
    uint32_t n = 0;

    for (int i = 2; i < 6; i++)
        n = n << 4 | (uint32_t)(is_digit(p[i]) ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    return n;
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* The functions below return where their part of the text ends, or NULL if it is not what it should be. */

/* The \uXXXX of a character, which may take two, or the second of two (low): RFC 8259, section 7. */
static const char *skip_unicode(const char *p, const char *end, bool low)
{
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u' || !is_hex(p[2]) || !is_hex(p[3]) || !is_hex(p[4]) || !is_hex(p[5]))
        return NULL;
    uint32_t c = read_hex(p);
    if (low || (c >= LOW_FIRST && c <= LOW_LAST))
        return low && c >= LOW_FIRST && c <= LOW_LAST ? p + 6 : NULL;
    if (c >= HIGH_FIRST && c < LOW_FIRST)
        return skip_unicode(p + 6, end, true);
    return c != 0 ? p + 6 : NULL;
}

static const char *skip_escape(const char *p, const char *end)
{
    if (end - p < 2 || p[1] == '\0' || strchr("\"\\/bfnrtu", p[1]) == NULL)
        return NULL;
    return p[1] == 'u' ? skip_unicode(p, end, false) : p + 2;
}

/* `end` may also be that of a value that was passed over before: then its quotes are in it, and the loop ends there. */
static const char *skip_string(const char *p, const char *end)
{
    if (p == end || *p++ != '"')
        return NULL;
    for (;;) {
        while (json_plain[(unsigned char)*p]) // the NUL behind the text is not
            p++;
        if (p >= end || *p == '"')
            return p < end ? p + 1 : NULL;
        size_t len = (unsigned char)*p < 0x80 ? 0 : utf8_length(p);
        const char *next = *p == '\\' ? skip_escape(p, end) : p + len;
        if (next == NULL || next == p)
            return NULL;
        p = next;
    }
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

static void resolve(struct skim_value string, char *buf, size_t size);

bool skim_equals(struct skim_value value, const char *text, size_t len)
{
    char resolved[TEXT_ROOM];

    if (!skim_is(value, '"') || value.len < len + 2)
        return false;
    if (value.len == len + 2)
        return memcmp(value.text + 1, text, len) == 0;
    // Longer, it can only be the same if some of its characters are escaped.
    if (value.len > len * JSON_ESCAPE_MAX + 2 || memchr(value.text, '\\', value.len) == NULL)
        return false;
    resolve(value, resolved, sizeof resolved);
    return strcmp(resolved, text) == 0;
}

static void fail(struct skim *s)
{
    s->broken = true;
}

struct skim skim_begin(const char *text, size_t len)
{
    return (struct skim){.at = text, .end = text + len};
}

bool skim_ended(const struct skim *s)
{
    return !s->broken && skip_space(s->at, s->end) == s->end;
}

bool skim_enter(struct skim *s, char bracket)
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

struct skim_value skim_take(struct skim *s)
{
    return take(s, skip_any);
}

bool skim_next_key(struct skim *s, struct skim_value *key)
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
    struct skim s = skim_begin(array.text, array.len);

    s.broken = !skim_enter(&s, '[');
    return s;
}

bool skim_more(struct skim *s)
{
    return advance(s, ']');
}

bool skim_next(struct skim *s, struct skim_value *out)
{
    if (!skim_more(s))
        return false;
    *out = skim_take(s);
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
    struct skim s = skim_begin(object.text, object.len);
    struct skim_value key;
    size_t next = 0;

    memset(values, 0, n * sizeof *values);
    if (!skim_enter(&s, '{'))
        return;
    while (skim_next_key(&s, &key)) {
        struct skim_value value = skim_take(&s);
        size_t at = find_key(key, keys, n, next);
        if (at < n) {
            values[at] = value;
            next = at + 1;
        }
    }
}

struct skim_value skim_member(struct skim_value object, const char *key)
{
    struct skim s = skim_begin(object.text, object.len);
    struct skim_value found;

    if (!skim_enter(&s, '{'))
        return (struct skim_value){0};
    while (skim_next_key(&s, &found)) {
        struct skim_value value = skim_take(&s);
        if (skim_is_text(found, key))
            return value;
    }
    return (struct skim_value){0};
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

/* The character of a \u escape, of two where two make one; steps over them. */
static uint32_t take_unicode(const char **p)
{
    uint32_t c = read_hex(*p);

    *p += 6;
    if (c >= HIGH_FIRST && c < LOW_FIRST) {
        c = 0x10000 + ((c - HIGH_FIRST) << 10) + (read_hex(*p) - LOW_FIRST);
        *p += 6;
    }
    return c;
}

/* The bytes of the escape at *p, of which there are at most 4; steps over it. */
static char *resolve_escape(char *to, const char **p)
{
    static const char pairs[] = "b\bf\fn\nr\rt\t";
    char c = (*p)[1];

    if (c == 'u')
        return utf8_put(to, take_unicode(p));
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
            size_t n = (size_t)(resolve_escape(escape, &p) - escape);
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
