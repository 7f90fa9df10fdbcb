/* The jobs that have a name, against a plain array. */
#include "daemon/names.h"
#include "tests/unit/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NAMES_MAX 192
#define JOBS_EACH 3 // so many jobs want the same name

/* Jobs that compete for names, and who has which. */
struct world {
    struct slab slab;
    struct traits_pool *pool;
    struct names *names;
    struct job *jobs[NAMES_MAX][JOBS_EACH];
    char text[NAMES_MAX][32];
    struct job *holder[NAMES_MAX];
    uint32_t n;
};

static void world_init(struct world *w, uint32_t n, struct random *r)
{
    const uint64_t seed[2] = {random_u64(r), random_u64(r)};

    memset(w, 0, sizeof *w);
    w->n = n;
    slab_init(&w->slab, sizeof(struct job));
    w->pool = traits_pool_new(seed);
    w->names = names_new(seed, &w->slab);
    assert_true(w->pool != NULL && w->names != NULL);
    assert_int_equal(slab_reserve(&w->slab, n * JOBS_EACH), 0);
    assert_int_equal(names_reserve(w->names), 0);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(w->text[i], sizeof w->text[i], i % 5 == 0 ? "job-%u-with-a-longer-name" : "job-%u", i);
        for (uint32_t j = 0; j < JOBS_EACH; j++) {
            const struct job_spec spec = {.name = w->text[i]};
            uint32_t slot = slab_take(&w->slab);
            w->jobs[i][j] = slab_at(&w->slab, slot);
            assert_int_equal(job_init(w->jobs[i][j], w->pool, &spec), 0);
            w->jobs[i][j]->slot = slot;
        }
    }
}

static void world_fini(struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++)
        for (uint32_t j = 0; j < JOBS_EACH; j++)
            job_clear(w->jobs[i][j]);
    names_free(w->names);
    traits_pool_free(w->pool);
    slab_fini(&w->slab);
}

static void check_all(const struct world *w)
{
    for (uint32_t i = 0; i < w->n; i++)
        if (names_get(w->names, w->text[i]) != w->holder[i])
            fail_msg("%s is lost or another's", w->text[i]);
    assert_null(names_get(w->names, "job"));
    assert_null(names_get(w->names, ""));
}

static void random_step(struct world *w, struct random *r)
{
    uint32_t i = (uint32_t)random_below(r, w->n);
    struct job *job = w->jobs[i][random_below(r, JOBS_EACH)];

    if (random_once_in(r, 2)) {
        names_drop(w->names, job); // does nothing for one that does not have its name
        if (w->holder[i] == job)
            w->holder[i] = NULL;
        return;
    }
    assert_ptr_equal(names_put(w->names, job), w->holder[i]);
    w->holder[i] = job;
}

static void names_agree_with_an_array(void **state)
{
    static const uint32_t sizes[] = {1, 2, 12, 24, 48, NAMES_MAX};
    static struct world w;
    struct random r = random_start(1);
    (void)state;

    for (int round = 0; round < 60; round++) {
        world_init(&w, sizes[round % 6], &r);
        for (int step = 0; step < 2000; step++) {
            random_step(&w, &r);
            if (step % 16 == 0)
                check_all(&w);
        }
        check_all(&w);
        for (uint32_t i = 0; i < w.n; i++)
            if (w.holder[i] != NULL)
                names_drop(w.names, w.holder[i]);
        memset(w.holder, 0, sizeof w.holder);
        check_all(&w);
        world_fini(&w);
    }
}

static void an_empty_table_holds_nothing(void **state)
{
    static const uint64_t seed[2] = {0, 0};
    struct slab slab;
    const struct job nameless = {0};
    (void)state;

    slab_init(&slab, sizeof(struct job));
    struct names *names = names_new(seed, &slab);
    assert_non_null(names);
    assert_null(names_get(names, "tea"));
    assert_int_equal(names_reserve(names), 0);
    names_drop(names, &nameless);
    assert_null(names_get(names, ""));
    names_free(names);
    names_free(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_agree_with_an_array),
        cmocka_unit_test(an_empty_table_holds_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
