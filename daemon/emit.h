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

/* Values without a key. */
void emit_open_value(struct emit *e, char bracket);
void emit_null_value(struct emit *e);
void emit_int_value(struct emit *e, int64_t value);
void emit_bool_value(struct emit *e, bool value);
void emit_text_value(struct emit *e, const char *text);

/* An array of texts. */
void emit_texts(struct emit *e, const char *key, const char *const texts[], size_t n);

/* Make room for n more bytes. */
bool emit_grow(struct emit *e, size_t n);

/* Where a key or value of `n` bytes goes, behind a comma if one is due; NULL when there is no memory. */
static inline char *emit_next(struct emit *e, size_t n)
{
    if (__builtin_expect(e->room - e->len <= n, false) && !emit_grow(e, n + 1))
        return NULL;
    char *to = e->text + e->len;
    if (e->len == 0 || to[-1] == '{' || to[-1] == '[' || to[-1] == ':')
        return to;
    e->len++;
    *to = ',';
    return to + 1;
}

/* A key that needs no escapes; NULL: none. Inline, for most are literals, whose length the compiler knows. */
static inline void emit_key(struct emit *e, const char *key)
{
    size_t len = key != NULL ? strlen(key) : 0;
    char *to = key != NULL ? emit_next(e, len + 3) : NULL;

    if (to == NULL)
        return;
    *to++ = '"';
    to = mempcpy(to, key, len);
    *to++ = '"';
    *to = ':';
    e->len += len + 3;
}

/* '{' or '[', and what ends it. */
static inline void emit_open(struct emit *e, const char *key, char bracket)
{
    emit_key(e, key);
    emit_open_value(e, bracket);
}

static inline void emit_close(struct emit *e, char bracket)
{
    emit_bytes(e, &bracket, 1);
}

static inline void emit_null(struct emit *e, const char *key)
{
    emit_key(e, key);
    emit_null_value(e);
}

static inline void emit_int(struct emit *e, const char *key, int64_t value)
{
    emit_key(e, key);
    emit_int_value(e, value);
}

static inline void emit_bool(struct emit *e, const char *key, bool value)
{
    emit_key(e, key);
    emit_bool_value(e, value);
}

/* NULL gives null. In place of a byte that is not UTF-8 stands U+FFFD. */
static inline void emit_text(struct emit *e, const char *key, const char *text)
{
    emit_key(e, key);
    if (text == NULL)
        emit_null_value(e);
    else
        emit_text_value(e, text);
}

#endif
