#include "daemon/spec.h"
#include "daemon/text.h"
#include "fields.h"
#include "output.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an event's line tells, besides event, job and id, and before the message. */
enum {
    TELL_SCHEDULE = 1,
    TELL_PROGRESS = 2,
    TELL_COUNT = 4,
    TELL_MISSED = 8,
    TELL_MISSED_IF_ANY = 16,
    TELL_ELAPSED = 32,
    TELL_WHY = 64,
    TELL_REASON = 128,
    TELL_LOST = 256,
    TELL_FAILURE = 512,
};

static const struct {
    const char *word;
    unsigned tells;
} events[] = {
    {"start", TELL_SCHEDULE},
    {"tick", TELL_PROGRESS | TELL_MISSED_IF_ANY},
    {"missed", TELL_PROGRESS | TELL_MISSED},
    {"finish", TELL_COUNT | TELL_MISSED | TELL_ELAPSED},
    {"stop", TELL_PROGRESS | TELL_MISSED | TELL_ELAPSED | TELL_WHY},
    {"pause", TELL_PROGRESS},
    {"resume", TELL_PROGRESS},
    {"reset", TELL_PROGRESS},
    {"failed", TELL_PROGRESS | TELL_MISSED | TELL_ELAPSED | TELL_REASON},
    {"actionFailed", TELL_FAILURE},
    {"lost", TELL_LOST},
    {"exit", TELL_WHY},
};

/* A logfmt pair; the value is quoted where a reader would otherwise not take it for one. */
static void put_pair(const char *key, const char *value, bool quote)
{
    char escaped[4 * MESSAGE_LEN_MAX + 1] = "";

    text_escape(escaped, sizeof escaped, 0, value);
    quote |= value[0] == '\0' || strpbrk(value, " =") != NULL || strcmp(value, escaped) != 0;
    printf(quote ? " %s=\"%s\"" : " %s=%s", key, escaped);
}

static void put_text(struct skim_value event, const char *member, const char *key, bool quote)
{
    char *value = skim_copy(skim_member(event, member));

    if (value != NULL)
        put_pair(key, value, quote);
    free(value);
}

static void put_number(struct skim_value event, const char *key)
{
    int64_t n;
    if (number_of(event, key, &n))
        printf(" %s=%" PRId64, key, n);
}

/* To the millisecond, as the log has it. */
static void put_span(struct skim_value event, const char *member, const char *key)
{
    char span[QUANTITY_TEXT_MAX];
    int64_t ns;

    if (!number_of(event, member, &ns) || ns < 0 || ns > SPAN_MAX)
        return;
    ns = (ns + NSEC_PER_MSEC / 2) / NSEC_PER_MSEC * NSEC_PER_MSEC;
    put_pair(key, span_format(ns, span, sizeof span), false);
}

/* How far the job is: a countdown says what is left, a loop how often it has ticked. */
static void put_progress(struct skim_value event)
{
    if (has_word(event, "kind", "countdown"))
        put_number(event, "left");
    else
        put_number(event, "tick");
    put_number(event, "count");
}

static void put_schedule(struct skim_value event)
{
    put_text(event, "kind", "kind", false);
    if (!has_word(event, "kind", "once"))
        put_number(event, "count");
    put_text(event, "rate", "rate", false);
    put_text(event, "interval", "interval", false);
    if (!has_word(event, "delay", "0s"))
        put_text(event, "delay", "delay", false);
    put_text(event, "after", "after", false);
    put_text(event, "source", "source", false);
}

/* An attempt that is the only one needs no number. */
static void put_failure(struct skim_value event)
{
    put_text(event, "action", "action", false);
    put_text(event, "occasion", "event", false);
    put_text(event, "status", "status", false);
    put_span(event, "runtimeNsec", "runtime");
    if (number_or_zero(event, "attempt") > 1 || number_or_zero(event, "retryInNsec") > 0)
        put_number(event, "attempt");
    put_span(event, "retryInNsec", "retry-in");
    if (number_or_zero(event, "refused") > 1)
        put_number(event, "refused");
    put_text(event, "error", "error", true);
    put_text(event, "lastLine", "stderr", true);
}

static void put_details(struct skim_value event, unsigned tells)
{
    if (tells & TELL_SCHEDULE)
        put_schedule(event);
    if ((tells & TELL_PROGRESS) && !has_word(event, "kind", "once")) // its one tick needs no counting
        put_progress(event);
    if (tells & TELL_COUNT)
        put_number(event, "count");
    if ((tells & TELL_MISSED) || ((tells & TELL_MISSED_IF_ANY) && number_or_zero(event, "missed") > 0))
        put_number(event, "missed");
    if (tells & TELL_ELAPSED)
        put_span(event, "elapsedNsec", "elapsed");
    if (tells & TELL_WHY)
        put_text(event, "reason", "why", false);
    if (tells & TELL_REASON)
        put_text(event, "reason", "reason", true);
    if (tells & TELL_FAILURE)
        put_failure(event);
    if (tells & TELL_LOST)
        put_number(event, "lost");
}

void output_event_line(struct output *out, struct skim_value event)
{
    char buf[64], shown[64] = "";
    const char *word = text_of(event, "event", buf, sizeof buf);

    (void)out;
    if (has_word(event, "event", "actionFailed"))
        word = "action-failed"; // Varlink has no hyphens
    text_escape(shown, sizeof shown, 0, word != NULL ? word : "?");
    fputs(shown, stdout);
    put_text(event, "name", "job", false);
    put_number(event, "id");
    for (size_t i = 0; i < ARRAY_SIZE(events); i++)
        if (has_word(event, "event", events[i].word))
            put_details(event, events[i].tells);
    put_text(event, "message", "msg", true);
    putchar('\n');
}
