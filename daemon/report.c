#include "report.h"

#include "line.h"
#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/queue.h>
#include <syslog.h>

/* Kept ticks that are written in one call. */
#define FLUSH_BATCH 256

/* A finish that is later than this says so. */
#define LATE_MIN NSEC_PER_SEC

/* A reason for the log, escaped. Longer ones are cut, so that a message behind it always has room. */
#define REASON_MAX 512

/* A line of an action's output, escaped. Longer ones are cut. */
#define OUTPUT_MAX 1500

/* The first are in the order of enum job_event_type, the others are the daemon's own. */
const struct report_event report_events[REPORT_EVENTS] = {
    [EVENT_START] = {"start", "e81e067805da476895a85fd2f087f858"},
    [EVENT_TICK] = {"tick", "544b28eafb9643578f9997fcf74f132e"},
    [EVENT_MISSED] = {"missed", "8253d38fb76148199f8957ac3ced6860"},
    [EVENT_FINISH] = {"finish", "c659576a4bd94cb084a8ed9fd814b2d6"},
    [EVENT_STOP] = {"stop", "8bf92b98d27e401f8ae39580dcc61a60"},
    [EVENT_PAUSE] = {"pause", "2c110253444c4ffb99257168b933f45a"},
    [EVENT_RESUME] = {"resume", "f46419fbeee14df0952dc3d18c1f23df"},
    [EVENT_RESET] = {"reset", "7433816da70449a595aa662288dd2764"},
    [EVENT_FAILED] = {"failed", "f1acb858ba424941bea6533e69cb28b5"},
    {"ready", "cbf5130ab07345579629225ae52d5a78"},
    {"state", "5bd2f1a64c7e4c0e9d3c8f1b7a90e2d4"},
    {"reload", "8828db013eca4cf2883e759a4550e66e"},
    {"exit", "44d0a1f2870e45ff836e624f8a6deda1"},
    {"action-failed", "b64381e002c24468aa4bafee0b60aac2"},
    {"output", "790e06619c68424da7139dcad50900f6"},
};

static const int priorities[] = {
    [EVENT_START] = LOG_NOTICE,  [EVENT_TICK] = LOG_INFO,    [EVENT_MISSED] = LOG_WARNING,
    [EVENT_FINISH] = LOG_NOTICE, [EVENT_STOP] = LOG_NOTICE,  [EVENT_PAUSE] = LOG_NOTICE,
    [EVENT_RESUME] = LOG_NOTICE, [EVENT_RESET] = LOG_NOTICE, [EVENT_FAILED] = LOG_ERR,
};

/* A tick that could not be written yet; the latest of its job, which stands for those before it. */
struct pending_tick {
    TAILQ_ENTRY(pending_tick) link; // report::pending
    struct job *job;
    struct job_event ev; // `missed` is the sum of all that it stands for
    uint64_t suppressed;
};

struct report {
    struct sink *sink;
    int log_level;
    int64_t tick_cost;         // nanoseconds of the limit that a tick line uses; 0: there is no limit
    int64_t used_until;        // the limit is used up to here: at most a second from now
    int64_t output_used_until; // the same for output
    bool blocked;              // the sink takes no ticks until it tells
    TAILQ_HEAD(pending_list, pending_tick) pending;
    uint64_t suppressed;
};

/* A line and its fields, and the memory of their values. */
struct composed {
    char text[SINK_LINE_MAX + 1];
    char id[24], left[24], count[24], missed[24], late[24];
    struct sink_record record;
};

static void add_number(struct line *line, const char *key, uint64_t n)
{
    line_text(line, key);
    line_number(line, n);
}

/* A value in quotes, at most `max` bytes of it. */
static void add_quoted(struct line *line, const char *key, const char *value, size_t max)
{
    line_text(line, key);
    line_text(line, "\"");
    line->len = text_escape(line->buf, MIN(line->size - 1, line->len + max + 1), line->len, value);
    line_text(line, "\"");
}

/* A value that needs quotes only sometimes. */
static void add_value(struct line *line, const char *key, const char *value)
{
    if (value[0] == '\0' || strpbrk(value, " =\"\\") || !text_printable(value)) {
        add_quoted(line, key, value, REASON_MAX);
        return;
    }
    line_text(line, key);
    line_text(line, value);
}

static void add_span(struct line *line, const char *key, int64_t ns)
{
    char buf[QUANTITY_TEXT_MAX];

    add_value(line, key, span_format(ns, buf, sizeof buf));
}

/* For people, so to the millisecond. */
static void add_span_rounded(struct line *line, const char *key, int64_t ns)
{
    add_span(line, key, (ns + NSEC_PER_MSEC / 2) / NSEC_PER_MSEC * NSEC_PER_MSEC);
}

/* Since the job was accepted or last reset. */
static void add_elapsed(struct line *line, const struct job *job, const struct job_event *ev)
{
    add_span_rounded(line, " elapsed=", MAX(ev->at - job->added, 0));
}

static void add_count(struct line *line, const struct job *job)
{
    if (job_count(job) != COUNT_FOREVER)
        add_number(line, " count=", job_count(job));
}

/* How far the job is: a countdown says what is left, a loop how often it has ticked. */
static void add_progress(struct line *line, const struct job *job, const struct job_event *ev)
{
    if (job_kind(job) == JOB_ONCE)
        return;
    if (job_kind(job) == JOB_COUNTDOWN)
        add_number(line, " left=", ev->left);
    else
        add_number(line, " tick=", ev->tick);
    add_count(line, job);
}

static void add_schedule(struct line *line, const struct job *job)
{
    char buf[QUANTITY_TEXT_MAX];

    add_value(line, " kind=", job_kind_name(job_kind(job)));
    if (job_kind(job) != JOB_ONCE) {
        add_count(line, job);
        add_value(line, " rate=", rate_format(job_rate(job), buf, sizeof buf));
        add_span(line, " interval=", rate_interval(job_rate(job)));
    }
    if (job->delay > 0)
        add_span(line, " delay=", job->delay);
    if (job_after(job) != NULL)
        add_value(line, " after=", job_after(job));
    line_text(line, job->source == SOURCE_CONFIG ? " source=config" : " source=control");
}

static void add_details(struct line *line, const struct job *job, const struct job_event *ev)
{
    switch (ev->type) {
    case EVENT_START:
        add_schedule(line, job);
        break;
    case EVENT_TICK:
        add_progress(line, job, ev);
        if (ev->missed > 0)
            add_number(line, " missed=", ev->missed);
        break;
    case EVENT_PAUSE:
    case EVENT_RESUME:
    case EVENT_RESET:
        add_progress(line, job, ev);
        break;
    case EVENT_MISSED:
        add_progress(line, job, ev);
        add_number(line, " missed=", ev->missed);
        break;
    case EVENT_FINISH:
        add_count(line, job);
        add_number(line, " missed=", ev->missed);
        add_elapsed(line, job, ev);
        if (ev->at - ev->due >= LATE_MIN)
            add_span(line, " late=", (ev->at - ev->due) / NSEC_PER_MSEC * NSEC_PER_MSEC);
        break;
    case EVENT_STOP:
    case EVENT_FAILED:
        add_progress(line, job, ev);
        add_number(line, " missed=", ev->missed);
        add_elapsed(line, job, ev);
        if (ev->why != NULL && ev->type == EVENT_STOP)
            add_value(line, " why=", ev->why);
        else if (ev->why != NULL)
            add_quoted(line, " reason=", ev->why, REASON_MAX);
        break;
    }
}

static void compose_line(struct composed *c, const struct job *job, const struct job_event *ev, uint64_t suppressed)
{
    struct line line = line_begin(c->text, sizeof c->text);

    line_text(&line, report_events[ev->type].word);
    line_text(&line, " job=");
    line_text(&line, job_name(job));
    add_number(&line, " id=", job->id);
    add_details(&line, job, ev);
    if (suppressed > 0)
        add_number(&line, " suppressed=", suppressed);
    if (job_message(job) != NULL)
        add_quoted(&line, " msg=", job_message(job), SINK_LINE_MAX);
    c->record.line = line.buf;
    c->record.len = line.len;
}

static void add_field(struct sink_record *record, const char *name, const char *value)
{
    record->fields[record->n_fields++] = (struct sink_field){name, value, strlen(value)};
}

static void add_number_field(struct sink_record *record, const char *name, char *buf, size_t size, uint64_t n)
{
    struct line line = line_begin(buf, size);

    line_number(&line, n);
    record->fields[record->n_fields++] = (struct sink_field){name, buf, line.len};
}

static void compose_fields(struct composed *c, const struct job *job, const struct job_event *ev)
{
    struct sink_record *record = &c->record;

    add_field(record, "TWISTY_EVENT", report_events[ev->type].word);
    add_field(record, "TWISTY_JOB", job_name(job));
    add_number_field(record, "TWISTY_ID", c->id, sizeof c->id, job->id);
    add_field(record, "TWISTY_KIND", job_kind_name(job_kind(job)));
    if (ev->left != COUNT_FOREVER)
        add_number_field(record, "TWISTY_LEFT", c->left, sizeof c->left, ev->left);
    if (job_count(job) != COUNT_FOREVER)
        add_number_field(record, "TWISTY_COUNT", c->count, sizeof c->count, job_count(job));
    add_number_field(record, "TWISTY_MISSED", c->missed, sizeof c->missed, ev->missed);
    if (ev->type == EVENT_TICK || ev->type == EVENT_FINISH) {
        uint64_t late = (uint64_t)(MAX(ev->at - ev->due, 0) / NSEC_PER_USEC);

        add_number_field(record, "TWISTY_LATE_USEC", c->late, sizeof c->late, late);
    }
}

/* A tick that comes late by whole intervals is worth a warning. */
static int priority_of(const struct job_event *ev)
{
    return ev->type == EVENT_TICK && ev->missed > 0 ? LOG_WARNING : priorities[ev->type];
}

static int write_event(struct report *r, const struct job *job, const struct job_event *ev, uint64_t suppressed,
                       bool keep)
{
    struct composed c;

    compose_line(&c, job, ev, suppressed);
    c.record.priority = priority_of(ev);
    c.record.message_id = report_events[ev->type].message_id;
    c.record.n_fields = 0;
    if (sink_target(r->sink) == LOG_TARGET_JOURNAL)
        compose_fields(&c, job, ev);
    return sink_write(r->sink, &c.record, keep);
}

static bool limit_allows(const struct report *r, int64_t used_until, int64_t now)
{
    return r->tick_cost == 0 || used_until <= now + NSEC_PER_SEC - r->tick_cost;
}

/* Write a tick unless it has to wait: false. */
static bool write_tick(struct report *r, const struct job *job, const struct job_event *ev, uint64_t suppressed,
                       int64_t now)
{
    if (r->blocked || !limit_allows(r, r->used_until, now))
        return false;
    if (write_event(r, job, ev, suppressed, false) == -EAGAIN) {
        r->blocked = true;
        return false;
    }
    if (r->tick_cost > 0)
        r->used_until = MAX(r->used_until, now) + r->tick_cost;
    return true;
}

static void drop_pending(struct report *r, struct pending_tick *tick)
{
    TAILQ_REMOVE(&r->pending, tick, link);
    tick->job->extra->pending = NULL;
    job_shed_extra(tick->job);
    free(tick);
}

static struct pending_tick *pending_of(const struct job *job)
{
    return job->extra != NULL ? job->extra->pending : NULL;
}

/* Keep a tick for later, in the place of the one that its job may have there: jobs take turns. */
static void keep_tick(struct report *r, struct job *job, const struct job_event *ev)
{
    struct pending_tick *tick = pending_of(job);

    if (tick != NULL) {
        uint64_t missed = tick->ev.missed;

        tick->ev = *ev;
        tick->ev.missed += missed;
        tick->suppressed++;
        r->suppressed++;
        return;
    }
    tick = job_extra(job) != NULL ? malloc(sizeof *tick) : NULL;
    if (tick == NULL) {
        job_shed_extra(job);
        r->suppressed++;
        return;
    }
    *tick = (struct pending_tick){.job = job, .ev = *ev};
    job->extra->pending = tick;
    TAILQ_INSERT_TAIL(&r->pending, tick, link);
}

/* A job's lines stay in order: what waits of it goes before the next line that must not wait. */
static void write_pending(struct report *r, struct job *job)
{
    struct pending_tick *tick = pending_of(job);

    if (tick == NULL)
        return;
    write_event(r, job, &tick->ev, tick->suppressed, true);
    drop_pending(r, tick);
}

/*
 * At most one line a span: spans follow one another from the due time of the first line on, so that a tick which is
 * due at the beginning of a span is the one that is written, however late the one before it was.
 */
static bool span_begins(struct job *job, int64_t span, const struct job_event *ev)
{
    struct job_extra *extra = job_extra(job);

    if (extra == NULL) // rather a line too many
        return true;
    if (extra->reported == INT64_MIN)
        extra->reported = ev->due;
    else if (ev->at - extra->reported < span)
        return false;
    extra->reported += (ev->at - extra->reported) / span * span;
    return true;
}

/* Does the job's report rule want this tick written? Missed ticks are always told. */
static bool rule_wants(struct job *job, const struct job_event *ev)
{
    struct report_rule rule = job_report_rule(job);
    bool wanted = true;

    switch (rule.when) {
    case REPORT_ALL:
        break;
    case REPORT_NONE:
        wanted = false;
        break;
    case REPORT_EVERY_N:
        wanted = (ev->tick - 1) % (uint64_t)rule.every == 0;
        break;
    case REPORT_EVERY_SPAN:
        wanted = span_begins(job, rule.every, ev);
        break;
    }
    return wanted || ev->missed > 0;
}

/* The sink may have found out by itself that lines flow again. */
static void see_whether_blocked(struct report *r)
{
    struct sink_stats stats;

    sink_stats(r->sink, &stats);
    r->blocked = stats.stuck;
}

static void report_tick(struct report *r, struct job *job, const struct job_event *ev)
{
    if (r->blocked)
        see_whether_blocked(r);
    if (!rule_wants(job, ev))
        return;
    if (!TAILQ_EMPTY(&r->pending) || !write_tick(r, job, ev, 0, ev->at))
        keep_tick(r, job, ev);
}

struct report *report_new(struct sink *sink, const struct report_config *config)
{
    struct report *r = calloc(1, sizeof *r);

    if (r == NULL)
        return NULL;
    r->sink = sink;
    r->used_until = r->output_used_until = INT64_MIN / 2;
    TAILQ_INIT(&r->pending);
    report_configure(r, config);
    return r;
}

void report_free(struct report *r)
{
    struct pending_tick *tick, *next;

    if (r == NULL)
        return;
    for (tick = TAILQ_FIRST(&r->pending); tick; tick = next) {
        next = TAILQ_NEXT(tick, link);
        drop_pending(r, tick);
    }
    free(r);
}

void report_configure(struct report *r, const struct report_config *config)
{
    r->log_level = config->log_level;
    r->tick_cost = config->limit > 0 ? NSEC_PER_SEC / config->limit : 0;
}

void report_job(struct report *r, struct job *job, const struct job_event *ev)
{
    if (priority_of(ev) > r->log_level)
        return;
    if (ev->type == EVENT_TICK) {
        report_tick(r, job, ev);
        return;
    }
    write_pending(r, job);
    write_event(r, job, ev, 0, true);
}

void report_forget(struct report *r, struct job *job)
{
    write_pending(r, job);
}

static const char *find_message_id(const char *word)
{
    for (size_t i = 0; i < REPORT_EVENTS; i++)
        if (strcmp(report_events[i].word, word) == 0)
            return report_events[i].message_id;
    return NULL;
}

/* Append text that is a line's own, quotes and all, but for what could end the line or act on a terminal. */
static void add_own_text(struct line *line, char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\"\\");
        char mark = text[n];

        text[n] = '\0';
        line->len = text_escape(line->buf, line->size, line->len, text);
        line_bytes(line, &mark, mark != '\0');
        text += n + (mark != '\0');
    }
}

void report_daemon(struct report *r, int priority, const char *event, const char *format, ...)
{
    char text[SINK_LINE_MAX + 1], buf[SINK_LINE_MAX + 1];
    struct line line = line_begin(buf, sizeof buf);
    struct sink_record record = {.priority = priority, .message_id = find_message_id(event)};
    va_list args;

    if (priority > r->log_level)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    line_text(&line, event);
    if (text[0] != '\0')
        line_text(&line, " ");
    add_own_text(&line, text);
    record.line = line.buf;
    record.len = line.len;
    add_field(&record, "TWISTY_EVENT", event);
    sink_write(r->sink, &record, true);
}

/* "EVENT job=... id=... action=...", and what follows from `more`. */
static int write_run(struct report *r, int priority, const char *event, const struct report_run *run, const char *more,
                     bool keep)
{
    char buf[SINK_LINE_MAX + 1], id[24];
    struct line line = line_begin(buf, sizeof buf);
    struct sink_record record = {.priority = priority, .message_id = find_message_id(event)};

    line_text(&line, event);
    line_text(&line, " job=");
    line_text(&line, run->job);
    add_number(&line, " id=", run->id);
    line_text(&line, " action=");
    line_text(&line, run->action);
    line_text(&line, more);
    record.line = line.buf;
    record.len = line.len;
    add_field(&record, "TWISTY_EVENT", event);
    add_field(&record, "TWISTY_JOB", run->job);
    add_number_field(&record, "TWISTY_ID", id, sizeof id, run->id);
    add_field(&record, "TWISTY_ACTION", run->action);
    return sink_write(r->sink, &record, keep);
}

void report_action_failed(struct report *r, const struct report_run *run, const struct report_failure *failure)
{
    char buf[SINK_LINE_MAX + 1];
    struct line line = line_begin(buf, sizeof buf);
    int priority = failure->retry_in > 0 ? LOG_WARNING : LOG_ERR;

    if (priority > r->log_level)
        return;
    add_value(&line, " event=", run->event);
    add_value(&line, " status=", failure->status);
    add_span_rounded(&line, " runtime=", failure->runtime);
    if (failure->attempt > 1 || failure->retry_in > 0)
        add_number(&line, " attempt=", failure->attempt);
    if (failure->retry_in > 0)
        add_span_rounded(&line, " retry-in=", failure->retry_in);
    if (failure->refused > 1)
        add_number(&line, " refused=", failure->refused);
    if (failure->error != NULL)
        add_quoted(&line, " error=", failure->error, REASON_MAX);
    if (failure->last_line != NULL)
        add_quoted(&line, " stderr=", failure->last_line, REASON_MAX);
    write_run(r, priority, "action-failed", run, buf, true);
}

bool report_output(struct report *r, const struct report_run *run, bool error_output, const char *text, int64_t now)
{
    char buf[SINK_LINE_MAX + 1];
    struct line line = line_begin(buf, sizeof buf);
    int priority = error_output ? LOG_WARNING : LOG_INFO;

    if (priority > r->log_level)
        return true;
    if (!limit_allows(r, r->output_used_until, now))
        return false;
    add_quoted(&line, error_output ? " stderr=" : " stdout=", text, OUTPUT_MAX);
    if (write_run(r, priority, "output", run, buf, false) < 0)
        return false;
    r->output_used_until = MAX(r->output_used_until, now) + r->tick_cost;
    return true;
}

void report_untold(struct report *r, const struct report_run *run, uint64_t lines)
{
    char buf[64];
    struct line line = line_begin(buf, sizeof buf);

    if (LOG_WARNING > r->log_level)
        return;
    add_number(&line, " untold=", lines);
    write_run(r, LOG_WARNING, "output", run, buf, true);
}

void report_flush(struct report *r, int64_t now)
{
    struct pending_tick *tick = TAILQ_FIRST(&r->pending), *next;

    r->blocked = false;
    for (unsigned n = 0; tick && n < FLUSH_BATCH; n++, tick = next) {
        next = TAILQ_NEXT(tick, link);
        if (!write_tick(r, tick->job, &tick->ev, tick->suppressed, now))
            return;
        drop_pending(r, tick);
    }
}

int64_t report_due(const struct report *r)
{
    if (TAILQ_EMPTY(&r->pending) || r->blocked)
        return TIME_NEVER;
    return r->used_until + r->tick_cost - NSEC_PER_SEC;
}

uint64_t report_suppressed(const struct report *r)
{
    return r->suppressed;
}
