#include "names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Open addressing with linear probing; a free place has no job. The hash is kept so that growing reads no name. */
struct place {
    struct job *job;
    uint32_t hash;
};

struct names {
    struct place *places;
    uint32_t size; // a power of two, or 0
    uint32_t used;
    uint64_t seed[2];
};

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], int n)
{
    while (n-- > 0) {
        v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
        v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
    }
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_rounds(v, 2);
    v[0] ^= word;
}

static uint32_t hash_of(const struct names *names, const char *name)
{
    uint64_t v[4] = {
        names->seed[0] ^ UINT64_C(0x736f6d6570736575),
        names->seed[1] ^ UINT64_C(0x646f72616e646f6d),
        names->seed[0] ^ UINT64_C(0x6c7967656e657261),
        names->seed[1] ^ UINT64_C(0x7465646279746573),
    };
    size_t len = strlen(name);
    uint64_t last = (uint64_t)len << 56;

    for (; len >= 8; len -= 8, name += 8) {
        uint64_t word;
        memcpy(&word, name, 8);
        sip_word(v, word);
    }
    for (size_t i = 0; i < len; i++)
        last |= (uint64_t)(unsigned char)name[i] << (8 * i);
    sip_word(v, last);
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

struct names *names_new(const uint64_t seed[2])
{
    struct names *names = calloc(1, sizeof *names);
    if (names != NULL)
        memcpy(names->seed, seed, sizeof names->seed);
    return names;
}

void names_free(struct names *names)
{
    if (names == NULL)
        return;
    free(names->places);
    free(names);
}

/* The place that holds `name`, or the free one where it belongs. Needs a free place somewhere. */
static uint32_t find(const struct names *names, const char *name, uint32_t hash)
{
    uint32_t mask = names->size - 1, i = hash & mask;

    for (; names->places[i].job != NULL; i = (i + 1) & mask)
        if (names->places[i].hash == hash && strcmp(names->places[i].job->spec.name, name) == 0)
            break;
    return i;
}

int names_reserve(struct names *names, size_t n)
{
    size_t size = names->size == 0 ? 16 : names->size;

    while (n > size - size / 4) // at most three quarters full
        size *= 2;
    if (size == names->size)
        return 0;
    if (size > UINT32_MAX / 2 + 1)
        return -ENOMEM;
    struct place *places = calloc(size, sizeof *places);
    if (places == NULL)
        return -ENOMEM;

    uint32_t mask = (uint32_t)size - 1;
    for (uint32_t i = 0; i < names->size; i++) {
        struct place place = names->places[i];
        uint32_t to = place.hash & mask;
        if (place.job == NULL)
            continue;
        while (places[to].job != NULL)
            to = (to + 1) & mask;
        places[to] = place;
    }
    free(names->places);
    names->places = places;
    names->size = (uint32_t)size;
    return 0;
}

struct job *names_get(const struct names *names, const char *name)
{
    return names->used == 0 ? NULL : names->places[find(names, name, hash_of(names, name))].job;
}

struct job *names_put(struct names *names, struct job *job)
{
    uint32_t hash = hash_of(names, job->spec.name);
    struct place *place = &names->places[find(names, job->spec.name, hash)];
    struct job *before = place->job;

    *place = (struct place){job, hash};
    names->used += before == NULL;
    return before;
}

void names_drop(struct names *names, const struct job *job)
{
    if (names->used == 0 || job->spec.name == NULL)
        return;
    uint32_t mask = names->size - 1;
    uint32_t hole = find(names, job->spec.name, hash_of(names, job->spec.name));
    if (names->places[hole].job != job)
        return;
    names->used--;
    // Move back what follows, as far as it may stand in the hole, so that no probe ends too early.
    for (uint32_t i = (hole + 1) & mask; names->places[i].job != NULL; i = (i + 1) & mask) {
        uint32_t home = names->places[i].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            names->places[hole] = names->places[i];
            hole = i;
        }
    }
    names->places[hole] = (struct place){0};
}
