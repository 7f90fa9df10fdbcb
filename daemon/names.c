#include "names.h"

#include "table.h"

#include <stdlib.h>
#include <string.h>

struct names {
    struct table table; // slots of jobs
    const struct slab *jobs;
    uint64_t seed[2];
};

struct names *names_new(const uint64_t seed[2], const struct slab *jobs)
{
    struct names *names = calloc(1, sizeof *names);

    if (names == NULL)
        return NULL;
    names->jobs = jobs;
    memcpy(names->seed, seed, sizeof names->seed);
    return names;
}

void names_free(struct names *names)
{
    if (names == NULL)
        return;
    table_fini(&names->table);
    free(names);
}

int names_reserve(struct names *names)
{
    return table_reserve(&names->table, slab_room(names->jobs));
}

static uint32_t hash_of(const struct names *names, const char *name)
{
    return table_hash(names->seed, name, strlen(name));
}

static struct job *find(const struct names *names, const char *name, uint32_t hash)
{
    uint32_t slot = table_first(&names->table, hash);

    for (; slot != TABLE_END; slot = table_next(&names->table, slot)) {
        struct job *job = slab_at(names->jobs, slot);
        if (strcmp(job_name(job), name) == 0)
            return job;
    }
    return NULL;
}

struct job *names_get(const struct names *names, const char *name)
{
    return find(names, name, hash_of(names, name));
}

struct job *names_put(struct names *names, const struct job *job)
{
    const char *name = job_name(job);
    uint32_t hash = hash_of(names, name);
    struct job *before = find(names, name, hash);

    if (before != NULL)
        table_drop(&names->table, before->slot, hash);
    table_put(&names->table, job->slot, hash);
    return before;
}

void names_drop(struct names *names, const struct job *job)
{
    table_drop(&names->table, job->slot, hash_of(names, job_name(job)));
}
