/*
 * skim - looks through a reply's text for the members that are needed, and builds nothing.
 *
 * A list may have a million jobs: to build each would take several times as long as all the rest. And a run of
 * twistyctl is short: to load a library that builds objects would be a part of it. All text is checked to be JSON (RFC
 * 8259) as it is passed over, so that what is printed as JSON is some. Whether a key is there twice, or a number too
 * large, is not looked at. Values point into the text.
 */
#ifndef TWISTYCTL_SKIM_H
#define TWISTYCTL_SKIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A value as it stands in the text; NULL: absent. */
struct skim_value {
    const char *text;
    size_t len;
};

/* Where in an array or object we are. */
struct skim {
    const char *at, *end;
    bool first;  // nothing of it was passed yet
    bool broken; // it is no JSON from here on
};

/* A reply. What is null counts as absent. */
struct skim_reply {
    struct skim_value error;      // a string; absent: it is a result
    struct skim_value parameters; // an object
    bool continues;
};

/* A slice of a reply: an array in its parameters. */
struct skim_slice {
    struct skim_value values; // the array
    bool continues;
};

/* Read a reply; `len` is without the NUL that ends the text. False: it is none, or no JSON. */
bool skim_reply(const char *text, size_t len, struct skim_reply *out);

/*
 * Read a reply whose parameters have an array of this name, and pass over it once. False: it has no such array, is an
 * error, or is no JSON; skim_reply() tells which.
 */
bool skim_slice(const char *text, size_t len, const char *name, struct skim_slice *out);

/* The next one of an array; false after the last. */
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
bool skim_is_word(struct skim_value value, const char *word);

/* Is it this string, which needs no escapes? */
bool skim_is_text(struct skim_value value, const char *text);

/* A string, without its quotes and with its escapes resolved; at most size - 1 bytes of it. NULL if it is none. */
const char *skim_text(struct skim_value value, char *buf, size_t size);

/* All of it, malloc'd. NULL if it is none, or there is no memory. */
char *skim_copy(struct skim_value value);

#endif
