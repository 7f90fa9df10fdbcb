/*
 * The insides of the schedule: that the trie is what trie.h says after any operation, that its memory is bounded, and
 * that no deadline is lost, early or late where bits carry over. Against a heap.
 */
#include "daemon/sched.c" // NOLINT(bugprone-suspicious-include)
#include "daemon/trie.c"  // NOLINT(bugprone-suspicious-include)
#include "tests/unit/random.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NSEC_PER_SEC INT64_C(1000000000)
#define YEAR         (NSEC_PER_SEC * 3600 * 24 * 365)

static struct sched *new_sched(uint32_t handles)
{
    struct sched *s = sched_new();

    assert_non_null(s);
    assert_int_equal(sched_reserve(s, handles), 0);
    return s;
}

/* Looks at every entry: the right slot, the blocks of the chain full. Returns how many blocks the chain has. */
static uint32_t check_chain(const struct trie *t, uint32_t i, uint32_t *entries, uint32_t *stale)
{
    uint32_t blocks = 0, at = t->slots[i].from, next;

    do {
        uint32_t end = trie_block_end(t, i, at);
        next = t->next[at / BLOCK];
        assert_true(at < end && end <= (at / BLOCK + 1) * BLOCK);
        assert_true(next == NONE || end % BLOCK == 0);
        assert_true(blocks == 0 || at % BLOCK == 0);
        for (; at < end; at++) {
            assert_int_equal(trie_slot_of(t, t->pool[at].key), i);
            assert_true(t->pool[at].key >= trie_start_of(t, i));
            ++*entries;
            *stale += trie_is_stale(t, &t->pool[at]);
        }
        blocks++;
        at = next * BLOCK;
    } while (next != NONE);
    return blocks;
}

static void check_trie(const struct sched *s)
{
    const struct trie *t = &s->trie;
    uint32_t entries = 0, stale = 0, blocks = 0, free_blocks = 0, occupied = 0;

    for (uint32_t i = 0; i < SLOTS; i++) {
        bool is_occupied = (t->occupied[i / 64] >> i % 64 & 1) != 0;
        assert_int_equal(is_occupied, t->slots[i].to != 0);
        if (!is_occupied)
            continue;
        occupied++;
        assert_true((t->words >> i / 64 & 1) != 0);
        assert_true(i >= path_slot(t, i / LEVEL_SLOTS) || (t->behind >> i / LEVEL_SLOTS & 1) != 0);
        blocks += check_chain(t, i, &entries, &stale);
    }
    for (uint32_t block = t->free_blocks; block != NONE; block = t->next[block])
        free_blocks++;
    assert_int_equal(entries, t->used);
    assert_int_equal(stale, t->stale);
    assert_true(t->used <= s->room);
    assert_int_equal(blocks + free_blocks, t->fresh);
    assert_true(blocks <= entries / BLOCK + 2 * occupied);
    assert_true(t->fresh <= s->room / BLOCK + 2 * SLOTS + 1 && t->fresh <= s->room + 1);
}

/* All that are due at `now` must come in this order. */
static void expect_pops(struct sched *s, int64_t now, const uint32_t *handles, size_t n)
{
    uint32_t handle;

    for (size_t i = 0; i < n; i++) {
        assert_true(sched_pop_due(s, now, &handle));
        assert_int_equal(handle, handles[i]);
    }
    assert_false(sched_pop_due(s, now, &handle));
}

/* For each bit: the times around where it carries over, as many of each as need splitting, seen from three sides. */
static void deadlines_around_every_carry(void **state)
{
    enum { EACH = BLOCK + 8, TIMES = 4, N = EACH * TIMES };
    static const int64_t sides[] = {0, -12345, 3 * YEAR + 1};
    struct sched *s = new_sched(N);
    (void)state;

    for (size_t side = 0; side < sizeof sides / sizeof sides[0]; side++) {
        for (unsigned bit = 1; bit < 62; bit++) {
            int64_t carry = sides[side] + (INT64_C(1) << bit),
                    due[TIMES] = {carry - 1, carry, carry + 1, carry + (INT64_C(1) << bit)};
            for (uint32_t i = 0; i < N; i++)
                sched_set(s, i, due[(i * 7 + 3) % TIMES]);
            check_trie(s);
            for (int k = 0; k < TIMES; k++) {
                uint32_t expected[EACH], n = 0;
                int64_t next = 0;
                for (uint32_t i = 0; i < N; i++)
                    if ((i * 7 + 3) % TIMES == (uint32_t)k)
                        expected[n++] = i;
                assert_true(sched_next(s, &next, NULL));
                assert_true(next == due[k]);
                expect_pops(s, due[k] - 1, NULL, 0);
                expect_pops(s, due[k], expected, n);
                check_trie(s);
            }
        }
    }
    sched_free(s);
}

/* Timers of all magnitudes of intervals, run by a clock of uneven steps: each ticks when it should, not once less. */
static void rates_are_exact(void **state)
{
    enum { TIMERS = 3000, STEPS = 20000 };
    static int64_t due[TIMERS], interval[TIMERS];
    struct sched *s = new_sched(TIMERS);
    struct random r = random_start(2);
    int64_t now = 5 * YEAR, before = now, start = now;
    uint64_t ticks = 0, expected = 0;
    (void)state;

    for (uint32_t i = 0; i < TIMERS; i++) {
        interval[i] = 50000000 + random_magnitude(&r, 600 * NSEC_PER_SEC);
        due[i] = now + interval[i];
        sched_set(s, i, due[i]);
    }
    for (int step = 0; step < STEPS; step++) {
        int64_t last = INT64_MIN, next;
        uint32_t handle;
        assert_true(sched_next(s, &next, NULL));
        now = next + (random_once_in(&r, 4) ? 0 : random_between(&r, 0, 20000000));
        while (sched_pop_due(s, now, &handle)) {
            if (due[handle] <= before || due[handle] > now || due[handle] < last)
                fail_msg("step %d: timer %" PRIu32 " due at %" PRId64 " came at %" PRId64 ", after %" PRId64, step,
                         handle, due[handle], now, last);
            last = due[handle];
            due[handle] += interval[handle];
            sched_set(s, handle, due[handle]);
            ticks++;
        }
        before = now;
        if (step % 1000 == 0)
            check_trie(s);
    }
    for (uint32_t i = 0; i < TIMERS; i++)
        expected += (uint64_t)((now - start) / interval[i]);
    assert_int_equal(ticks, expected);
    sched_free(s);
}

static void a_jump_takes_all_that_is_due(void **state)
{
    enum { N = 5000 };
    struct sched *s = new_sched(N);
    struct random r = random_start(3);
    int64_t now = 0;
    (void)state;

    for (int jump = 0; jump < 40; jump++) {
        int64_t due[N], last = INT64_MIN, length = random_magnitude(&r, YEAR);
        uint32_t handle, n = 0, popped = 0;
        for (uint32_t i = 0; i < N; i++) {
            due[i] = now + random_between(&r, 0, 2 * length);
            sched_set(s, i, due[i]);
            n += due[i] <= now + length;
        }
        now += length;
        for (; sched_pop_due(s, now, &handle); popped++) {
            assert_true(due[handle] >= last && due[handle] <= now);
            last = due[handle];
        }
        assert_int_equal(popped, n);
        check_trie(s);
    }
    sched_free(s);
}

static void the_ends_of_time(void **state)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -2, -1, 0, 1, 2, INT64_MAX - 1, INT64_MAX};
    enum { N = sizeof times / sizeof times[0] };
    struct sched *s = new_sched(N * 100);
    uint32_t expected[100];
    (void)state;

    for (uint32_t i = 0; i < N * 100; i++)
        sched_set(s, i, times[i % N]);
    check_trie(s);
    for (uint32_t k = 0; k < N; k++) {
        int64_t due = 1;
        for (uint32_t i = 0; i < 100; i++)
            expected[i] = i * N + k;
        assert_true(sched_next(s, &due, NULL));
        assert_true(due == times[k]);
        if (k > 0)
            expect_pops(s, times[k] - 1, NULL, 0);
        expect_pops(s, times[k], expected, 100);
    }
    assert_false(sched_next(s, NULL, NULL));
    check_trie(s);
    sched_free(s);
}

/* A burst into one slot, at one time or at many, takes the blocks that it needs, and gives all of them back. */
static void a_million_in_one_slot(void **state)
{
    enum { N = 1000000 };
    struct sched *s = new_sched(N);
    static uint32_t handles[N];
    (void)state;

    for (int64_t spread = 0; spread <= 7; spread += 7) {
        for (int round = 0; round < 3; round++) {
            int64_t now = (round + 1) * NSEC_PER_SEC * 1000;
            for (uint32_t i = 0; i < N; i++)
                sched_set(s, i, now + i * spread);
            assert_int_equal(sched_pop_due_many(s, now - 1, handles, N), 0);
            assert_int_equal(sched_pop_due_many(s, now + N * spread, handles, N), N);
            for (uint32_t i = 0; i < N; i++)
                assert_true(handles[i] == i);
            check_trie(s);
            assert_true(s->trie.fresh <= N / BLOCK + 2 * SLOTS + 1);
            assert_int_equal(s->trie.used, 0);
        }
    }
    sched_free(s);
}

/* Deadlines are moved and cancelled, none comes due: what is stale is bounded, and nothing else is lost. */
static void stale_entries_are_swept(void **state)
{
    enum { N = 20000 };
    struct sched *s = new_sched(N);
    struct random r = random_start(4);
    static int64_t due[N];
    uint32_t left = 0, handle;
    int64_t last = 0;
    (void)state;

    for (uint32_t i = 0; i < 50 * N; i++) {
        handle = (uint32_t)random_below(&r, N);
        if (random_once_in(&r, 3)) {
            sched_cancel(s, handle);
            due[handle] = 0;
        } else {
            due[handle] = random_magnitude(&r, YEAR);
            sched_set(s, handle, due[handle]);
        }
        if (i % N == 0)
            check_trie(s);
    }
    for (uint32_t i = 0; i < N; i++)
        left += due[i] != 0;
    assert_int_equal(sched_count(s), left);
    for (; sched_pop_due(s, INT64_MAX, &handle); left--) {
        assert_true(due[handle] >= last && due[handle] != 0);
        last = due[handle];
    }
    assert_int_equal(left, 0);
    check_trie(s);
    sched_free(s);
}

/* Cancelled from the first to the last, and each time asked for the next: not a search of all of them each time. */
static void cancelling_in_order(void **state)
{
    enum { N = 300000 };
    struct sched *s = new_sched(N);
    int64_t due;
    uint32_t handle;
    (void)state;

    for (uint32_t i = 0; i < N; i++)
        sched_set(s, i, YEAR + (int64_t)i * 1000);
    for (uint32_t i = 0; i < N; i++) {
        assert_true(sched_next(s, &due, &handle));
        assert_true(handle == i && due == YEAR + (int64_t)i * 1000);
        sched_cancel(s, i);
    }
    assert_false(sched_next(s, &due, &handle));
    check_trie(s);
    sched_free(s);
}

static void asking_for_the_next_moves_nothing_far(void **state)
{
    enum { N = 10000 };
    struct sched *s = new_sched(N + 1);
    int64_t due;
    uint32_t handle;
    (void)state;

    for (uint32_t i = 0; i < N; i++) {
        sched_set(s, i, YEAR + (N - i) * INT64_C(1000));
        assert_true(sched_next(s, &due, &handle));
        assert_true(handle == i && due == YEAR + (N - i) * INT64_C(1000));
    }
    for (int64_t now = 0; now < 1000; now++) {
        sched_set(s, N, now + 1);
        assert_true(sched_next(s, &due, &handle) && handle == N && due == now + 1);
        assert_true(sched_pop_due(s, now + 1, &handle) && handle == N);
        assert_false(sched_pop_due(s, now + 1, &handle));
        assert_true(sched_next(s, &due, &handle) && handle == N - 1);
    }
    assert_true(s->trie.path == to_key(0));
    sched_free(s);
}

/* Before a path that goes all the way down, on each of its levels, and behind it: in time, all the same. */
static void deadlines_before_the_path(void **state)
{
    enum { DEEP = 400, N = DEEP + 120 };
    static int64_t due[N];
    struct sched *s = new_sched(N);
    int64_t middle = YEAR + 123456789, last = INT64_MIN;
    uint32_t handle, popped = 0;
    (void)state;

    for (uint32_t i = 0; i < DEEP; i++)
        sched_set(s, i, due[i] = middle + i);
    assert_true(sched_pop_due(s, middle, &handle) && handle == 0);
    assert_int_equal(s->trie.shift[s->trie.level_of[0]], 0);
    for (uint32_t i = DEEP; i < N; i++) {
        uint32_t bit = (i - DEEP) % 60;
        due[i] = i % 2 == 0 ? middle - (INT64_C(1) << bit) : middle + (INT64_C(1) << bit);
        sched_set(s, i, due[i]);
    }
    check_trie(s);
    for (int64_t next; sched_next(s, &next, &handle); popped++) {
        assert_true(next == due[handle] && next >= last);
        last = next;
        assert_true(sched_pop_due(s, INT64_MAX, &handle) && due[handle] == last);
    }
    assert_int_equal(popped, N - 1);
    sched_free(s);
}

/* Far deadlines are split, for the first was cancelled; they go back when a near burst comes; and again. */
static void far_deadlines_go_down_and_up(void **state)
{
    enum { FAR = 500, NEAR = 200 };
    struct sched *s = new_sched(FAR + NEAR);
    int64_t due, now = 0;
    uint32_t handle;
    (void)state;

    for (uint32_t i = 0; i < FAR; i++)
        sched_set(s, i, YEAR + INT64_C(1000) * i);
    for (uint32_t round = 0; round < FAR - 1; round++) {
        assert_true(sched_next(s, &due, &handle) && handle == round);
        sched_cancel(s, round);
        assert_true(sched_next(s, &due, &handle) && handle == round + 1 && due == YEAR + (round + 1) * INT64_C(1000));
        for (uint32_t i = 0; i < NEAR; i++)
            sched_set(s, FAR + i, now + i);
        now += NEAR;
        for (uint32_t i = 0; i < NEAR; i++)
            assert_true(sched_pop_due(s, now, &handle) && handle == FAR + i);
        assert_false(sched_pop_due(s, now, &handle));
        check_trie(s);
    }
    sched_free(s);
}

/* What was found in a slot does not hold when the slot was split and is filled again. */
static void a_slot_is_searched_anew(void **state)
{
    enum { FAR = 500, NEAR = 200 };
    struct sched *s = new_sched(FAR + NEAR + 1);
    int64_t slot = INT64_C(1) << 41, first = slot + (INT64_C(1) << 39), due;
    uint32_t handle;
    (void)state;

    for (uint32_t i = 0; i < FAR; i++)
        sched_set(s, i, first + INT64_C(1000) * i);
    assert_true(sched_next(s, &due, &handle) && handle == 0);
    assert_false(sched_pop_due(s, slot, &handle)); // its time has come, and it is split
    sched_set(s, FAR + NEAR, first - 5);
    for (uint32_t i = 0; i < NEAR; i++)
        sched_set(s, FAR + i, i);
    for (uint32_t i = 0; i < NEAR; i++)
        assert_true(sched_pop_due(s, slot, &handle) && handle == FAR + i);
    assert_true(sched_next(s, &due, &handle) && handle == FAR + NEAR && due == first - 5);
    check_trie(s);
    sched_free(s);
}

/* A handle whose stamps begin anew: an entry of the round before must not pass for one of this. */
static void stamps_begin_anew(void **state)
{
    struct sched *s = new_sched(2);
    (void)state;

    for (int round = 0; round < 3; round++) {
        sched_cancel(s, 0);
        s->stamps[0] = UINT32_MAX - 9;
        for (int64_t i = 0; i < 8; i++) {
            sched_set(s, 0, 1000 + 10 * round + i);
            check_trie(s);
        }
        assert_true(s->stamps[0] < 16);
        sched_cancel(s, 1); // whose entry has the last stamp of all, but in the first round
        s->stamps[1] = UINT32_MAX - 3;
        sched_set(s, 1, 5000 + round);
        check_trie(s);
        sched_set(s, 1, 6000 + round);
        check_trie(s);
    }
    expect_pops(s, 1026, NULL, 0);
    expect_pops(s, 6001, (const uint32_t[]){0}, 1);
    expect_pops(s, INT64_MAX, (const uint32_t[]){1}, 1);
    check_trie(s);
    sched_free(s);
}

/* The oracle: a binary heap by (due, order), whose outdated items are skipped. */
struct item {
    int64_t due;
    uint64_t order;
    uint32_t handle;
};

struct heap {
    struct item *items;
    size_t n;
    uint64_t *order; // of handles: of their item; 0: none
    uint64_t last;
};

static bool earlier(const struct item *a, const struct item *b)
{
    return a->due < b->due || (a->due == b->due && a->order < b->order);
}

static void heap_set(struct heap *h, uint32_t handle, int64_t due)
{
    struct item item = {due, ++h->last, handle};
    size_t i = h->n++;

    for (; i > 0 && earlier(&item, &h->items[(i - 1) / 2]); i = (i - 1) / 2)
        h->items[i] = h->items[(i - 1) / 2];
    h->items[i] = item;
    h->order[handle] = item.order;
}

static void heap_pop(struct heap *h)
{
    struct item last = h->items[--h->n];
    size_t i = 0, child;

    while ((child = 2 * i + 1) < h->n) {
        if (child + 1 < h->n && earlier(&h->items[child + 1], &h->items[child]))
            child++;
        if (!earlier(&h->items[child], &last))
            break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = last;
}

static const struct item *heap_first(struct heap *h)
{
    while (h->n > 0 && h->order[h->items[0].handle] != h->items[0].order)
        heap_pop(h);
    return h->n > 0 ? &h->items[0] : NULL;
}

/* Loads that differ in how many are in a slot, and in what happens to them. Weights are out of 100; the rest pops. */
struct load {
    const char *name;
    uint32_t handles;
    bool magnitudes;                 // near deadlines as likely as far ones
    int64_t distance;                // at most
    unsigned set, cancel, ask, past; // past: of what is set, so many lie as far in the past
    int64_t step;                    // of the clock, at most
};

static void check_first(const struct load *load, int op, struct sched *s, struct heap *h)
{
    const struct item *item = heap_first(h);
    int64_t due = 0;
    uint32_t handle = 0;

    if (sched_next(s, &due, &handle) != (item != NULL) ||
        (item != NULL && (due != item->due || handle != item->handle)))
        fail_msg("%s, operation %d: next is %" PRIu32 " at %" PRId64, load->name, op, handle, due);
}

static void check_pops(const struct load *load, int op, struct sched *s, struct heap *h, int64_t now, size_t max)
{
    uint32_t handles[64];
    size_t n = sched_pop_due_many(s, now, handles, max);
    const struct item *item;

    for (size_t i = 0; i < n; i++) {
        item = heap_first(h);
        if (item == NULL || item->due > now || item->handle != handles[i])
            fail_msg("%s, operation %d: %" PRIu32 " came out, number %zu", load->name, op, handles[i], i);
        h->order[handles[i]] = 0;
        heap_pop(h);
    }
    item = heap_first(h);
    if (n < max && item != NULL && item->due <= now)
        fail_msg("%s, operation %d: %" PRIu32 " did not come out", load->name, op, item->handle);
}

static void run_load(const struct load *load, struct random *r, int ops)
{
    struct sched *s = new_sched(load->handles);
    struct heap h = {.items = test_calloc((size_t)ops + 1, sizeof *h.items),
                     .order = test_calloc(load->handles, sizeof *h.order)};
    int64_t now = random_between(r, -1000, 1000);

    for (int op = 0; op < ops; op++) {
        uint32_t handle = (uint32_t)random_below(r, load->handles);
        uint64_t what = random_below(r, 100);
        if (what < load->set) {
            int64_t distance =
                load->magnitudes ? random_magnitude(r, load->distance) : random_between(r, -2, load->distance);
            if (random_below(r, 100) < load->past)
                distance = -distance;
            sched_set(s, handle, now + distance);
            heap_set(&h, handle, now + distance);
        } else if (what < load->set + load->cancel) {
            sched_cancel(s, handle);
            h.order[handle] = 0;
        } else if (what < load->set + load->cancel + load->ask) {
            check_first(load, op, s, &h);
        } else {
            now += random_magnitude(r, load->step);
            check_pops(load, op, s, &h, now, random_below(r, 64));
        }
        if (op % (ops / 8) == 0)
            check_trie(s);
    }
    while (heap_first(&h) != NULL)
        check_pops(load, ops, s, &h, INT64_MAX, 64);
    assert_int_equal(sched_count(s), 0);
    check_trie(s);
    sched_free(s);
    test_free(h.items);
    test_free(h.order);
}

static void random_operations_at_every_density(void **state)
{
    static const struct load loads[] = {
        {"a dense second", 50000, false, NSEC_PER_SEC, 60, 5, 5, 0, NSEC_PER_SEC / 1000},
        {"one slot", 20000, false, 60000, 60, 10, 10, 0, 300},
        {"equal ones", 20000, false, 20, 60, 10, 5, 0, 1},
        {"every magnitude", 30000, true, INT64_MAX / 4, 60, 10, 10, 0, 10 * NSEC_PER_SEC},
        {"few", 40, false, 10 * NSEC_PER_SEC, 60, 10, 20, 0, NSEC_PER_SEC},
        {"some, and asked often", 2000, true, 3600 * NSEC_PER_SEC, 40, 10, 45, 0, 60 * NSEC_PER_SEC},
        {"put off, seldom due", 5000, false, 60 * NSEC_PER_SEC, 90, 4, 5, 0, NSEC_PER_SEC / 10},
        {"the past, too", 10000, true, YEAR, 45, 5, 45, 40, 100 * NSEC_PER_SEC},
        {"far and near", 10000, true, YEAR, 30, 5, 30, 0, 100000},
    };
    enum { OPS = 120000 };
    struct random r = random_start(5);
    (void)state;

    _Static_assert(sizeof loads / sizeof loads[0] * OPS >= 1000000, "a million at least");
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++)
        run_load(&loads[i], &r, OPS);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadlines_around_every_carry),
        cmocka_unit_test(rates_are_exact),
        cmocka_unit_test(a_jump_takes_all_that_is_due),
        cmocka_unit_test(the_ends_of_time),
        cmocka_unit_test(a_million_in_one_slot),
        cmocka_unit_test(stale_entries_are_swept),
        cmocka_unit_test(cancelling_in_order),
        cmocka_unit_test(asking_for_the_next_moves_nothing_far),
        cmocka_unit_test(deadlines_before_the_path),
        cmocka_unit_test(far_deadlines_go_down_and_up),
        cmocka_unit_test(a_slot_is_searched_anew),
        cmocka_unit_test(stamps_begin_anew),
        cmocka_unit_test(random_operations_at_every_density),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
