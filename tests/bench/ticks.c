#include "ticks.h"

#include "daemon/lateness.h"

#include <stdio.h>
#include <string.h>
#include <sys/param.h>

#define INTERVALS_MAX 16

struct options {
    uint32_t timers;
    int64_t intervals[INTERVALS_MAX];
    unsigned n_intervals;
    int64_t hold; // from the start until the load begins: time to set the timers
    int64_t span; // from then to the end
};

static struct {
    clock_t cpu; // when it began
    struct lateness lateness;
    uint64_t early; // by more than a microsecond
    int64_t earliest;
} counted;

/* The first tick begins the count of CPU time: nothing is due before the load begins. */
int64_t ticks_tick(struct ticks_timer *timer)
{
    int64_t now = ticks_now(), late = now - timer->due;

    if (counted.cpu < 0)
        counted.cpu = clock();
    counted.early += late < -1000;
    counted.earliest = MAX(counted.earliest, -late);
    lateness_add(&counted.lateness, MAX(late, 0));
    timer->due += timer->interval;
    return now;
}

static struct ticks_timer *make_timers(const struct options *o, int64_t begin)
{
    struct ticks_timer *timers = calloc(o->timers, sizeof *timers);

    for (uint32_t i = 0; timers != NULL && i < o->timers; i++) {
        double spread = i * 0.6180339887498949;
        int64_t interval = o->intervals[i % o->n_intervals];
        timers[i].interval = interval;
        timers[i].due = begin + (int64_t)((spread - (double)(int64_t)spread) * (double)interval);
    }
    return timers;
}

static int run(const struct options *o)
{
    int64_t begin = ticks_now() + o->hold, end = begin + o->span;
    struct ticks_timer *timers = make_timers(o, begin);

    counted.cpu = -1;
    if (timers == NULL || ticks_driver.start(timers, o->timers, end) < 0)
        return -1;
    if (ticks_now() >= begin) {
        fputs("the timers were not set before the load began\n", stderr);
        return -1;
    }
    ticks_driver.run();
    clock_t cpu = clock() - counted.cpu;
    printf("{\"ticks\": %llu, \"cpu_ns\": %lld, \"p50\": %lld, \"p99\": %lld, \"max\": %lld, \"early\": %llu, "
           "\"earliest\": %lld}\n",
           (unsigned long long)counted.lateness.n, (long long)cpu * 1000,
           (long long)lateness_within(&counted.lateness, 50), (long long)lateness_within(&counted.lateness, 99),
           (long long)counted.lateness.max, (unsigned long long)counted.early, (long long)counted.earliest);
    return 0;
}

static void parse_intervals(char *text, struct options *o)
{
    o->n_intervals = 0;
    for (char *word = strtok(text, ","); word != NULL && o->n_intervals < INTERVALS_MAX; word = strtok(NULL, ","))
        o->intervals[o->n_intervals++] = strtol(word, NULL, 10) * NSEC_PER_MSEC;
}

/* Arguments: timers, intervals in ms "10,20", hold in ms, span in ms. */
int main(int argc, char **argv)
{
    struct options o = {0};

    if (argc != 5)
        return 2;
    o.timers = (uint32_t)strtoul(argv[1], NULL, 10);
    parse_intervals(argv[2], &o);
    o.hold = strtol(argv[3], NULL, 10) * NSEC_PER_MSEC;
    o.span = strtol(argv[4], NULL, 10) * NSEC_PER_MSEC;
    return o.timers == 0 || o.n_intervals == 0 || run(&o) < 0;
}
