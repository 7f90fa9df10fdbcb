#include "settings.h"

#include "conf_text.h"
#include "gather.h"
#include "quantity.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

/* The largest numbers that settings take. Each command has three descriptors. */
#define NUMBER_MAX      1000000000
#define MAX_ACTIONS_MAX 1000
#define MAX_QUEUED_MAX  1000000

const char *const settings_keys[SETTINGS_KEYS] = {
    [SETTING_EXIT_WHEN_DONE] = "exit-when-done",
    [SETTING_LOG_TARGET] = "log-target",
    [SETTING_LOG_LEVEL] = "log-level",
    [SETTING_BACKEND] = "backend",
    [SETTING_CLOCK] = "clock",
    [SETTING_ACCURACY] = "accuracy",
    [SETTING_MAX_JOBS] = "max-jobs",
    [SETTING_KEEP_ENDED] = "keep-ended",
    [SETTING_REPORT_LIMIT] = "report-limit",
    [SETTING_MAX_CONNECTIONS] = "max-connections",
    [SETTING_STATE] = "state",
    [SETTING_MAX_ACTIONS] = "max-actions",
    [SETTING_MAX_QUEUED] = "max-queued",
    [SETTING_STOP_TIMEOUT] = "stop-timeout",
};

static const char *const log_targets[] = {
    [LOG_TARGET_AUTO] = "auto",
    [LOG_TARGET_JOURNAL] = "journal",
    [LOG_TARGET_SYSLOG] = "syslog",
    [LOG_TARGET_STDERR] = "stderr",
};

static const char *const log_levels[] = {
    [LOG_EMERG] = "emerg",     [LOG_ALERT] = "alert",   [LOG_CRIT] = "crit", [LOG_ERR] = "err",
    [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice", [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};

static const char *const backends[] = {
    [BACKEND_AUTO] = "auto",
    [BACKEND_EPOLL] = "epoll",
    [BACKEND_POLL] = "poll",
    [BACKEND_SELECT] = "select",
};

static const char *const clocks[] = {
    [CLOCK_KIND_MONOTONIC] = "monotonic",
    [CLOCK_KIND_BOOTTIME] = "boottime",
};

#define WORDS(table) (&(const struct conf_words){table, ARRAY_SIZE(table), sizeof(table)[0]})

const char *log_target_name(enum log_target target)
{
    return log_targets[target];
}

const char *loop_backend_name(enum loop_backend backend)
{
    return backends[backend];
}

const char *loop_clock_name(enum loop_clock clock)
{
    return clocks[clock];
}

bool log_target_parse(const char *text, enum log_target *out)
{
    int i = conf_words_find(WORDS(log_targets), text);

    if (i >= 0)
        *out = (enum log_target)i;
    return i >= 0;
}

bool log_level_parse(const char *text, int *out)
{
    int i = conf_words_find(WORDS(log_levels), text);

    if (i >= 0)
        *out = i;
    return i >= 0;
}

bool loop_backend_parse(const char *text, enum loop_backend *out)
{
    int i = conf_words_find(WORDS(backends), text);

    if (i >= 0)
        *out = (enum loop_backend)i;
    return i >= 0;
}

void settings_default(struct daemon_settings *out)
{
    *out = (struct daemon_settings){
        .log_target = LOG_TARGET_AUTO,
        .log_level = LOG_INFO,
        .backend = BACKEND_AUTO,
        .clock = CLOCK_KIND_MONOTONIC,
        .accuracy = NSEC_PER_MSEC,
        .max_jobs = 2000000,
        .keep_ended = 1000,
        .report_limit = 1000,
        .max_connections = 256,
        .max_actions = 32,
        .max_queued = 1000,
        .stop_timeout = 5 * NSEC_PER_SEC,
    };
}

/* Join the words as spec_key_info::values has them. */
static void list_words(const struct conf_words *words, char *buf, size_t size)
{
    size_t len = 0;

    for (size_t i = 0; i < words->n && len < size; i++)
        len += (size_t)snprintf(buf + len, size - len, "%s%s", i > 0 ? "|" : "", conf_words_at(words, i));
}

/* The index of a word, or -EINVAL with a phrase that says what it could be. */
static int find_word(const struct conf_words *words, const char *value, char *why, size_t size)
{
    int i = conf_words_find(words, value);
    int nearest = conf_words_nearest(words, value);
    char list[96];

    if (i >= 0)
        return i;
    list_words(words, list, sizeof list);
    if (nearest >= 0)
        snprintf(why, size, "is unknown; did you mean '%s'?", conf_words_at(words, (size_t)nearest));
    else
        snprintf(why, size, "is not one of %s", list);
    return -EINVAL;
}

static int set_count(const char *value, uint64_t min, uint64_t max, uint32_t *out, const char **why)
{
    uint64_t n;
    int r = count_parse(value, max, &n, why);

    if (r < 0)
        return r;
    *why = "is zero";
    if (n < min)
        return -ERANGE;
    *out = (uint32_t)n;
    return 0;
}

static int set_accuracy(const char *value, int64_t *out, const char **why)
{
    int64_t span;
    int r = span_parse(value, &span, why);

    if (r < 0)
        return r;
    *why = "is more than a second";
    if (span > ACCURACY_MAX)
        return -ERANGE;
    *out = span;
    return 0;
}

static int set_state(const char *value, char *out, const char **why)
{
    *why = "is neither an absolute path nor none";
    if (value[0] != '/' && strcmp(value, STATE_NONE) != 0)
        return -EINVAL;
    *why = "is too long";
    if (strlen(value) >= STATE_PATH_MAX)
        return -ERANGE;
    memcpy(out, value, strlen(value) + 1);
    return 0;
}

int settings_set(struct daemon_settings *s, enum settings_key key, const char *value, char *why, size_t size)
{
    const char *phrase = NULL;
    int r = 0;

    switch (key) {
    case SETTING_EXIT_WHEN_DONE:
        r = bool_parse(value, &s->exit_when_done, &phrase);
        break;
    case SETTING_LOG_TARGET:
        if ((r = find_word(WORDS(log_targets), value, why, size)) >= 0)
            s->log_target = (enum log_target)r;
        break;
    case SETTING_LOG_LEVEL:
        if ((r = find_word(WORDS(log_levels), value, why, size)) >= 0)
            s->log_level = r;
        break;
    case SETTING_BACKEND:
        if ((r = find_word(WORDS(backends), value, why, size)) >= 0)
            s->backend = (enum loop_backend)r;
        break;
    case SETTING_CLOCK:
        if ((r = find_word(WORDS(clocks), value, why, size)) >= 0)
            s->clock = (enum loop_clock)r;
        break;
    case SETTING_ACCURACY:
        r = set_accuracy(value, &s->accuracy, &phrase);
        break;
    case SETTING_MAX_JOBS:
        r = set_count(value, 1, NUMBER_MAX, &s->max_jobs, &phrase);
        break;
    case SETTING_KEEP_ENDED:
        r = set_count(value, 0, NUMBER_MAX, &s->keep_ended, &phrase);
        break;
    case SETTING_REPORT_LIMIT:
        r = set_count(value, 0, NUMBER_MAX, &s->report_limit, &phrase);
        break;
    case SETTING_MAX_CONNECTIONS:
        r = set_count(value, 1, NUMBER_MAX, &s->max_connections, &phrase);
        break;
    case SETTING_MAX_ACTIONS:
        r = set_count(value, 1, MAX_ACTIONS_MAX, &s->max_actions, &phrase);
        break;
    case SETTING_MAX_QUEUED:
        r = set_count(value, 0, MAX_QUEUED_MAX, &s->max_queued, &phrase);
        break;
    case SETTING_STOP_TIMEOUT:
        r = span_parse(value, &s->stop_timeout, &phrase);
        break;
    case SETTING_STATE:
        r = set_state(value, s->state, &phrase);
        break;
    case SETTINGS_KEYS:
        break;
    }
    if (r < 0 && phrase != NULL)
        snprintf(why, size, "%s", phrase);
    return r < 0 ? r : 0;
}
