#include "slab.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void slab_init(struct slab *slab, size_t size)
{
    *slab = (struct slab){.size = size};
}

void slab_fini(struct slab *slab)
{
    for (uint32_t i = 0; i < slab->n_chunks; i++)
        free(slab->chunks[i]);
    free(slab->chunks);
    slab_init(slab, slab->size);
}

static int add_chunk(struct slab *slab)
{
    char **chunks = reallocarray(slab->chunks, slab->n_chunks + 1, sizeof(char *));
    if (chunks == NULL)
        return -ENOMEM;
    slab->chunks = chunks;
    char *chunk = malloc(SLAB_CHUNK * slab->size);
    if (chunk == NULL)
        return -ENOMEM;
    chunks[slab->n_chunks++] = chunk;
    return 0;
}

int slab_reserve(struct slab *slab, size_t more)
{
    int r = 0;

    if (more > UINT32_MAX / 2 - slab_room(slab))
        return -ENOMEM;
    while (r == 0 && slab_room(slab) - slab->fresh + slab->n_free < more)
        r = add_chunk(slab);
    return r;
}

uint32_t slab_take(struct slab *slab)
{
    uint32_t number;

    if (slab->n_free > 0) {
        number = slab->free;
        memcpy(&slab->free, slab_at(slab, number), sizeof slab->free);
        slab->n_free--;
    } else {
        number = slab->fresh++;
    }
    memset(slab_at(slab, number), 0, slab->size);
    return number;
}

void slab_give(struct slab *slab, uint32_t number)
{
    memcpy(slab_at(slab, number), &slab->free, sizeof slab->free);
    slab->free = number;
    slab->n_free++;
}
