/*
 * skim - looks through a reply's text for the members that are needed, and builds nothing.
 *
 * For lists, which may have a million jobs: to build each would take several times as long as all the rest. All text
 * is checked to be JSON (RFC 8259) as it is passed over, so that what is printed as JSON is some. Whether a key is
 * there twice, or a number too large, is not looked at. Values point into the text.
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

/* A slice of a reply: an array in its parameters. */
struct skim_slice {
    struct skim_value values; // the array
    bool continues;
};

/*
 * Read a reply whose parameters have an array of this name, which is given in its quotes. `len` is without the NUL that
 * ends the text. False: it has no such array, is an error, or is no JSON; varlink_parse_reply() tells which.
 */
bool skim_slice(const char *text, size_t len, const char *quoted_name, struct skim_slice *out);

/* The next one of an array; false after the last. */
struct skim skim_array(struct skim_value array);
bool skim_next(struct skim *s, struct skim_value *out);

/* Find the members of an object by their keys. Those that it has not, or all if it is no object, are absent. */
void skim_members(struct skim_value object, const char *const *keys, struct skim_value *values, size_t n);

/* An integer that an int64_t holds. False, and *out untouched, if the value is none. */
bool skim_int(struct skim_value value, int64_t *out);

/* A string, without its quotes and with its escapes resolved; at most size - 1 bytes of it. NULL if it is none. */
const char *skim_text(struct skim_value value, char *buf, size_t size);

#endif
