#include "output.h"

#include "daemon/quantity.h"
#include "daemon/text.h"
#include "fields.h"
#include "say.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The text of a member; "-" when it is absent. */
static void put_member(struct skim_value object, const char *key)
{
    say_value(stdout, skim_member(object, key), "-");
}

static void put_span(const char *before, int64_t ns)
{
    char buf[SPAN_HUMAN_MAX];
    printf("%s%s", before, span_human(ns > 0 ? ns : 0, buf, sizeof buf));
}

static void put_clock_time(int64_t usec)
{
    time_t seconds = (time_t)(usec / 1000000);
    struct tm tm;
    char buf[32];

    if (localtime_r(&seconds, &tm) != NULL && strftime(buf, sizeof buf, "%Y-%m-%d %H:%M:%S", &tm) > 0)
        fputs(buf, stdout);
}

/* "in 1.2s"; of a paused job it is what is left of its interval. */
static void put_next_tick(struct skim_value job, int64_t ns)
{
    bool paused = has_word(job, "state", "paused");

    put_span(paused ? "" : "in ", ns);
    if (paused)
        fputs(" after it is resumed", stdout);
}

/* Does it wait for another job, and for nothing else? */
static bool awaits(struct skim_value job)
{
    int64_t ns;

    return has_text(job, "after") && has_word(job, "state", "waiting") && !number_of(job, "nextNsec", &ns);
}

/* When the job will have done all its ticks if nobody steers it, from its start; false for one without an end. */
static bool job_length(struct skim_value job, int64_t *out)
{
    char text[QUANTITY_TEXT_MAX];
    const char *why;
    struct rate rate;
    int64_t count;

    if (text_of(job, "rate", text, sizeof text) == NULL || !number_of(job, "count", &count) || count < 0 ||
        rate_parse(text, &rate, &why) < 0)
        return false;
    if (has_word(job, "kind", "loop") && is_true(job, "immediate") && count > 0)
        count--; // its first tick comes at its start
    int64_t ticking = rate_due(rate, (uint64_t)count), delay = number_or_zero(job, "delayNsec");
    if (delay < 0 || ticking > SPAN_MAX - delay)
        return false;
    *out = delay + ticking;
    return true;
}

static void put_one_tick(int64_t delay)
{
    if (delay > 0)
        put_span("one tick, in ", delay);
    else
        fputs("one tick, now", stdout);
}

/* "5 ticks, one every 2s (0.5/s), done in 10s" */
static void put_plan(struct skim_value job)
{
    int64_t count = -1, length = -1, delay = number_or_zero(job, "delayNsec");
    bool ends = job_length(job, &length);
    const char *ticks = "a tick every ";

    number_of(job, "count", &count);
    if (has_word(job, "kind", "once") || (has_word(job, "kind", "loop") && count == 1)) {
        put_one_tick(ends ? length : delay);
        return;
    }
    if (count == 0) {
        fputs("no ticks, finished at once", stdout);
        return;
    }
    if (count > 0) {
        printf("%" PRId64, count);
        ticks = count == 1 ? " tick of " : " ticks, one every ";
    }
    put_span(ticks, number_or_zero(job, "intervalNsec"));
    fputs(" (", stdout);
    put_member(job, "rate");
    fputs(")", stdout);
    if (delay > 0)
        put_span(", starting in ", delay);
    if (ends)
        put_span(", done in ", length);
    else
        fputs(", until it is stopped", stdout);
}

static void put_awaited(struct skim_value job)
{
    if (!awaits(job))
        return;
    fputs(", once ", stdout);
    put_member(job, "after");
    fputs(" has finished", stdout);
}

/* "running, 3 of 5 left, next in 1.2s" */
static void put_progress(struct skim_value job)
{
    int64_t count, left, next;

    put_member(job, "state");
    if (has_word(job, "kind", "once"))
        ;
    else if (!number_of(job, "count", &count) || !number_of(job, "left", &left))
        printf(" after %" PRId64 " tick%s", number_or_zero(job, "ticks"), number_or_zero(job, "ticks") == 1 ? "" : "s");
    else if (!has_word(job, "state", "finished"))
        printf(", %" PRId64 " of %" PRId64 " left", left, count);
    if (number_of(job, "nextNsec", &next)) {
        fputs(", next ", stdout);
        put_next_tick(job, next);
    }
    put_awaited(job);
}

static bool is_fresh(struct skim_value job)
{
    return number_or_zero(job, "ticks") == 0 && number_or_zero(job, "missed") == 0 &&
           (has_word(job, "state", "waiting") || has_word(job, "state", "running"));
}

static void put_added(struct output *out, struct skim_value jobs)
{
    struct skim s = skim_array(jobs);
    struct skim_value job;

    while (skim_next(&s, &job)) {
        put_member(job, "name");
        if (!out->quiet) {
            fputs(": ", stdout);
            if (is_fresh(job)) {
                put_plan(job);
                put_awaited(job);
            } else {
                put_progress(job);
            }
        }
        putchar('\n');
    }
}

static void put_added_many(struct output *out, size_t added, size_t total)
{
    if (out->quiet)
        return;
    printf("added %zu job%s", added, added == 1 ? "" : "s");
    if (added < total)
        printf("; %zu %s there already", total - added, total - added == 1 ? "was" : "were");
    putchar('\n');
}

static void put_steered(struct output *out, struct skim_value jobs, bool removed, bool last)
{
    struct skim s = skim_array(jobs);
    struct skim_value job;

    if (out->quiet)
        return;
    while (skim_next(&s, &job)) {
        put_member(job, "name");
        fputs(": ", stdout);
        if (removed)
            fputs("removed", stdout);
        else
            put_progress(job);
        putchar('\n');
        out->begun = true;
    }
    if (last && !out->begun)
        puts("no jobs");
}

static void put_key(const char *key)
{
    printf("%-12s", key);
}

static void put_field(const char *key, const char *text)
{
    put_key(key);
    puts(text);
}

static void put_text_field(const char *key, struct skim_value object, const char *member)
{
    put_key(key);
    put_member(object, member);
    putchar('\n');
}

__attribute__((format(printf, 2, 3))) static void put_field_format(const char *key, const char *format, ...)
{
    va_list args;

    put_key(key);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static void put_schedule_fields(struct skim_value job)
{
    int64_t n;

    if (has_text(job, "rate")) {
        if (number_of(job, "count", &n))
            put_field_format("count", "%" PRId64, n);
        else
            put_field("count", "without end");
        if (number_of(job, "left", &n))
            put_field_format("left", "%" PRId64, n);
    }
    put_field_format("ticks", "%" PRId64, number_or_zero(job, "ticks"));
    put_key("missed");
    printf("%" PRId64 " (", number_or_zero(job, "missed"));
    put_member(job, "missedPolicy");
    puts(")");
    if (has_text(job, "rate")) {
        put_text_field("rate", job, "rate");
        put_text_field("interval", job, "interval");
    }
    put_text_field("delay", job, "delay");
    if (has_word(job, "kind", "loop"))
        put_field("immediate", is_true(job, "immediate") ? "yes" : "no");
    put_field("background", is_true(job, "background") ? "yes" : "no");
    put_field("transient", is_true(job, "transient") ? "yes" : "no");
    put_text_field("report", job, "report");
}

static void put_optional_field(const char *key, struct skim_value object, const char *member)
{
    if (has_text(object, member))
        put_text_field(key, object, member);
}

/* on-failure only if it says something. */
static void put_action_fields(struct skim_value job)
{
    put_optional_field("on-tick", job, "onTick");
    put_optional_field("on-finish", job, "onFinish");
    if (!has_word(job, "onFailure", "continue"))
        put_optional_field("on-failure", job, "onFailure");
    put_optional_field("on-stop", job, "onStop");
    if (number_or_zero(job, "failures") > 0 || number_or_zero(job, "skipped") > 0)
        put_field_format("actions", "%" PRId64 " failed, %" PRId64 " skipped", number_or_zero(job, "failures"),
                         number_or_zero(job, "skipped"));
    put_optional_field("after", job, "after");
}

static void put_owner(struct skim_value job)
{
    int64_t uid;

    if (!number_of(job, "owner", &uid))
        return;
    const struct passwd *user = getpwuid((uid_t)uid);
    put_key("owner");
    if (user != NULL) {
        say_text(stdout, user->pw_name);
        printf(" (%" PRId64 ")\n", uid);
    } else {
        printf("%" PRId64 "\n", uid);
    }
}

/* `name` is the key of whose tick it is; NULL: its own. */
static void put_next(struct skim_value object, const char *name)
{
    int64_t ns, usec;

    if (!number_of(object, "nextNsec", &ns))
        return;
    put_key("next");
    if (name != NULL) {
        put_member(object, name);
        putchar(' ');
    }
    put_next_tick(object, ns);
    if (number_of(object, "nextUsec", &usec)) {
        fputs(", at ", stdout);
        put_clock_time(usec);
    }
    putchar('\n');
}

static void put_time_fields(struct skim_value job)
{
    int64_t n;

    if (number_of(job, "startUsec", &n)) {
        put_key("started");
        put_clock_time(n);
        putchar('\n');
    }
    if (number_of(job, "elapsedNsec", &n)) {
        put_key("elapsed");
        put_span("", n);
        putchar('\n');
    }
    put_next(job, NULL);
}

static void put_job(struct output *out, struct skim_value job)
{
    (void)out;
    put_text_field("name", job, "name");
    put_field_format("id", "%" PRId64, number_or_zero(job, "id"));
    put_text_field("kind", job, "kind");
    put_text_field("state", job, "state");
    put_optional_field("reason", job, "reason");
    put_schedule_fields(job);
    put_optional_field("message", job, "message");
    put_action_fields(job);
    put_text_field("source", job, "source");
    put_owner(job);
    put_time_fields(job);
}

/* ["a", "b"] as "a, b" */
static void put_words(struct skim_value words)
{
    struct skim s = skim_array(words);
    struct skim_value word;

    for (const char *comma = ""; skim_next(&s, &word); comma = ", ") {
        fputs(comma, stdout);
        say_value(stdout, word, "-");
    }
}

static void put_loop_source(struct skim_value source)
{
    int64_t number;

    fputs("  ", stdout);
    put_member(source, "purpose");
    if (has_text(source, "detail")) {
        putchar(' ');
        put_member(source, "detail");
    }
    fputs(": ", stdout);
    put_words(skim_member(source, "waitsFor"));
    if (number_of(source, "number", &number))
        printf(" (%" PRId64 ")", number);
    putchar('\n');
}

static void put_counts(struct skim_value status)
{
    struct skim_value counts = skim_member(status, "jobs");

    put_field_format("jobs",
                     "%" PRId64 " live (%" PRId64 " in the foreground, %" PRId64 " paused), %" PRId64
                     " listed, %" PRId64 " since the start",
                     number_or_zero(counts, "live"), number_or_zero(counts, "foreground"),
                     number_or_zero(counts, "paused"), number_or_zero(counts, "listed"),
                     number_or_zero(counts, "ever"));
    put_field_format("ticks", "%" PRId64 ", %" PRId64 " missed", number_or_zero(status, "ticks"),
                     number_or_zero(status, "missed"));
}

static void put_lateness(struct skim_value lateness)
{
    if (!skim_is(lateness, '{'))
        return;
    put_key("lateness");
    put_span("half within ", number_or_zero(lateness, "p50Nsec"));
    put_span(", 99 of 100 within ", number_or_zero(lateness, "p99Nsec"));
    put_span(", at most ", number_or_zero(lateness, "maxNsec"));
    putchar('\n');
}

static void put_log_fields(struct skim_value status)
{
    put_key("log");
    put_member(status, "logTarget");
    printf(", %" PRId64 " ticks suppressed, %" PRId64 " lines lost\n", number_or_zero(status, "suppressed"),
           number_or_zero(status, "logLost"));
}

static void put_action_counts(struct skim_value counts)
{
    if (!skim_is(counts, '{'))
        return;
    put_field_format("actions",
                     "%" PRId64 " running, %" PRId64 " queued; %" PRId64 " started, %" PRId64 " failed, %" PRId64
                     " skipped since the start",
                     number_or_zero(counts, "running"), number_or_zero(counts, "queued"),
                     number_or_zero(counts, "started"), number_or_zero(counts, "failed"),
                     number_or_zero(counts, "skipped"));
}

static void put_loop(struct skim_value loop)
{
    struct skim s = skim_array(loop);
    struct skim_value source;

    if (!skim_is(loop, '['))
        return;
    puts("the loop waits for");
    while (skim_next(&s, &source))
        put_loop_source(source);
}

static void put_path_field(const char *key, struct skim_value status, const char *member)
{
    put_key(key);
    say_value(stdout, skim_member(status, member), "none");
    putchar('\n');
}

static void put_status(struct output *out, struct skim_value status)
{
    (void)out;
    fputs("twistyd ", stdout);
    put_member(status, "version");
    printf(", pid %" PRId64, number_or_zero(status, "pid"));
    put_span(", up ", number_or_zero(status, "uptimeNsec"));
    putchar('\n');
    put_text_field("socket", status, "socket");
    put_path_field("config", status, "configuration");
    put_path_field("state", status, "stateFile");
    put_optional_field("degraded", status, "degraded");
    put_text_field("backend", status, "backend");
    put_text_field("clock", status, "clock");
    put_log_fields(status);
    put_counts(status);
    put_lateness(skim_member(status, "lateness"));
    put_action_counts(skim_member(status, "actions"));
    put_next(status, has_text(status, "nextName") ? "nextName" : NULL);
    put_field_format("clients", "%" PRId64, number_or_zero(status, "connections"));
    put_field("exits", is_true(status, "exitWhenDone") ? "when every job has ended" : "when it is told to");
    put_loop(skim_member(status, "loop"));
}

/* Not all names are told of a change that is large. */
static void put_changes(const char *word, struct skim_value names, int64_t count)
{
    struct skim s = skim_array(names);
    struct skim_value name;
    int64_t told = 0;

    for (; skim_next(&s, &name); told++) {
        printf("%-10s", word);
        say_value(stdout, name, "-");
        putchar('\n');
    }
    if (count > told)
        printf("%-10sand %" PRId64 " more\n", word, count - told);
}

static void put_reloaded(struct output *out, struct skim_value result)
{
    static const struct {
        const char *names, *count;
    } changes[] = {{"added", "addedCount"}, {"changed", "changedCount"}, {"removed", "removedCount"}};

    if (out->quiet)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
        put_changes(changes[i].names, skim_member(result, changes[i].names), number_or_zero(result, changes[i].count));
    printf("%-10s%" PRId64 "\n", "unchanged", number_or_zero(result, "unchanged"));
}

static void put_done(struct output *out)
{
    (void)out;
}

const struct output_ops output_table = {
    .added = put_added,
    .added_many = put_added_many,
    .steered = put_steered,
    .list = output_list_jobs,
    .actions = output_list_actions,
    .job = put_job,
    .event = output_event_line,
    .status = put_status,
    .reloaded = put_reloaded,
    .done = put_done,
};
