/* The schedule against a table that is searched from end to end. */
#include "daemon/sched.h"
#include "tests/unit/random.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HANDLES_MAX 200

/* The oracle: what sched.h promises, done in the dumbest way. */
struct table {
    struct {
        bool set;
        int64_t due;
        uint64_t order;
    } row[HANDLES_MAX];
    uint32_t n;
    uint64_t order;
};

static void table_set(struct table *t, uint32_t handle, int64_t due)
{
    t->row[handle].set = true;
    t->row[handle].due = due;
    t->row[handle].order = t->order++;
}

static bool table_next(const struct table *t, int64_t *due, uint32_t *handle)
{
    uint32_t best = t->n;

    for (uint32_t i = 0; i < t->n; i++) {
        if (!t->row[i].set)
            continue;
        if (best == t->n || t->row[i].due < t->row[best].due ||
            (t->row[i].due == t->row[best].due && t->row[i].order < t->row[best].order))
            best = i;
    }
    if (best == t->n)
        return false;
    *due = t->row[best].due;
    *handle = best;
    return true;
}

static size_t table_count(const struct table *t)
{
    size_t n = 0;

    for (uint32_t i = 0; i < t->n; i++)
        n += t->row[i].set;
    return n;
}

/* What kind of load a round makes. Weights are out of 100; what is left over pops. */
struct shape {
    const char *name;
    uint32_t handles;
    int64_t times;          // deadlines are drawn from so many different ones: few make many equal ones
    unsigned set, cancel;   // weights
    int64_t step;           // how far time goes on at a pop, at most
    bool keeps_distance_up; // deadlines are taken from now on, not from the beginning of time
};

static void check_next(const struct shape *shape, int op, struct sched *s, const struct table *t)
{
    int64_t due = -1, expected_due = -1;
    uint32_t handle = 0, expected = 0;
    bool any = sched_next(s, &due, &handle);

    if (any != table_next(t, &expected_due, &expected) || due != expected_due || handle != expected)
        fail_msg("%s, operation %d: next is %" PRIu32 " at %" PRId64 " instead of %" PRIu32 " at %" PRId64, shape->name,
                 op, handle, due, expected, expected_due);
}

static void pop_all_due(const struct shape *shape, int op, struct sched *s, struct table *t, int64_t now)
{
    uint32_t handle = 0, expected = 0;
    int64_t due;

    while (table_next(t, &due, &expected) && due <= now) {
        if (!sched_pop_due(s, now, &handle) || handle != expected)
            fail_msg("%s, operation %d: %" PRIu32 " came out instead of %" PRIu32, shape->name, op, handle, expected);
        t->row[expected].set = false;
    }
    if (sched_pop_due(s, now, &handle))
        fail_msg("%s, operation %d: %" PRIu32 " came out although it is not due", shape->name, op, handle);
}

static void run_shape(const struct shape *shape, struct random *r, int ops)
{
    struct table t = {.n = shape->handles};
    struct sched *s = sched_new();
    int64_t now = 0;

    assert_non_null(s);
    assert_int_equal(sched_reserve(s, shape->handles), 0);
    for (int op = 0; op < ops; op++) {
        uint32_t handle = (uint32_t)random_below(r, shape->handles);
        uint64_t what = random_below(r, 100);
        if (what < shape->set) {
            int64_t due = (shape->keeps_distance_up ? now : 0) + random_between(r, -1, shape->times);
            sched_set(s, handle, due);
            table_set(&t, handle, due);
        } else if (what < shape->set + shape->cancel) {
            sched_cancel(s, handle);
            t.row[handle].set = false;
        } else {
            now =
                shape->keeps_distance_up ? now + random_between(r, 0, shape->step) : random_between(r, -2, shape->step);
            pop_all_due(shape, op, s, &t, now);
        }
        check_next(shape, op, s, &t);
    }
    assert_int_equal(sched_count(s), table_count(&t));
    pop_all_due(shape, ops, s, &t, INT64_MAX);
    assert_int_equal(sched_count(s), 0);
    sched_free(s);
}

static void a_million_random_operations(void **state)
{
    static const struct shape shapes[] = {
        {"all at one time", 64, 1, 60, 30, 1, false},
        {"few times", 100, 10, 60, 20, 4, false},
        {"many times", 128, 1000000, 50, 30, 500000, false},
        {"time goes on", 200, 1000, 60, 10, 20, true},
        {"a full heap", HANDLES_MAX, 100, 95, 4, 10, true},
        {"an empty heap", 5, 50, 40, 20, 100, true},
        {"one handle", 1, 5, 50, 20, 5, false},
        {"far apart", 64, INT64_MAX / 2, 50, 30, INT64_MAX / 4, false},
    };
    enum { ROUNDS = 16, OPS = 10000 };
    struct random r = random_start(1);
    (void)state;

    _Static_assert(sizeof shapes / sizeof shapes[0] * ROUNDS * OPS >= 1000000, "a million at least");
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
            run_shape(&shapes[i], &r, OPS);
}

static void equal_deadlines_keep_their_order(void **state)
{
    struct sched *s = sched_new();
    uint32_t handle;
    (void)state;

    assert_non_null(s);
    assert_int_equal(sched_reserve(s, 1000), 0);
    for (uint32_t i = 0; i < 1000; i++)
        sched_set(s, (i * 7) % 1000, 5);
    sched_set(s, 0, 5); // set again: it is the last one now
    for (uint32_t i = 1; i < 1000; i++) {
        assert_true(sched_pop_due(s, 5, &handle));
        assert_int_equal(handle, (i * 7) % 1000);
    }
    assert_true(sched_pop_due(s, 5, &handle));
    assert_int_equal(handle, 0);
    sched_free(s);
}

static void room_grows_and_keeps_what_is_there(void **state)
{
    struct sched *s = sched_new();
    uint32_t handle;
    (void)state;

    assert_non_null(s);
    for (uint32_t n = 1; n <= 5000; n++) {
        assert_int_equal(sched_reserve(s, n), 0);
        sched_set(s, n - 1, -(int64_t)n);
    }
    assert_int_equal(sched_reserve(s, 1), 0);
    assert_int_equal(sched_count(s), 5000);
    for (uint32_t n = 5000; n > 0; n--) {
        assert_true(sched_pop_due(s, 0, &handle));
        assert_int_equal(handle, n - 1);
    }
    sched_free(s);
}

static void nothing_comes_from_an_empty_one(void **state)
{
    struct sched *s = sched_new();
    int64_t due = 1;
    uint32_t handle = 2;
    (void)state;

    assert_non_null(s);
    sched_cancel(s, 0); // beyond what is reserved: not there
    sched_cancel(s, UINT32_MAX);
    assert_false(sched_next(s, &due, &handle));
    assert_false(sched_pop_due(s, INT64_MAX, &handle));
    assert_true(due == 1 && handle == 2);
    assert_int_equal(sched_reserve(s, 1), 0);
    sched_set(s, 0, INT64_MIN);
    assert_true(sched_next(s, NULL, NULL));
    assert_true(sched_next(s, &due, NULL));
    assert_true(due == INT64_MIN);
    sched_free(s);
    sched_free(NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_million_random_operations),
        cmocka_unit_test(equal_deadlines_keep_their_order),
        cmocka_unit_test(room_grows_and_keeps_what_is_there),
        cmocka_unit_test(nothing_comes_from_an_empty_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
