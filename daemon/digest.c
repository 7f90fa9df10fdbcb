#include "digest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An entry: how much of the name is that of the one before, the length of the rest, the rest, the print. */
#define ENTRY_MAX (2 + NAME_LEN_MAX + sizeof(uint64_t))

#define ROOM_FIRST 1024

static int make_room(struct digest *d)
{
    if (d->room - d->len >= ENTRY_MAX)
        return 0;
    size_t room = d->room != 0 ? d->room + d->room / 2 : ROOM_FIRST;
    unsigned char *bytes = reallocarray(d->bytes, room, 1);
    if (bytes == NULL)
        return -ENOMEM;
    d->bytes = bytes;
    d->room = room;
    return 0;
}

int digest_add(struct digest *d, const char *name, uint64_t print)
{
    size_t same = 0, rest;

    if (make_room(d) < 0)
        return -ENOMEM;
    while (name[same] != '\0' && name[same] == d->last[same])
        same++;
    rest = strlen(name + same);
    d->bytes[d->len++] = (unsigned char)same;
    d->bytes[d->len++] = (unsigned char)rest;
    memcpy(d->bytes + d->len, name + same, rest);
    memcpy(d->bytes + d->len + rest, &print, sizeof print);
    d->len += rest + sizeof print;
    memcpy(d->last + same, name + same, rest + 1);
    d->n++;
    return 0;
}

void digest_clear(struct digest *d)
{
    free(d->bytes);
    *d = (struct digest){0};
}

void digest_begin(struct digest_reader *r, const struct digest *d)
{
    *r = (struct digest_reader){.digest = d};
}

bool digest_next(struct digest_reader *r)
{
    const unsigned char *entry = r->digest->bytes + r->at;

    if (r->at == r->digest->len) {
        r->name[0] = '\0';
        return false;
    }
    size_t same = entry[0], rest = entry[1];
    memcpy(r->name + same, entry + 2, rest);
    r->name[same + rest] = '\0';
    memcpy(&r->print, entry + 2 + rest, sizeof r->print);
    r->at += 2 + rest + sizeof r->print;
    return true;
}
