/*
 * text - words: names, the nearest known one, lists of them, reasons, and printing what came from outside. Pure; shared
 * by the daemon and twistyctl.
 */
#ifndef TWISTY_TEXT_H
#define TWISTY_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The longest job name and action name, without the NUL. */
#define NAME_LEN_MAX 40

/* Is this a name: [A-Za-z0-9][A-Za-z0-9._-]{0,39}? */
bool name_valid(const char *text);

/* Does the pattern have a wildcard at all? */
bool is_glob(const char *pattern);

/*
 * Does the shell pattern (*, ?, [a-z], [!a-z]) fit the whole text? fnmatch(3) takes exponential time on patterns
 * made for it; this is at most the product of both lengths.
 */
bool glob_match(const char *pattern, const char *text);

/*
 * A search for the word that somebody probably meant. Offer every candidate; `best` is then the closest one, or NULL
 * when none is close enough to be worth naming. Distance: Damerau-Levenshtein with adjacent transpositions (optimal
 * string alignment), case ignored, at most a third of the longer word.
 */
struct nearest {
    const char *wanted;
    const char *best; // points to a candidate; the caller's
    unsigned distance;
};

void nearest_init(struct nearest *n, const char *wanted);
void nearest_offer(struct nearest *n, const char *candidate);

/* The nearest of `n` words laid out `stride` bytes apart, each entry beginning with its `const char *` word. */
const char *nearest_of(const char *wanted, const void *table, size_t n, size_t stride);

/* The length of the well-formed UTF-8 sequence (RFC 3629) at `text`, from 1 to 4; 0 when there is none. */
size_t utf8_length(const char *text);

/* Write a character, up to U+10FFFF, in UTF-8: at most 4 bytes, without a NUL. Returns where they end. */
char *utf8_put(char *to, uint32_t c);

/* Of JSON's strings: the bytes of ASCII that stand for themselves, and how long one byte is at most: \u001F */
extern const bool json_plain[256];
#define JSON_ESCAPE_MAX 6

/*
 * Append `text` to the NUL-terminated string in buf so that it cannot break out of a quoted logfmt value or forge a
 * line: a quote and a backslash are escaped, control bytes and bytes that are not UTF-8 become \xNN. What does not
 * fit is left out at a whole character. Returns the new length.
 */
size_t text_escape(char *buf, size_t size, size_t len, const char *text);

/* Write why something cannot be, for people, and return `error`: what a function does that ends by it. */
int text_explain(char *why, size_t size, int error, const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Texts in a row, owned. Zero-initialised is empty. */
struct text_list {
    char **items;
    size_t n;
};

/* Append a copy, or what printf makes. 0 or -ENOMEM, with the list as it was. */
int text_list_add(struct text_list *list, const char *text);
int text_list_addf(struct text_list *list, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_list_clear(struct text_list *list);

/* Is this UTF-8 without control characters? */
bool text_printable(const char *text);

#endif
