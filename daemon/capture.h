/*
 * capture - bytes that a command writes to lines of bounded length.
 *
 * Pure. What is beyond the bound is left out and the line ends with "..."; memory is that of one line, however much is
 * fed.
 */
#ifndef TWISTY_CAPTURE_H
#define TWISTY_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

/* The longest line, in bytes, without its NUL. */
#define CAPTURE_LINE_MAX 1024

/* The longest last line that is kept. */
#define CAPTURE_LAST_MAX 256

/* Zero-initialised is empty. */
struct capture {
    char line[CAPTURE_LINE_MAX + 1]; // the line that is not complete yet
    size_t len;
    bool cut;                        // it was longer
    char last[CAPTURE_LAST_MAX + 1]; // the beginning of the last one that was not empty
};

/*
 * Take bytes, and tell the first `most` of the lines that are complete, without their ends ("\n" or "\r\n"),
 * NUL-terminated; a NUL in one shows as "?". The text is valid during the call, and any bytes: text_escape() it. The
 * others cost next to nothing: they are only counted, and their number is returned.
 */
size_t capture_feed(struct capture *c, const char *bytes, size_t n, size_t most,
                    void (*tell)(void *ctx, const char *line), void *ctx);

/* There is no more: what stands there without a newline, if there is anything, is a line. As capture_feed(). */
size_t capture_end(struct capture *c, size_t most, void (*tell)(void *ctx, const char *line), void *ctx);

#endif
