#include "traits.h"

#include "slab.h"
#include "table.h"

#include <stdlib.h>
#include <string.h>

struct traits_pool {
    struct slab slab;    // of struct traits
    struct table table;  // these by hash
    struct traits *last; // that were taken: the next job is likely to be of the same; or NULL
    uint64_t seed[2];
};

struct traits_pool *traits_pool_new(const uint64_t seed[2])
{
    struct traits_pool *pool = calloc(1, sizeof *pool);

    if (pool == NULL)
        return NULL;
    slab_init(&pool->slab, sizeof(struct traits));
    memcpy(pool->seed, seed, sizeof pool->seed);
    return pool;
}

void traits_pool_free(struct traits_pool *pool)
{
    if (pool == NULL)
        return;
    table_fini(&pool->table);
    slab_fini(&pool->slab);
    free(pool);
}

static uint32_t hash_text(const struct traits_pool *pool, const char *text)
{
    return text != NULL ? table_hash(pool->seed, text, strlen(text)) : 0;
}

static uint32_t hash_of(const struct traits_pool *pool, const struct job_spec *spec)
{
    const uint64_t words[] = {
        spec->kind,
        spec->count,
        spec->rate.ticks,
        spec->missed,
        spec->report.when,
        (uint64_t)spec->report.every,
        spec->background,
        hash_text(pool, spec->message),
        hash_text(pool, spec->after),
        hash_text(pool, spec->actions[HOOK_FINISH]),
    };

    return table_hash(pool->seed, words, sizeof words);
}

static struct traits *find(const struct traits_pool *pool, const struct job_spec *spec, uint32_t hash)
{
    uint32_t i = table_first(&pool->table, hash);

    for (; i != TABLE_END; i = table_next(&pool->table, i)) {
        struct traits *traits = slab_at(&pool->slab, i);
        if (spec_equal(&traits->spec, spec))
            return traits;
    }
    return NULL;
}

static struct traits *make(struct traits_pool *pool, const struct job_spec *spec, uint32_t hash)
{
    struct job_spec copy;

    if (slab_reserve(&pool->slab, 1) < 0 || table_reserve(&pool->table, slab_room(&pool->slab)) < 0 ||
        spec_copy(spec, &copy) < 0)
        return NULL;
    uint32_t number = slab_take(&pool->slab);
    struct traits *traits = slab_at(&pool->slab, number);

    *traits = (struct traits){.spec = copy, .pool = pool, .number = number, .hash = hash};
    table_put(&pool->table, number, hash);
    return traits;
}

const struct traits *traits_take(struct traits_pool *pool, const struct job_spec *spec)
{
    struct job_spec common = *spec;

    common.name = NULL;
    common.delay = 0;
    common.rate.ns = 0;
    if (pool->last == NULL || !spec_equal(&pool->last->spec, &common)) {
        uint32_t hash = hash_of(pool, &common);
        struct traits *traits = find(pool, &common, hash);
        if (traits == NULL)
            traits = make(pool, &common, hash);
        if (traits == NULL)
            return NULL;
        pool->last = traits;
    }
    pool->last->uses++;
    return pool->last;
}

void traits_drop(const struct traits *traits)
{
    if (traits == NULL)
        return;
    struct traits_pool *pool = traits->pool;
    struct traits *own = slab_at(&pool->slab, traits->number);

    if (--own->uses > 0)
        return;
    if (pool->last == own)
        pool->last = NULL;
    table_drop(&pool->table, own->number, own->hash);
    spec_clear(&own->spec);
    slab_give(&pool->slab, own->number);
}
