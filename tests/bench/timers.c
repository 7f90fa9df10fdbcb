#include "timers.h"

#include "tests/unit/random.h"
#include "virtual_clock.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#define NSEC_PER_SEC (1000 * NSEC_PER_MSEC)

uint64_t timers_ticks;

static struct timer_load load;

struct options {
    uint32_t timers;
    bool distinct;
    int64_t warm_up, span;
};

/* Mixed: one of ten, from 1 s to 60 s. Distinct: each timer has its own, from 1 s to 10 s. */
static int64_t draw_interval(const struct options *o, struct random *r, uint32_t i)
{
    static const int64_t seconds[] = {1, 2, 3, 5, 7, 10, 15, 20, 30, 60};

    if (!o->distinct)
        return seconds[random_below(r, sizeof seconds / sizeof seconds[0])] * NSEC_PER_SEC;
    return NSEC_PER_SEC + (int64_t)i * (9 * NSEC_PER_SEC / o->timers);
}

static int make_load(const struct options *o)
{
    struct random r = random_start(1);

    load.n = o->timers;
    load.interval = calloc(load.n, sizeof *load.interval);
    load.first = calloc(load.n, sizeof *load.first);
    if (load.interval == NULL || load.first == NULL)
        return -1;
    for (uint32_t i = 0; i < load.n; i++)
        load.interval[i] = draw_interval(o, &r, i);
    for (uint32_t i = load.n - 1; i > 0; i--) { // neighbours in memory are not to be neighbours in time
        uint32_t j = (uint32_t)random_below(&r, i + 1);
        int64_t interval = load.interval[i];
        load.interval[i] = load.interval[j];
        load.interval[j] = interval;
    }
    for (uint32_t i = 0; i < load.n; i++)
        load.first[i] = random_between(&r, 1, load.interval[i]);
    return 0;
}

/* How many ticks there are in (from, to], times from the start. */
static uint64_t expected_ticks(int64_t from, int64_t to)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < load.n; i++) {
        int64_t before = from < load.first[i] ? 0 : (from - load.first[i]) / load.interval[i] + 1;
        int64_t after = to < load.first[i] ? 0 : (to - load.first[i]) / load.interval[i] + 1;
        n += (uint64_t)(after - before);
    }
    return n;
}

/* A function of its own, and not left by a jump, for callgrind's --toggle-collect. */
__attribute__((noinline)) static void measured_run(void)
{
    timers_driver.run();
    __asm__ volatile("");
}

static int run(const struct options *o)
{
    if (make_load(o) < 0)
        return -1;
    int64_t start = virtual_now();
    if (timers_driver.start(&load) < 0)
        return -1;
    virtual_stop_at(start + o->warm_up, timers_driver.stop);
    timers_driver.run();

    int64_t from = virtual_now();
    uint64_t polls = virtual_polls();
    timers_ticks = 0;
    virtual_stop_at(from + o->span, timers_driver.stop);
    clock_t cpu = clock();
    measured_run();
    cpu = clock() - cpu;
    printf("{\"program\": \"%s\", \"timers\": %" PRIu32 ", \"mix\": \"%s\", \"cpu_us\": %ld, \"ticks\": %" PRIu64
           ", \"expected\": %" PRIu64 ", \"polls\": %" PRIu64 "}\n",
           timers_driver.name, o->timers, o->distinct ? "distinct" : "mixed", (long)cpu, timers_ticks,
           expected_ticks(from - start, virtual_now() - start), virtual_polls() - polls);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"timers", required_argument, NULL, 'n'},
        {"distinct", no_argument, NULL, 'd'},
        {"warm-up", required_argument, NULL, 'w'},
        {"span", required_argument, NULL, 's'},
        {0},
    };
    struct options o = {.timers = 1000, .warm_up = 1000 * NSEC_PER_MSEC, .span = 1000 * NSEC_PER_MSEC};
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'n':
            o.timers = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            o.distinct = true;
            break;
        case 'w':
            o.warm_up = strtol(optarg, NULL, 10) * NSEC_PER_MSEC;
            break;
        case 's':
            o.span = strtol(optarg, NULL, 10) * NSEC_PER_MSEC;
            break;
        default:
            return 2;
        }
    }
    return run(&o) < 0;
}
