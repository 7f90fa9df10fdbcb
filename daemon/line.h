/*
 * line - builds text in a fixed buffer by appending; what does not fit is left out.
 *
 * Pure. For the lines of the log, a few a microsecond at times: no stdio, no memory of its own. The text ends with
 * NUL after every step.
 */
#ifndef TWISTY_LINE_H
#define TWISTY_LINE_H

#include <stdbool.h>
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

/*
 * Where n is a constant, as with most texts, the first memcpy() is a few moves. Where it is not, gcc sees from the room
 * that it is small, and would make of memcpy() a "rep movs", which takes longer to begin than a whole line to write; a
 * memmove() it calls.
 */
static inline void line_bytes(struct line *line, const void *bytes, size_t n)
{
    size_t room = line->size - line->len - 1;

    if (__builtin_expect(n <= room, true)) {
        if (__builtin_constant_p(n))
            memcpy(line->buf + line->len, bytes, n);
        else
            memmove(line->buf + line->len, bytes, n);
    } else {
        memcpy(line->buf + line->len, bytes, room);
        n = room;
    }
    line->len += n;
    line->buf[line->len] = '\0';
}

static inline void line_text(struct line *line, const char *text)
{
    line_bytes(line, text, strlen(text));
}

static inline unsigned line_digits(uint64_t n)
{
    unsigned digits = 1;

    for (; n >= 10000; n /= 10000)
        digits += 4;
    return digits + (n >= 10) + (n >= 100) + (n >= 1000);
}

/* Two digits at a time, from the last, where they belong. What does not fit is left out whole: cut, it would lie. */
static inline void line_number(struct line *line, uint64_t n)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142"
                                "43444546474849505152535455565758596061626364656667686970717273747576777879808182838485"
                                "8687888990919293949596979899";
    unsigned digits = line_digits(n);
    char *at = line->buf + line->len + digits;

    if (digits > line->size - line->len - 1)
        return;
    line->len += digits;
    *at = '\0';
    for (; n >= 100; n /= 100)
        memcpy(at -= 2, pairs + n % 100 * 2, 2);
    if (n >= 10)
        memcpy(at - 2, pairs + n * 2, 2);
    else
        at[-1] = (char)('0' + n);
}

#endif
