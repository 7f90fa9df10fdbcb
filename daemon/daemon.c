#include "daemon.h"

#include "control.h"
#include "durable.h"
#include "jobs.h"
#include "lateness.h"
#include "limits.h"
#include "loop.h"
#include "methods.h"
#include "notifier.h"
#include "places.h"
#include "reactions.h"
#include "reloader.h"
#include "reply.h"
#include "report.h"
#include "service.h"
#include "sink.h"
#include "text.h"
#include "waits.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/random.h>
#include <sys/select.h>
#include <syslog.h>
#include <unistd.h>

/* Connections of all users together. */
#define CONNECTIONS_MAX 512

/* Descriptors of a command that runs, and of all else besides connections, with some to spare. */
#define FILES_OF_ACTION 3
#define FILES_OF_OTHERS 96

/* Steps between two looks at everything else that the loop waits on: about a millisecond's worth. */
#define SLICE_STEPS 1024

/* Ticks of a slice that are timed by one look at the clock: even when each writes a line, they take some 20 us. */
#define TIMED_TOGETHER 8

/* How long the last lines may take to reach the log when the daemon ends. */
#define GOODBYE_MS 2000

/* How long a killed command is waited for when the daemon ends: one that the kernel does not let go. */
#define KILLED_SPAN (2 * NSEC_PER_SEC)

/* ... and how long the last changes may take to reach the disk; systemd waits for 20 s in all. */
#define LAST_COMMIT_MS 10000

struct daemon {
    struct daemon_options options;
    struct daemon_settings settings; // in force, but for what only a restart changes
    struct spec_draft defaults;
    struct actions actions;
    struct daemon_settings begun; // those in force from the start on that only a restart changes
    struct service *service;
    struct loop *loop;
    struct sink *sink;
    struct report *report;
    struct jobs *jobs;
    struct durable *durable; // NULL: nothing is kept over a restart
    struct waits *waits;
    struct reactions *reactions;
    struct methods *methods;
    struct control *control;
    struct reloader *reloader;
    int64_t start;
    pid_t pid;
    struct lateness lateness; // of all ticks
    int64_t tick_time;        // the clock as last read in this slice
    unsigned timed;           // ticks since then
    struct notifier notifier;
    const char *stop;    // why it ends; NULL: it does not
    char stopped_by[24]; // " uid=1000", if somebody asked for it
    bool ending;         // only commands are waited for
    int64_t give_up;     // so long
};

/* Stopping and waking. */

/* `why` is a literal. The first reason counts. */
static void stop(struct daemon *d, const char *why)
{
    if (d->stop != NULL)
        return;
    d->stop = why;
    if (loop_stop(d->loop) < 0)
        report_daemon(d->report, LOG_CRIT, "exit", "error=\"the loop cannot be stopped\"");
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Has every job ended that is not in the background, and all that follows from it? */
static bool is_done(const struct daemon *d)
{
    return jobs_done(d->jobs) && !waits_busy(d->waits) && !reloader_under_way(d->reloader) &&
           reactions_idle(d->reactions, true);
}

/* What the daemon waits for when it does not run jobs any more. */
static int64_t settle_end(struct daemon *d)
{
    if (d->ending && (reactions_idle(d->reactions, false) || loop_now(d->loop) >= d->give_up))
        loop_stop(d->loop);
    return d->give_up;
}

static int64_t settle_jobs(struct daemon *d)
{
    int64_t wake = TIME_NEVER;

    bool more = jobs_trim(d->jobs);
    if (d->settings.exit_when_done && is_done(d))
        stop(d, "done");
    jobs_next_due(d->jobs, &wake, NULL);
    if (more || (methods_busy(d->methods) && !durable_is_full(d->durable)) || waits_busy(d->waits) ||
        reloader_busy(d->reloader))
        wake = d->start; // at once, after what else is ready
    return earlier(wake, notifier_line_due(&d->notifier));
}

/* After anything happened: see whether everything is done, and say when the loop has to wake next. */
static void settle(struct daemon *d)
{
    int64_t wake = d->stop != NULL ? settle_end(d) : settle_jobs(d);

    durable_submit(d->durable);
    if (durable_busy(d->durable))
        wake = d->start;
    control_choke(d->control, durable_is_full(d->durable));
    wake = earlier(wake, MAX(reactions_due(d->reactions), d->start));
    wake = earlier(wake, report_due(d->report));
    wake = earlier(wake, notifier_watchdog_due(&d->notifier));
    loop_wake_at(d->loop, wake);
}

static void run_jobs(struct daemon *d, int64_t now)
{
    d->tick_time = now;
    d->timed = 0;
    durable_begin_step(d->durable, now);
    jobs_run_due(d->jobs, now, SLICE_STEPS);
    durable_end_step(d->durable, now);
    if (!reloader_busy(d->reloader)) // jobs that are waited for may be still to come
        waits_work(d->waits, now);
    if (!durable_is_full(d->durable))
        methods_work(d->methods);
    reloader_work(d->reloader, now);
    if (reloader_busy(d->reloader))
        methods_reload_step(d->methods);
}

static void on_wake(void *ctx, int64_t now)
{
    struct daemon *d = ctx;

    if (d->stop == NULL)
        run_jobs(d, now);
    durable_work(d->durable);
    if (reactions_due(d->reactions) <= now)
        reactions_work(d->reactions, now);
    if (report_due(d->report) <= now)
        report_flush(d->report, now);
    notifier_work(&d->notifier, durable_degraded(d->durable), now);
    settle(d);
}

static void on_log_ready(void *ctx)
{
    struct daemon *d = ctx;

    report_flush(d->report, loop_now(d->loop));
    settle(d);
}

/* Not by ev->at, which is when the slice began: what the ticks before it in the slice took makes it late as well. */
static void time_tick(struct daemon *d, const struct job_event *ev)
{
    if (++d->timed > TIMED_TOGETHER) {
        d->tick_time = loop_now(d->loop);
        d->timed = 1;
    }
    lateness_add(&d->lateness, MAX(d->tick_time - ev->due, 0));
}

/* The loop puts no wake off so far that a job would miss a tick. */
static void keep_pace(struct daemon *d, const struct job *job)
{
    if (rate_is_faster(job_rate(job), loop_quick_below(d->loop)))
        loop_note_quick(d->loop, rate_interval(job_rate(job)), job_due(job));
}

static void on_job_event(void *ctx, struct job *job, const struct job_event *ev)
{
    struct daemon *d = ctx;

    if (ev->type == EVENT_TICK || (ev->type == EVENT_FINISH && job_kind(job) == JOB_ONCE))
        time_tick(d, ev);
    notifier_note(&d->notifier);
    keep_pace(d, job);
    report_job(d->report, job, ev);
    durable_event(d->durable, job, ev);
    methods_job_event(d->methods, job, ev);
    if (!waits_job_event(d->waits, job, ev))
        report_daemon(d->report, LOG_CRIT, "failed", "job=%s error=\"no memory to have it wait; reset it\"",
                      job_name(job));
    reactions_job_event(d->reactions, job, ev);
}

static void on_action_failed(void *ctx, const struct report_run *run, const struct report_failure *failure)
{
    struct daemon *d = ctx;

    methods_action_failed(d->methods, run, failure);
}

static void on_actions_changed(void *ctx)
{
    struct daemon *d = ctx;

    settle(d);
}

static void on_job_changed(void *ctx, struct job *job)
{
    const struct daemon *d = ctx;

    durable_changed(d->durable, job);
}

static void on_job_removed(void *ctx, struct job *job)
{
    struct daemon *d = ctx;

    report_forget(d->report, job);
    durable_removed(d->durable, job);
    waits_forget(d->waits, job);
}

/* Reload */

/* The command line goes before the configuration. */
static void apply_options(const struct daemon_options *options, struct daemon_settings *settings)
{
    if (options->target != NULL)
        settings->log_target = *options->target;
    if (options->level != NULL)
        settings->log_level = *options->level;
    if (options->backend != NULL)
        settings->backend = *options->backend;
}

static void configure(struct daemon *d)
{
    jobs_configure(d->jobs, d->settings.max_jobs, d->settings.keep_ended);
    loop_set_accuracy(d->loop, d->settings.accuracy);
    report_configure(d->report, &(struct report_config){d->settings.log_level, d->settings.report_limit});
    control_configure(d->control, d->settings.max_connections);
}

/*
 * The settings that reactions have: as many actions at a time as there can be descriptors for. The others wait in line,
 * where they would fail otherwise. select(2) has no number from FD_SETSIZE on.
 */
static struct daemon_settings settings_that_fit(struct daemon *d)
{
    struct daemon_settings fit = d->settings;
    const uint64_t others = CONNECTIONS_MAX + FILES_OF_OTHERS;
    const uint64_t wanted = others + (uint64_t)FILES_OF_ACTION * fit.max_actions;
    const uint64_t files = limits_files(wanted, d->begun.backend == BACKEND_SELECT ? FD_SETSIZE : UINT64_MAX);

    if (files >= wanted)
        return fit;
    fit.max_actions = (uint32_t)MAX((files - MIN(files, others)) / FILES_OF_ACTION, 1);
    report_daemon(d->report, LOG_WARNING, "limit", "max-actions=%u files=%llu wanted=%llu", fit.max_actions,
                  (unsigned long long)files, (unsigned long long)wanted);
    return fit;
}

/* Take out of the config what it says besides its jobs. */
static void take_settings(struct daemon *d, struct config *config)
{
    d->settings = config->daemon;
    apply_options(&d->options, &d->settings);
    spec_draft_clear(&d->defaults);
    d->defaults = config->defaults;
    config->defaults = (struct spec_draft){0};
    actions_succeed(&config->actions, &d->actions);
    actions_clear(&d->actions);
    d->actions = config->actions;
    config->actions = (struct actions){0};
}

/* " restart-needed=backend,clock", or nothing. */
static const char *format_restart(const struct text_list *settings, char *buf, size_t size)
{
    size_t len = 0;

    buf[0] = '\0';
    for (size_t i = 0; i < settings->n; i++)
        len += (size_t)snprintf(buf + len, size - len, "%s%s", i == 0 ? " restart-needed=" : ",", settings->items[i]);
    return buf;
}

static void report_reload(struct daemon *d, int r, const struct reload_result *result)
{
    char text[512];

    if (r == 0) {
        report_daemon(d->report, LOG_NOTICE, "reload", "added=%zu changed=%zu removed=%zu unchanged=%zu%s",
                      result->n_added, result->n_changed, result->n_removed, result->unchanged,
                      format_restart(&result->restart_needed, text, sizeof text));
        return;
    }
    for (size_t i = 0; i < result->mistakes.n; i++) {
        text[0] = '\0';
        text_escape(text, sizeof text, 0, result->mistakes.items[i]);
        report_daemon(d->report, LOG_ERR, "reload", "error=\"%s\"", text);
    }
    if (r != -EINVAL)
        report_daemon(d->report, LOG_ERR, "reload", "error=\"%s\"", strerror(-r));
    report_daemon(d->report, LOG_ERR, "reload", "refused=%zu", MAX(result->mistakes.n, 1));
}

static void on_reload_begin(void *ctx)
{
    struct daemon *d = ctx;

    notifier_reloading(&d->notifier);
    methods_reload_begins(d->methods);
}

/* Jobs that are started from now on may name actions that are new with them. */
static void on_reload_apply(void *ctx, const struct config *config)
{
    const struct daemon *d = ctx;

    reactions_expect(d->reactions, &config->actions);
}

static void on_reload_end(void *ctx, int r, const struct reload_plan *plan, struct config *config,
                          const struct text_list *mistakes)
{
    struct daemon *d = ctx;
    struct reload_result result = {.mistakes = *mistakes};

    reactions_expect(d->reactions, NULL);
    if (r == 0) {
        take_settings(d, config);
        r = reload_describe(plan, &d->begun, &d->settings, &result);
    }
    if (r == 0) {
        const struct daemon_settings fit = settings_that_fit(d);
        r = reactions_configure(d->reactions, &fit);
    }
    configure(d); // also when it was broken off: with what was in force
    report_reload(d, r, &result);
    methods_reloaded(d->methods, r, &result);
    notifier_ready(&d->notifier, durable_degraded(d->durable));
    result.mistakes = (struct text_list){0};
    reload_result_clear(&result);
}

static void on_reload_ready(void *ctx)
{
    settle(ctx);
}

/* Who has asked for a reload is not left waiting by a daemon that ends. */
static void refuse_reload(struct daemon *d)
{
    struct reload_result result = {0};

    text_list_add(&result.mistakes, "the daemon ends: it does not read its configuration again");
    methods_reload_begins(d->methods);
    methods_reloaded(d->methods, -EINVAL, &result);
    reload_result_clear(&result);
}

static void on_reload(void *ctx)
{
    struct daemon *d = ctx;

    if (d->stop != NULL)
        refuse_reload(d);
    else
        reloader_ask(d->reloader);
}

/* Signals and the other hooks. */

static void on_signal(void *ctx, int signal_nr)
{
    struct daemon *d = ctx;

    if (signal_nr == SIGHUP)
        on_reload(d);
    else if (d->ending)
        reactions_stop(d->reactions, loop_now(d->loop)); // whoever says it twice does not want to wait
    else
        stop(d, signal_nr == SIGTERM ? "SIGTERM" : "SIGINT");
    settle(d);
}

static void on_shutdown(void *ctx, const struct peer *peer)
{
    struct daemon *d = ctx;

    snprintf(d->stopped_by, sizeof d->stopped_by, " uid=%u", peer->uid);
    stop(d, "shutdown");
}

static const struct spec_draft *on_defaults(void *ctx)
{
    const struct daemon *d = ctx;
    return &d->defaults;
}

static const struct actions *on_actions(void *ctx)
{
    const struct daemon *d = ctx;
    return &d->actions;
}

static void on_status(void *ctx, struct daemon_status *out)
{
    const struct daemon *d = ctx;
    struct sink_stats stats;

    sink_stats(d->sink, &stats);
    *out = (struct daemon_status){
        .configuration = d->options.config,
        .clock = loop_clock_name(d->begun.clock),
        .log_target = log_target_name(sink_target(d->sink)),
        .exit_when_done = d->settings.exit_when_done,
        .start = d->start,
        .pid = d->pid,
        .suppressed = report_suppressed(d->report),
        .log_lost = stats.lost,
        .actions = reactions_counts(d->reactions),
        .lateness = &d->lateness,
    };
}

static bool on_message(void *ctx, struct conn *conn, const char *text, size_t len)
{
    struct daemon *d = ctx;

    bool taken = methods_message(d->methods, conn, text, len);
    settle(d);
    return taken;
}

static void on_room(void *ctx, struct conn *conn)
{
    struct daemon *d = ctx;

    methods_room(d->methods, conn);
    settle(d);
}

static char *on_not_durable(void *ctx, const char *reason, bool in_force, size_t *len)
{
    (void)ctx;
    return reply_not_durable_message(reason, in_force, len);
}

static void on_durable(void *ctx, uint64_t upto, const char *error)
{
    struct daemon *d = ctx;

    if (d->control == NULL)
        return; // the daemon could not start
    notifier_note(&d->notifier);
    control_release(d->control, upto, error);
    if (d->stop == NULL)
        settle(d);
}

static char *on_refusal(void *ctx, uint32_t max_connections_uid, size_t *len)
{
    (void)ctx;
    return methods_refusal(max_connections_uid, len);
}

static void on_closed(void *ctx, struct conn *conn)
{
    struct daemon *d = ctx;

    methods_closed(d->methods, conn);
    if (d->stop == NULL)
        settle(d);
}

/* Building: each part in turn, with a line for the user where one can fail for an outside reason. */

static int make_loop(struct daemon *d, char *why, size_t size)
{
    const struct daemon_settings *settings = &d->settings;
    const struct loop_hooks hooks = {.wake = on_wake, .signal = on_signal, .ctx = d};

    d->service = service_new();
    if (d->service == NULL)
        return text_explain(why, size, -ENOMEM, "out of memory");
    int r = loop_new(settings->backend, settings->clock, &hooks, &d->loop);
    if (r < 0)
        return text_explain(why, size, r, "cannot make an event loop with backend %s: %s",
                            loop_backend_name(settings->backend), strerror(-r));
    loop_set_accuracy(d->loop, settings->accuracy);
    d->pid = getpid(); // once: it is a system call
    d->start = loop_now(d->loop);
    return 0;
}

static int make_log(struct daemon *d, char *why, size_t size)
{
    const struct daemon_settings *settings = &d->settings;
    const struct sink_paths paths = {getenv("TWISTYD_JOURNAL_SOCKET"), getenv("TWISTYD_SYSLOG_SOCKET")};

    int r = sink_open(settings->log_target, &paths, loop_watches(d->loop), on_log_ready, d, &d->sink);
    if (r < 0)
        return text_explain(why, size, r, "cannot log to %s: %s; choose another with --log-target",
                            log_target_name(settings->log_target), strerror(-r));
    d->report = report_new(d->sink, &(struct report_config){settings->log_level, settings->report_limit});
    return d->report == NULL ? text_explain(why, size, -ENOMEM, "out of memory") : 0;
}

/* The state file: as configured, or else where the service manager says; NULL: none. */
static const char *state_path(const struct daemon_settings *settings, char *buf, size_t size)
{
    if (strcmp(settings->state, STATE_NONE) == 0)
        return NULL;
    if (settings->state[0] != '\0')
        return settings->state;
    return places_state(buf, size) ? buf : NULL;
}

static int open_state(struct daemon *d, char *why, size_t size)
{
    const struct durable_hooks hooks = {.done = on_durable, .ctx = d};
    char buf[PATH_MAX];
    const char *path = state_path(&d->settings, buf, sizeof buf);

    if (path == NULL)
        return 0;
    return durable_open(path, d->settings.clock, d->jobs, d->loop, d->report, &hooks, &d->durable, why, size);
}

/* The disk has its time to take the last changes; the jobs stop for this process only, and are not touched there. */
static void close_state(struct daemon *d)
{
    durable_close(d->durable, LAST_COMMIT_MS);
    d->durable = NULL;
}

static int make_jobs(struct daemon *d, char *why, size_t size)
{
    const struct jobs_hooks hooks = {
        .event = on_job_event, .changed = on_job_changed, .removed = on_job_removed, .ctx = d};
    const struct methods_hooks methods_hooks = {.status = on_status,
                                                .reload = on_reload,
                                                .shutdown = on_shutdown,
                                                .defaults = on_defaults,
                                                .actions = on_actions,
                                                .ctx = d};
    struct jobs_config config = {.max_jobs = d->settings.max_jobs, .keep_ended = d->settings.keep_ended};

    if (getrandom(config.seed, sizeof config.seed, 0) != sizeof config.seed)
        return text_explain(why, size, -errno, "cannot get random numbers: %s", strerror(errno));
    d->jobs = jobs_new(&config, &hooks);
    d->waits = d->jobs == NULL ? NULL : waits_new(d->jobs);
    if (d->waits == NULL)
        return text_explain(why, size, -ENOMEM, "out of memory");
    int r = open_state(d, why, size);
    if (r < 0)
        return r;
    if (!waits_take_up(d->waits))
        return text_explain(why, size, -ENOMEM, "out of memory");
    d->methods = methods_new(d->jobs, d->loop, d->durable, &methods_hooks);
    return d->methods == NULL ? text_explain(why, size, -ENOMEM, "out of memory") : 0;
}

static int make_reactions(struct daemon *d, char *why, size_t size)
{
    const struct reactions_hooks hooks = {.failed = on_action_failed, .changed = on_actions_changed, .ctx = d};
    const struct daemon_settings fit = settings_that_fit(d);

    int r = reactions_new(d->jobs, d->loop, d->report, &fit, &d->actions, &hooks, &d->reactions);
    return r < 0 ? text_explain(why, size, r, "cannot get ready to run actions: %s", strerror(-r)) : 0;
}

/* The socket that the service manager passed, or else the place for one of our own. */
static int find_socket(const struct daemon *d, struct control_config *config, char *path, size_t path_size, char *why,
                       size_t size)
{
    config->path = d->options.socket != NULL ? d->options.socket : path;
    config->listen_fd = service_listen_fd(d->service);
    if (config->listen_fd >= 0)
        return 0;
    if (config->listen_fd != -ENOENT)
        return text_explain(why, size, config->listen_fd,
                            "the service manager passed something else than one listening Unix stream socket");
    config->listen_fd = -1;
    int r = d->options.socket != NULL ? 0 : places_socket(path, path_size);
    if (r < 0)
        return text_explain(why, size, r, "no place for the control socket: %s; name one with --socket",
                            r == -ENOENT ? "$XDG_RUNTIME_DIR is not set" : "the path is too long");
    return 0;
}

static int make_control(struct daemon *d, char *why, size_t size)
{
    const struct control_hooks hooks = {.message = on_message,
                                        .room = on_room,
                                        .refusal = on_refusal,
                                        .not_durable = on_not_durable,
                                        .closed = on_closed,
                                        .ctx = d};
    struct control_config config = {.max_connections = CONNECTIONS_MAX,
                                    .max_connections_uid = d->settings.max_connections};
    char path[512] = "";

    int r = find_socket(d, &config, path, sizeof path, why, size);
    if (r < 0)
        return r;
    r = control_open(&config, loop_watches(d->loop), &hooks, &d->control, why, size);
    if (r == 0)
        methods_serve(d->methods, d->control);
    return r;
}

static int start_jobs(struct daemon *d, struct config *config, char *why, size_t size)
{
    const struct reloader_hooks hooks = {
        .begin = on_reload_begin, .apply = on_reload_apply, .end = on_reload_end, .ready = on_reload_ready, .ctx = d};
    size_t n = config->n_jobs;

    d->reloader = reloader_new(d->options.config, d->jobs, loop_watches(d->loop), &hooks);
    if (d->reloader == NULL) {
        config_free(config);
        return text_explain(why, size, -ENOMEM, "out of memory");
    }
    int r = reloader_start(d->reloader, config, loop_now(d->loop));
    if (r == -ENOSPC)
        text_explain(why, size, r, "%zu jobs are configured, and max-jobs is %u", n, d->settings.max_jobs);
    else if (r < 0)
        text_explain(why, size, r, "cannot start the jobs: %s", strerror(-r));
    return r;
}

int daemon_new(const struct daemon_options *options, struct config *config, struct daemon **out, char *why, size_t size)
{
    struct daemon *d = calloc(1, sizeof *d);
    if (d == NULL) {
        config_free(config);
        return text_explain(why, size, -ENOMEM, "out of memory");
    }
    d->options = *options;
    take_settings(d, config);
    d->begun = d->settings;
    int r = make_loop(d, why, size);
    if (r == 0)
        r = make_log(d, why, size);
    if (r == 0)
        r = make_jobs(d, why, size);
    if (r == 0)
        r = make_reactions(d, why, size);
    if (r == 0)
        r = make_control(d, why, size);
    if (r == 0)
        r = start_jobs(d, config, why, size);
    else
        config_free(config);
    if (r < 0) {
        daemon_free(d);
        return r;
    }
    notifier_init(&d->notifier, d->service, d->loop, d->jobs);
    *out = d;
    return 0;
}

/* Nothing is started any more; what runs is told to end, and has its time for that. */
static int end_actions(struct daemon *d)
{
    int64_t now = loop_now(d->loop);

    notifier_stopping(&d->notifier);
    reactions_stop(d->reactions, now);
    if (reactions_idle(d->reactions, false))
        return 0;
    d->ending = true;
    d->give_up = now + d->settings.stop_timeout + KILLED_SPAN;
    settle(d);
    return loop_run(d->loop);
}

/* Each job's last state, then why the daemon ends. */
static void say_goodbye(struct daemon *d)
{
    struct jobs_counts counts;
    struct jobs_cursor cursor;
    struct job *job;
    int64_t now = loop_now(d->loop), deadline = sink_deadline(GOODBYE_MS);
    char elapsed[QUANTITY_TEXT_MAX];

    jobs_counts(d->jobs, &counts);
    jobs_begin(d->jobs, &cursor);
    while ((job = jobs_next(&cursor)) != NULL)
        if (jobs_stop(d->jobs, job, now, "shutdown") == 0)
            sink_make_room(d->sink, deadline);
    jobs_end(&cursor);
    span_format((now - d->start) / NSEC_PER_MSEC * NSEC_PER_MSEC, elapsed, sizeof elapsed);
    const char *quote = strchr(elapsed, ' ') != NULL ? "\"" : "";
    report_daemon(d->report, LOG_NOTICE, "exit", "why=%s%s jobs=%llu stopped=%u uptime=%s%s%s", d->stop, d->stopped_by,
                  (unsigned long long)counts.ever, counts.live, quote, elapsed, quote);
    methods_exit(d->methods, d->stop);
}

int daemon_run(struct daemon *d)
{
    struct jobs_counts counts;
    char restored[32] = "";

    jobs_counts(d->jobs, &counts);
    if (d->durable != NULL)
        snprintf(restored, sizeof restored, " restored=%llu", (unsigned long long)durable_restored(d->durable));
    report_daemon(d->report, LOG_NOTICE, "ready", "version=%s pid=%ld jobs=%u%s backend=%s socket=%s", TWISTY_VERSION,
                  (long)d->pid, counts.live, restored, loop_backend(d->loop), control_path(d->control));
    notifier_ready(&d->notifier, durable_degraded(d->durable));
    settle(d);
    int r = d->stop != NULL ? 0 : loop_run(d->loop);
    if (r < 0)
        stop(d, "loop-failed");
    else
        r = end_actions(d);
    if (reloader_under_way(d->reloader))
        refuse_reload(d);
    control_last_turn(d->control);
    close_state(d);
    say_goodbye(d);
    return r;
}

void daemon_free(struct daemon *d)
{
    if (d == NULL)
        return;
    close_state(d);
    control_close(d->control);
    reloader_free(d->reloader);
    methods_free(d->methods); // its walks stand in the jobs
    reactions_free(d->reactions);
    jobs_free(d->jobs);
    waits_free(d->waits);
    report_free(d->report);
    sink_close(d->sink, GOODBYE_MS);
    loop_free(d->loop);
    service_free(d->service);
    actions_clear(&d->actions);
    spec_draft_clear(&d->defaults);
    free(d);
}
