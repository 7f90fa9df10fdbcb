/*
 * say - words for people: one-line errors, and text from outside made harmless for a terminal, rounded spans.
 */
#ifndef TWISTYCTL_SAY_H
#define TWISTYCTL_SAY_H

#include "daemon/skim.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Enough for every span_human(). */
#define SPAN_HUMAN_MAX 32

/* "twistyctl: ..." on stderr. Whatever was formatted into it stays on that one line. */
void say_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Write out all that was printed. 0; -EPIPE: its reader has gone, who misses nothing and needs no word; another errno,
 * and that has been said.
 */
int say_all(void);

/* Write text; when it has control characters or is not UTF-8, escaped as the log has it. */
void say_text(FILE *file, const char *text);

/* The same of a string in a reply; `absent` if it is none. */
void say_value(FILE *file, struct skim_value string, const char *absent);

/* A span rounded for reading: three digits below a minute, above it two units. ns >= 0. Returns buf. */
char *span_human(int64_t ns, char *buf, size_t size);

#endif
