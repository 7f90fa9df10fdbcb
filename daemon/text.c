#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longer words are not compared: they are no slip of the finger. */
#define WORD_MAX 64

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool name_valid(const char *text)
{
    size_t len = strlen(text);

    if (len == 0 || len > NAME_LEN_MAX || !is_alnum(text[0]))
        return false;
    for (size_t i = 1; i < len; i++)
        if (!is_alnum(text[i]) && text[i] != '.' && text[i] != '_' && text[i] != '-')
            return false;
    return true;
}

/* Does the set behind the "[" at *p hold c? Moves *p behind the "]"; an unclosed set holds nothing. */
static bool set_holds(const char **p, char c)
{
    const char *s = *p + 1;
    bool negated = *s == '!' || *s == '^';
    bool found = false;

    s += negated;
    for (const char *first = s; *s != '\0' && (*s != ']' || s == first); s++) {
        char low = *s;
        char high = low;
        if (s[1] == '-' && s[2] != '\0' && s[2] != ']') {
            high = s[2];
            s += 2;
        }
        found |= low <= c && c <= high;
    }
    if (*s == '\0') {
        *p = s;
        return false;
    }
    *p = s + 1;
    return found != negated;
}

bool is_glob(const char *pattern)
{
    return strpbrk(pattern, "*?[") != NULL;
}

/* On a mismatch only the last star can give way, which keeps the work within the product of both lengths. */
bool glob_match(const char *pattern, const char *text)
{
    const char *star = NULL, *star_text = NULL;

    while (*text != '\0') {
        const char *next = pattern + 1;
        bool matched;
        if (*pattern == '*') {
            star = pattern++;
            star_text = text;
            continue;
        }
        if (*pattern == '[') {
            next = pattern;
            matched = set_holds(&next, *text);
        } else {
            matched = *pattern == *text || *pattern == '?';
        }
        if (*pattern != '\0' && matched) {
            pattern = next;
            text++;
        } else if (star != NULL) {
            pattern = star + 1;
            text = ++star_text;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

/* Optimal string alignment: insert, delete, replace, or swap two neighbours; three rows of the matrix suffice. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][WORD_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];

    for (unsigned j = 0; j <= b_len; j++)
        above[j] = j;
    for (unsigned i = 1; i <= a_len; i++) {
        row[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);
            row[j] = min3(above[j] + 1, row[j - 1] + 1, above[j - 1] + (ca != cb));
            if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) && cb == tolower((unsigned char)a[i - 2]) &&
                before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        unsigned *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[b_len];
}

void nearest_init(struct nearest *n, const char *wanted)
{
    *n = (struct nearest){.wanted = wanted};
}

void nearest_offer(struct nearest *n, const char *candidate)
{
    size_t a = strlen(n->wanted), b = strlen(candidate);
    size_t longer = a > b ? a : b;
    size_t limit = longer < 3 ? 1 : (longer + 2) / 3;

    if (a == 0 || longer > WORD_MAX || longer - (a < b ? a : b) > limit)
        return;
    unsigned d = distance(n->wanted, a, candidate, b);
    if (d > limit || d >= longer || (n->best != NULL && d >= n->distance))
        return;
    n->best = candidate;
    n->distance = d;
}

const char *nearest_of(const char *wanted, const void *table, size_t n, size_t stride)
{
    struct nearest nearest;

    nearest_init(&nearest, wanted);
    for (size_t i = 0; i < n; i++)
        nearest_offer(&nearest, *(const char *const *)((const char *)table + i * stride));
    return nearest.best;
}

size_t utf8_length(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    // Of the first bytes that are left, four allow only a part of what can follow.
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return len;
}

char *utf8_put(char *to, uint32_t c)
{
    static const unsigned char first[] = {0, 0xc0, 0xe0, 0xf0};
    unsigned more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;

    *to++ = (char)(first[more] | c >> 6 * more);
    while (more-- > 0)
        *to++ = (char)(0x80 | (c >> 6 * more & 0x3f));
    return to;
}

const bool json_plain[256] = {[' ' ... '!'] = true, ['#' ... '['] = true, [']' ... 0x7f] = true};

/*
 * The length of the UTF-8 sequence at s; 0 if it is not well-formed, a control character (C0, DEL, C1, line and
 * paragraph separator) or one that reorders the text around it (bidirectional embeddings, overrides and isolates).
 */
static size_t printable_len(const unsigned char *s)
{
    if (s[0] < 0x80)
        return s[0] >= 0x20 && s[0] != 0x7f;
    size_t len = utf8_length((const char *)s);
    if (len == 2)
        return s[0] == 0xc2 && s[1] < 0xa0 ? 0 : 2;
    if (len == 3 && s[0] == 0xe2 && s[1] == 0x80)
        return s[2] >= 0xa8 && s[2] <= 0xae ? 0 : 3;
    if (len == 3 && s[0] == 0xe2 && s[1] == 0x81)
        return s[2] >= 0xa6 && s[2] <= 0xa9 ? 0 : 3;
    return len;
}

bool text_printable(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    while (*s != '\0') {
        size_t len = *s >= ' ' && *s <= '~' ? 1 : printable_len(s);
        if (len == 0)
            return false;
        s += len;
    }
    return true;
}

size_t text_escape(char *buf, size_t size, size_t len, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    while (*s != '\0') {
        char piece[5];
        size_t taken = printable_len(s);
        size_t n = taken;
        if (taken == 0) {
            n = (size_t)snprintf(piece, sizeof piece, "\\x%02x", *s);
            taken = 1;
        } else if (*s == '"' || *s == '\\') {
            piece[0] = '\\';
            piece[1] = (char)*s;
            n = 2;
        } else {
            memcpy(piece, s, taken);
        }
        if (len + n + 1 > size)
            break;
        memcpy(buf + len, piece, n);
        len += n;
        s += taken;
    }
    if (size > 0)
        buf[len] = '\0';
    return len;
}

/* Takes over the text, also when there is no room for it. The row doubles when its length is a power of two. */
static int take_text(struct text_list *list, char *text)
{
    if (text == NULL)
        return -ENOMEM;
    if ((list->n & (list->n - 1)) == 0) {
        char **items = reallocarray(list->items, list->n == 0 ? 1 : list->n * 2, sizeof(char *));
        if (items == NULL) {
            free(text);
            return -ENOMEM;
        }
        list->items = items;
    }
    list->items[list->n++] = text;
    return 0;
}

int text_explain(char *why, size_t size, int error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(why, size, format, args);
    va_end(args);
    return error;
}

int text_list_add(struct text_list *list, const char *text)
{
    return take_text(list, strdup(text));
}

int text_list_addf(struct text_list *list, const char *format, ...)
{
    va_list args;
    char *text;

    va_start(args, format);
    int n = vasprintf(&text, format, args);
    va_end(args);
    return take_text(list, n < 0 ? NULL : text);
}

void text_list_clear(struct text_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct text_list){0};
}
