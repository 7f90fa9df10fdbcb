/*
 * skim - reads JSON (RFC 8259) where it stands, and builds nothing. Pure; shared by the daemon and twistyctl.
 *
 * A call may come from anybody, and a list may have a million jobs: whatever is in a text, reading it takes no memory
 * and time in proportion to its length. Text is checked to be JSON as it is passed over, and strings to be such that a
 * C string can hold them (no U+0000, no half of a surrogate pair). Whether a key is there twice is for who wants its
 * value, and a number has no size until somebody asks for it. Values point into the text, behind which stands a NUL.
 */
#ifndef TWISTY_SKIM_H
#define TWISTY_SKIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A value as it stands in the text; NULL: absent. */
struct skim_value {
    const char *text;
    size_t len;
};

/* Where in a text, an array or an object we are. */
struct skim {
    const char *at, *end;
    bool first;  // nothing of the array or object was passed yet
    bool broken; // it is no JSON from here on
};

/* At the beginning of a text of `len` bytes, its NUL not among them. */
struct skim skim_begin(const char *text, size_t len);

/* Into the object ('{') or array ('[') that begins here; false if none does. */
bool skim_enter(struct skim *s, char bracket);

/* The next key of the object; its value is to be taken before the next. False after the last, and if it is broken. */
bool skim_next_key(struct skim *s, struct skim_value *key);

/* The value that begins here; absent if there is none, and then it is broken. */
struct skim_value skim_take(struct skim *s);

/* Was all of it JSON, and nothing but space is left? */
bool skim_ended(const struct skim *s);

/* To the next value of the array; it is to be taken, or entered and left, before the next. False after the last. */
bool skim_more(struct skim *s);

/* The values of an array, one after the other; false after the last. Of what is no array there are none. */
struct skim skim_array(struct skim_value array);
bool skim_next(struct skim *s, struct skim_value *out);

/* Find the members of an object by their keys. Those that it has not, or all if it is no object, are absent. */
void skim_members(struct skim_value object, const char *const *keys, struct skim_value *values, size_t n);

/* The member of an object with this key; absent if it has none, or is no object. */
struct skim_value skim_member(struct skim_value object, const char *key);

/* An integer that an int64_t holds. False, and *out untouched, if the value is none. */
bool skim_int(struct skim_value value, int64_t *out);

/* Is it an object ('{'), an array ('[') or a string ('"')? */
bool skim_is(struct skim_value value, char begin);

/* Is it this word of JSON: true, false or null? */
static inline bool skim_is_word(struct skim_value value, const char *word)
{
    return value.text != NULL && value.len == strlen(word) && memcmp(value.text, word, value.len) == 0;
}

static inline bool skim_is_bool(struct skim_value value)
{
    return skim_is_word(value, "true") || skim_is_word(value, "false");
}

/* Is it this string of `len` bytes? Callers take skim_is_text(). */
bool skim_equals(struct skim_value value, const char *text, size_t len);

/*
 * Is it this string, however it is written? For texts of ASCII that need no escapes, and have 1 to 60 bytes. Inline,
 * for most that are not it differ in their first character, and most texts are literals, whose length the compiler
 * knows.
 */
static inline bool skim_is_text(struct skim_value value, const char *text)
{
    return value.text != NULL && (value.text[1] == text[0] || value.text[1] == '\\') &&
           skim_equals(value, text, strlen(text));
}

/* A string, without its quotes and with its escapes resolved; at most size - 1 bytes of it. NULL if it is none. */
const char *skim_text(struct skim_value value, char *buf, size_t size);

/* All of it, malloc'd. NULL if it is none, or there is no memory. */
char *skim_copy(struct skim_value value);

#endif
