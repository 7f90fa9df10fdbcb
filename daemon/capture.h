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

/* Zero-initialised is empty. */
struct capture {
    char line[CAPTURE_LINE_MAX + 1]; // the line that is not complete yet
    size_t len;
    bool cut; // it was longer
};

/*
 * Take bytes, and tell each line that is complete, without its end ("\n" or "\r\n"), NUL-terminated; a NUL in it shows
 * as "?". The text is valid during the call, and any bytes: text_escape() it.
 */
void capture_feed(struct capture *c, const char *bytes, size_t n, void (*tell)(void *ctx, const char *line), void *ctx);

/* There is no more: tell what stands there without a newline, if there is anything. */
void capture_end(struct capture *c, void (*tell)(void *ctx, const char *line), void *ctx);

#endif
