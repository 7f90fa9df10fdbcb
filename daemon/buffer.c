#include "buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/* There may be three of these to each of some hundred connections. */
#define ROOM_FIRST 512
#define ROOM_KEPT  4096

void buffer_free(struct buffer *b)
{
    free(b->bytes);
    *b = (struct buffer){0};
}

/* Move what is there to the front, with room for at least as much again: no byte is moved often. */
static int make_room(struct buffer *b, size_t n)
{
    size_t len = buffer_length(b), room = MAX(2 * (len + n), ROOM_FIRST);

    if (room > b->room) {
        char *bytes = reallocarray(b->bytes, room, 1);
        if (bytes == NULL)
            return -ENOMEM;
        b->bytes = bytes;
        b->room = room;
    }
    memmove(b->bytes, b->bytes + b->from, len);
    b->from = 0;
    b->to = len;
    return 0;
}

int buffer_add(struct buffer *b, const char *bytes, size_t n)
{
    int r = n > b->room - b->to ? make_room(b, n) : 0;

    if (r < 0 || n == 0)
        return r;
    memcpy(b->bytes + b->to, bytes, n);
    b->to += n;
    return 0;
}

void buffer_drain(struct buffer *b, size_t n)
{
    b->from += n;
    if (b->from < b->to)
        return;
    b->from = b->to = 0;
    if (b->room > ROOM_KEPT)
        buffer_free(b);
}
