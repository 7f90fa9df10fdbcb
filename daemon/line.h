/*
 * line - builds text in a fixed buffer by appending; what does not fit is left out.
 *
 * Pure. For the lines of the log, a few a microsecond at times: no stdio, no memory of its own. The text ends with
 * NUL after every step.
 */
#ifndef TWISTY_LINE_H
#define TWISTY_LINE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct line {
    char *buf; // the caller's
    size_t size;
    size_t len;
};

static inline struct line line_begin(char *buf, size_t size)
{
    buf[0] = '\0';
    return (struct line){.buf = buf, .size = size};
}

static inline void line_bytes(struct line *line, const void *bytes, size_t n)
{
    if (n > line->size - line->len - 1)
        n = line->size - line->len - 1;
    memcpy(line->buf + line->len, bytes, n);
    line->len += n;
    line->buf[line->len] = '\0';
}

static inline void line_text(struct line *line, const char *text)
{
    line_bytes(line, text, strlen(text));
}

static inline void line_number(struct line *line, uint64_t n)
{
    char digits[20]; // of UINT64_MAX
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    line_bytes(line, digits + at, sizeof digits - at);
}

#endif
