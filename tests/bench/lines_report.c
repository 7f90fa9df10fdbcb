/* Our own: jobs, report and sink, wired as the daemon wires them. Built twice, for syslog and for the journal. */
#include "daemon/jobs.h"
#include "daemon/report.h"
#include "daemon/text.h"
#include "daemon/watch.h"
#include "lines.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#ifdef LINES_JOURNAL
#define TARGET LOG_TARGET_JOURNAL
#else
#define TARGET LOG_TARGET_SYSLOG
#endif

#define T0 (1000 * NSEC_PER_SEC)

static struct event_base *base;
static struct sink *sink;
static struct report *report;
static struct jobs *jobs;
static int64_t now = T0;

static void on_ready(void *ctx)
{
    (void)ctx;
    report_flush(report, now);
}

static void on_event(void *ctx, struct job *job, const struct job_event *ev)
{
    (void)ctx;
    if (ev->type != EVENT_START)
        report_job(report, job, ev);
}

static void on_removed(void *ctx, struct job *job)
{
    (void)ctx;
    report_forget(report, job);
}

static int add_job(unsigned number)
{
    char name[NAME_LEN_MAX + 1];
    struct job_spec spec = {
        .kind = JOB_COUNTDOWN,
        .rate = rate_from_interval(LINES_JOBS / LINES_BURST * NSEC_PER_MSEC),
        .count = LINES_COUNT,
        .delay = number / LINES_BURST * NSEC_PER_MSEC,
    };
    struct jobs_add add = {.specs = &spec, .n = 1};
    size_t failed;

    snprintf(name, sizeof name, LINES_NAME, number);
    spec.name = strdup(name);
    return spec.name == NULL ? -1 : jobs_add(jobs, &add, T0, NULL, &failed);
}

static int start(const char *receiver)
{
    const struct sink_paths paths = {.journal = receiver, .syslog = receiver};
    const struct jobs_config config = {.max_jobs = LINES_JOBS};
    const struct jobs_hooks hooks = {.event = on_event, .removed = on_removed};
    int r;

    base = event_base_new();
    r = sink_open(TARGET, &paths, watch_set_new(base), on_ready, NULL, &sink);
    if (r < 0)
        return -1;
    report = report_new(sink, &(struct report_config){.log_level = LOG_INFO});
    jobs = jobs_new(&config, &hooks);
    if (report == NULL || jobs == NULL)
        return -1;
    for (unsigned i = 0; i < LINES_JOBS; i++)
        if (add_job(i) < 0)
            return -1;
    return 0;
}

/* When the receiver takes no more, the loop waits until it does, and what is kept goes. */
static void burst(unsigned millisecond)
{
    struct sink_stats stats;

    now = T0 + millisecond * NSEC_PER_MSEC;
    jobs_run_due(jobs, now, LINES_BURST);
    for (sink_stats(sink, &stats); stats.stuck; sink_stats(sink, &stats))
        event_base_loop(base, EVLOOP_ONCE);
}

const struct lines_driver lines_driver = {.name = "report", .start = start, .burst = burst};
