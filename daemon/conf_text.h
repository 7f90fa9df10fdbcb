/*
 * conf_text - INI text to sections with their keys and values, not yet interpreted.
 *
 * The one place that knows inih. As Debian builds it (r55), inih cuts a line at 199 bytes and reads the rest as
 * another line, cuts a section's name at 49, stops at a NUL, ignores what follows a section header, takes an indented
 * line as more of the value above, and lets duplicates through. So each line is judged before inih gets it, and a
 * refused one reaches it as a blank line.
 *
 * Several files can be added, one after the other: their sections are merged by name. Time is linear in the text.
 */
#ifndef TWISTY_CONF_TEXT_H
#define TWISTY_CONF_TEXT_H

#include "conf_mistakes.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest line, in bytes, without its end. */
#define CONF_LINE_MAX 197

/* The longest name of a section, in bytes. */
#define CONF_SECTION_MAX 49

/* A section's keys are a bit each of a uint32_t. */
#define CONF_KEYS_MAX 32

enum conf_kind { CONF_DAEMON, CONF_DEFAULTS, CONF_ACTION, CONF_JOB, CONF_KINDS };

/* A table of known words; its entries, `stride` bytes apart, begin with their `const char *` word. */
struct conf_words {
    const void *table;
    size_t n;
    size_t stride;
};

struct conf_entry {
    struct conf_entry *next; // conf_section::first
    struct conf_place place;
    uint8_t key; // index into the words of the section's kind
    char value[];
};

struct conf_section {
    struct conf_section *next;    // conf_text::first
    struct conf_section *chained; // conf_text::buckets
    struct conf_entry *first, *last;
    struct conf_place place;  // of its first header
    struct conf_place latest; // of its last one so far
    uint32_t doubtful;        // keys that may have been meant by a refused line, a bit each
    enum conf_kind kind;
    bool repeated; // a second one in a file; not merged, for looking for mistakes only
    char name[];   // as in the brackets
};

struct conf_text {
    const struct conf_words *keys; // of each enum conf_kind
    struct conf_mistakes *mistakes;
    const atomic_bool *given_up;       // borrowed; NULL: never
    struct conf_section *first, *last; // in the order of their first headers
    struct conf_section **buckets;     // owned
    size_t n_buckets, n_sections;
    struct conf_chunk *chunks; // owned; sections and entries live there
};

/* Both pointers are borrowed; `keys` has CONF_KINDS tables of at most CONF_KEYS_MAX words. */
void conf_text_init(struct conf_text *t, const struct conf_words *keys, struct conf_mistakes *mistakes);
void conf_text_clear(struct conf_text *t);

/* Add a file's text. Mistakes are noted; the only errors are -ENOMEM, and -ECANCELED when it is given up. */
int conf_text_add(struct conf_text *t, uint32_t file, const char *text, size_t len);

/* The section of this name, as in the brackets, that counts; or NULL. */
struct conf_section *conf_text_find(const struct conf_text *t, const char *name);

/* The index of a word, or -1. */
int conf_words_find(const struct conf_words *words, const char *wanted);

const char *conf_words_at(const struct conf_words *words, size_t i);

/* The index of the word that was probably meant, or -1. */
int conf_words_nearest(const struct conf_words *words, const char *wanted);

#endif
