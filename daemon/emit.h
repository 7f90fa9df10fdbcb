/*
 * emit - JSON as text, written straight into a buffer that grows. Pure.
 *
 * Everything that the daemon says on the control socket goes out this way: a list may have a million jobs, and to
 * build an object for each would take most of the time. The commas come by themselves. Brackets in pairs, and a key for
 * each value of an object and for none of an array, are up to the caller. When there is no memory the buffer notes
 * it, what is emitted from then on is lost, and whoever sends it looks at `failed` once.
 */
#ifndef TWISTY_EMIT_H
#define TWISTY_EMIT_H

#include "text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Zero-initialised is empty. */
struct emit {
    char *text; // owned; `len` bytes, without a NUL
    size_t len, room;
    bool failed;
};

void emit_free(struct emit *e);

/* Empty it, and keep its memory for more. */
void emit_reset(struct emit *e);

/* Bytes as they are. */
void emit_bytes(struct emit *e, const void *bytes, size_t n);

/* An array of texts. */
void emit_texts(struct emit *e, const char *key, const char *const texts[], size_t n);

/* Make room for n more bytes. */
bool emit_grow(struct emit *e, size_t n);

/* Of INT64_MIN, with its sign and a NUL. */
#define EMIT_INT_MAX 21

/* Write a number or a text, for which there is room; return where it ends. */
char *emit_digits(char *to, int64_t value);
char *emit_quoted(char *to, const char *text);

/*
 * Is there room for a comma, this key (NULL: none) and a value of at most n bytes? False when there is no memory. This
 * and the next are inline, for most keys are literals, whose length the compiler knows.
 */
static inline bool emit_has_room(struct emit *e, const char *key, size_t n)
{
    const size_t len = (key != NULL ? strlen(key) : 0) + n + 4;

    return __builtin_expect(e->room - e->len >= len, true) || emit_grow(e, len);
}

/* Put a comma, if one is due, and the key, which needs no escapes. Returns where the value goes. */
static inline char *emit_begin(struct emit *e, const char *key)
{
    char *to = e->text + e->len;

    if (e->len > 0 && to[-1] != '{' && to[-1] != '[')
        *to++ = ',';
    if (key != NULL) {
        *to++ = '"';
        to = mempcpy(to, key, strlen(key));
        *to++ = '"';
        *to++ = ':';
    }
    return to;
}

/* The value that was begun ends here. */
static inline void emit_end(struct emit *e, const char *to)
{
    e->len = (size_t)(to - e->text);
}

static inline void emit_word(struct emit *e, const char *key, const char *word, size_t n)
{
    if (emit_has_room(e, key, n))
        emit_end(e, mempcpy(emit_begin(e, key), word, n));
}

/* '{' or '[', and what ends it. */
static inline void emit_open(struct emit *e, const char *key, char bracket)
{
    emit_word(e, key, &bracket, 1);
}

static inline void emit_close(struct emit *e, char bracket)
{
    emit_bytes(e, &bracket, 1);
}

static inline void emit_null(struct emit *e, const char *key)
{
    emit_word(e, key, "null", 4);
}

static inline void emit_bool(struct emit *e, const char *key, bool value)
{
    if (value)
        emit_word(e, key, "true", 4);
    else
        emit_word(e, key, "false", 5);
}

static inline void emit_int(struct emit *e, const char *key, int64_t value)
{
    if (!emit_has_room(e, key, EMIT_INT_MAX))
        return;
    char *to = emit_begin(e, key);
    if (value >= 0 && value < 10) // as most are
        *to++ = (char)('0' + value);
    else
        to = emit_digits(to, value);
    emit_end(e, to);
}

/* NULL gives null. In place of a byte that is not UTF-8 stands U+FFFD. */
__attribute__((always_inline)) static inline void emit_text(struct emit *e, const char *key, const char *text)
{
    if (text == NULL)
        emit_null(e, key);
    else if (emit_has_room(e, key, strlen(text) * JSON_ESCAPE_MAX + 2))
        emit_end(e, emit_quoted(emit_begin(e, key), text));
}

#endif
