/*
 * buffer - bytes on their way: added at the end, taken from the front, in one piece. Pure.
 */
#ifndef TWISTY_BUFFER_H
#define TWISTY_BUFFER_H

#include <stddef.h>

/* Zero-initialised is empty. */
struct buffer {
    char *bytes; // owned; what is in it is [from, to)
    size_t from, to, room;
};

void buffer_free(struct buffer *b);

/* 0, or -ENOMEM with nothing added. */
int buffer_add(struct buffer *b, const char *bytes, size_t n);

/* Take away the first n bytes, which are there. An empty buffer keeps only little memory. */
void buffer_drain(struct buffer *b, size_t n);

static inline size_t buffer_length(const struct buffer *b)
{
    return b->to - b->from;
}

/* The first byte, if there is one; valid until something is added or taken away. */
static inline const char *buffer_begin(const struct buffer *b)
{
    return b->bytes + b->from;
}

#endif
