/*
 * slab - things of one size, each with a number, at addresses that stay.
 *
 * Pure. Memory comes in chunks, so that to grow moves nothing and costs the same at every size; it is given back with
 * the whole slab. A number that was given back is the next to be taken.
 */
#ifndef TWISTY_SLAB_H
#define TWISTY_SLAB_H

#include <stddef.h>
#include <stdint.h>

#define SLAB_CHUNK 1024 // things

struct slab {
    size_t size; // of a thing, in bytes; at least that of a number
    char **chunks;
    uint32_t n_chunks;
    uint32_t fresh;  // from this number on, none was ever taken
    uint32_t free;   // a number that was given back; in its place is the next of these
    uint32_t n_free; // of these
};

void slab_init(struct slab *slab, size_t size);

/* Frees the memory, whatever is in it. */
void slab_fini(struct slab *slab);

/* Make room for `more` things, so that slab_take() cannot fail. 0 or -ENOMEM. */
int slab_reserve(struct slab *slab, size_t more);

/* Numbers are below this. */
static inline uint32_t slab_room(const struct slab *slab)
{
    return slab->n_chunks * SLAB_CHUNK;
}

/* A thing of zeros. There must be room. */
uint32_t slab_take(struct slab *slab);

void slab_give(struct slab *slab, uint32_t number);

static inline void *slab_at(const struct slab *slab, uint32_t number)
{
    return slab->chunks[number / SLAB_CHUNK] + number % SLAB_CHUNK * slab->size;
}

#endif
