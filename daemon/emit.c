#include "emit.h"

#include "line.h"
#include "text.h"

#include <stdlib.h>
#include <sys/param.h>

#define ROOM_FIRST 1024

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

void emit_bytes(struct emit *e, const void *bytes, size_t n)
{
    if (e->room - e->len >= n || emit_grow(e, n))
        emit_end(e, mempcpy(e->text + e->len, bytes, n));
}

char *emit_digits(char *to, int64_t value)
{
    struct line line = line_begin(to, EMIT_INT_MAX);

    if (value < 0)
        line_bytes(&line, "-", 1);
    line_number(&line, value < 0 ? -(uint64_t)value : (uint64_t)value);
    return to + line.len;
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

char *emit_quoted(char *to, const char *text)
{
    *to++ = '"';
    for (;;) {
        while (json_plain[(unsigned char)*text])
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
    return to;
}

void emit_texts(struct emit *e, const char *key, const char *const texts[], size_t n)
{
    emit_open(e, key, '[');
    for (size_t i = 0; i < n; i++)
        emit_text(e, NULL, texts[i]);
    emit_close(e, ']');
}
