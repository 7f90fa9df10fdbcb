#include "emit.h"

#include "line.h"
#include "text.h"

#include <stdlib.h>
#include <sys/param.h>

#define ROOM_FIRST 1024

/* The longest that becomes of one byte: \u001F */
#define ESCAPE_MAX 6

/* Of INT64_MIN, with its sign and a NUL. */
#define INT_TEXT_MAX 21

void emit_free(struct emit *e)
{
    free(e->text);
    *e = (struct emit){0};
}

void emit_reset(struct emit *e)
{
    e->len = 0;
    e->failed = false;
}

bool emit_grow(struct emit *e, size_t n)
{
    size_t room = MAX(MAX(e->room * 2, e->len + n), ROOM_FIRST);
    char *text = e->failed ? NULL : reallocarray(e->text, room, 1);

    if (text == NULL) {
        e->failed = true;
        e->room = e->len; // so that whoever wants more comes here
        return false;
    }
    e->text = text;
    e->room = room;
    return true;
}

static void put(struct emit *e, char *to, const void *bytes, size_t n)
{
    if (to == NULL)
        return;
    memcpy(to, bytes, n);
    e->len += n;
}

void emit_bytes(struct emit *e, const void *bytes, size_t n)
{
    if (e->room - e->len >= n || emit_grow(e, n))
        put(e, e->text + e->len, bytes, n);
}

void emit_open_value(struct emit *e, char bracket)
{
    put(e, emit_next(e, 1), &bracket, 1);
}

void emit_null_value(struct emit *e)
{
    put(e, emit_next(e, 4), "null", 4);
}

void emit_bool_value(struct emit *e, bool value)
{
    if (value)
        put(e, emit_next(e, 4), "true", 4);
    else
        put(e, emit_next(e, 5), "false", 5);
}

void emit_int_value(struct emit *e, int64_t value)
{
    char *to = emit_next(e, INT_TEXT_MAX);

    if (to == NULL)
        return;
    struct line line = line_begin(to, INT_TEXT_MAX);
    if (value < 0)
        line_bytes(&line, "-", 1);
    line_number(&line, value < 0 ? -(uint64_t)value : (uint64_t)value);
    e->len += line.len;
}

/* A character that cannot stand for itself: RFC 8259, section 7. */
static char *put_escape(char *to, char c)
{
    static const char pairs[] = "\"\"\\\\\bb\ff\nn\rr\tt", hex[] = "0123456789ABCDEF";

    *to++ = '\\';
    for (size_t i = 0; i < sizeof pairs - 1; i += 2)
        if (c == pairs[i]) {
            *to++ = pairs[i + 1];
            return to;
        }
    to = mempcpy(to, "u00", 3);
    *to++ = hex[c >> 4];
    *to++ = hex[c & 0xf];
    return to;
}

void emit_text_value(struct emit *e, const char *text)
{
    static const bool plain[256] = {[' ' ... '!'] = true, ['#' ... '['] = true, [']' ... 0x7f] = true};
    char *begin = emit_next(e, strlen(text) * ESCAPE_MAX + 2), *to = begin;

    if (to == NULL)
        return;
    *to++ = '"';
    for (;;) {
        while (plain[(unsigned char)*text])
            *to++ = *text++;
        if (*text == '\0')
            break;
        size_t n = utf8_length(text);
        if (n == 0)
            to = mempcpy(to, "\xef\xbf\xbd", 3);
        else
            to = n == 1 ? put_escape(to, *text) : mempcpy(to, text, n);
        text += MAX(n, 1);
    }
    *to++ = '"';
    e->len += (size_t)(to - begin);
}

void emit_texts(struct emit *e, const char *key, const char *const texts[], size_t n)
{
    emit_open(e, key, '[');
    for (size_t i = 0; i < n; i++)
        emit_text_value(e, texts[i]);
    emit_close(e, ']');
}
