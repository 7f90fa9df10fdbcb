#include "complete.h"

#include "client.h"
#include "daemon/text.h"
#include "fields.h"
#include "verbs.h"

#include <stdio.h>
#include <string.h>

/* Nobody wants to wait at a Tab, nor to read more names than this. */
#define TIMEOUT_MS 500
#define NAMES_MAX  500

static void offer(const char *prefix, const char *word, size_t len)
{
    size_t prefix_len = strlen(prefix);
    if (prefix_len <= len && memcmp(prefix, word, prefix_len) == 0)
        printf("%.*s\n", (int)len, word);
}

/* The words of "coalesce|delay|burst"; "N" and "every SPAN" are none. */
static void offer_values(const char *prefix, const char *values)
{
    while (values != NULL && *values != '\0') {
        size_t len = strcspn(values, "|");
        size_t lower = strspn(values, "abcdefghijklmnopqrstuvwxyz");
        if (lower == len)
            offer(prefix, values, len);
        values += len + (values[len] == '|');
    }
}

static void offer_verbs(const char *prefix)
{
    for (const struct verb *verb = verbs; verb->name != NULL; verb++)
        offer(prefix, verb->name, strlen(verb->name));
}

/* The last of a comma-separated list; the shell replaces the whole list. */
static void offer_states(const char *prefix)
{
    const char *comma = strrchr(prefix, ',');
    size_t done = comma != NULL ? (size_t)(comma + 1 - prefix) : 0;

    for (size_t i = 0; i < STATE_WORDS; i++)
        if (strncmp(prefix + done, state_words[i], strlen(prefix + done)) == 0)
            printf("%.*s%s\n", (int)done, prefix, state_words[i]);
}

static void offer_options(const char *prefix, uint64_t which)
{
    char word[64];

    for (unsigned id = 0; id < OPTION_COUNT; id++) {
        if ((which >> id & 1) != 0) {
            int n = snprintf(word, sizeof word, "--%s", option_name(id));
            offer(prefix, word, (size_t)n);
        }
        if ((which >> id & 1) != 0 && option_is_switch(id)) {
            int n = snprintf(word, sizeof word, "--no-%s", option_name(id));
            offer(prefix, word, (size_t)n);
        }
    }
}

/* Names of jobs, or of actions that the user may name. */
static void offer_slice(const char *prefix, struct skim_value things, size_t *told)
{
    struct skim s = skim_array(things);
    struct skim_value thing;
    char buf[NAME_LEN_MAX + 2];

    while (skim_next(&s, &thing)) {
        const char *name = text_of(thing, "name", buf, sizeof buf);
        bool forbidden = skim_is_word(skim_member(thing, "permitted"), "false");
        if (name == NULL || !name_valid(name) || forbidden || strncmp(prefix, name, strlen(prefix)) != 0)
            continue;
        if (++*told > NAMES_MAX)
            return;
        puts(name);
    }
}

/*
 * Send a call for slices of `key`, and offer the names in them. Takes over the call's text. Without a word on stderr: a
 * prompt is no place for it.
 */
static void offer_names(const char *socket_option, const char *prefix, struct emit *call, const char *key)
{
    char path[CLIENT_PATH_MAX];
    struct client *client;
    struct varlink_reply reply;
    size_t told = 0;

    if (client_find_socket(socket_option, path, sizeof path) < 0 || client_open(path, TIMEOUT_MS, &client) < 0) {
        emit_free(call);
        return;
    }
    bool more = client_call(client, call) == 0;
    while (more && told <= NAMES_MAX && client_receive(client, &reply) == 0) {
        offer_slice(prefix, skim_member(reply.parameters, key), &told);
        more = reply.continues;
    }
    client_close(client);
}

static void offer_jobs(const char *socket_option, const char *prefix, enum word_class words)
{
    static const char *const paused[] = {"paused"};
    char pattern[NAME_LEN_MAX + 2];
    struct emit call = {0};

    if (prefix[0] != '\0' && !name_valid(prefix))
        return;
    snprintf(pattern, sizeof pattern, "%s*", prefix);
    client_begin_call(&call, "List", true);
    emit_texts(&call, "match", (const char *const[]){pattern}, 1);
    if (words == WORD_PAUSED_JOB)
        emit_texts(&call, "states", paused, 1);
    else
        emit_bool(&call, "all", words == WORD_ANY_JOB);
    offer_names(socket_option, prefix, &call, "jobs");
}

static void offer_actions(const char *socket_option, const char *prefix)
{
    struct emit call = {0};

    client_begin_call(&call, "Actions", true);
    offer_names(socket_option, prefix, &call, "actions");
}

/* The value of --socket among the words, if it is there: the jobs to offer are those of that daemon. */
static const char *socket_among(int n, char *words[])
{
    const char *value, *path = NULL;

    for (int i = 0; i < n; i++)
        if (is_option(words[i]) && option_find(words[i], GLOBAL_OPTIONS, &value) == OPTION_SOCKET)
            path = value != NULL ? value : i + 1 < n ? words[i + 1] : NULL;
    return path;
}

static void offer_value(const char *prefix, unsigned id, const char *socket_option)
{
    switch (id) {
    case OPTION_SOCKET:
    case OPTION_FILE:
        puts(":files");
        break;
    case OPTION_STATE:
        offer_states(prefix);
        break;
    case OPTION_SPEC + KEY_ON_TICK:
    case OPTION_SPEC + KEY_ON_FINISH:
    case OPTION_SPEC + KEY_ON_FAILURE:
    case OPTION_SPEC + KEY_ON_STOP:
        offer_values(prefix, option_takes(id));
        offer_actions(socket_option, prefix);
        break;
    case OPTION_SPEC + KEY_AFTER:
        offer_jobs(socket_option, prefix, WORD_LIVE_JOB);
        break;
    default:
        offer_values(prefix, option_takes(id));
        break;
    }
}

static void offer_operands(const struct verb *verb, int n, char *words[], const char *prefix)
{
    switch (verb->words) {
    case WORD_NONE:
        break;
    case WORD_VERB:
        offer_verbs(prefix);
        break;
    case WORD_KIND:
        offer_values(prefix, spec_keys[KEY_KIND].values);
        break;
    case WORD_LIVE_JOB:
    case WORD_PAUSED_JOB:
    case WORD_ANY_JOB:
        offer_jobs(socket_among(n, words), prefix, verb->words);
        break;
    }
}

/* Bash splits at "=": drop these, so that a value follows its option. An "=" at the end begins an empty value. */
static int drop_equals(int n, char *words[])
{
    static char empty[] = "";
    int kept = 0;

    for (int i = 0; i < n; i++)
        if (strcmp(words[i], "=") != 0)
            words[kept++] = words[i];
    if (n > 0 && strcmp(words[n - 1], "=") == 0)
        words[kept++] = empty;
    return kept;
}

void complete(int n, char *words[])
{
    const char *value;

    n = drop_equals(n, words);
    if (n == 0)
        return;
    const char *prefix = words[--n]; // of now n complete words
    int at = verb_index(n, words);
    const struct verb *verb = at < n ? verb_find(words[at]) : NULL;
    unsigned id = n > 0 && is_option(words[n - 1]) ? option_find(words[n - 1], UINT64_MAX, &value) : OPTION_COUNT;

    if (id < OPTION_COUNT && value == NULL && option_takes(id) != NULL)
        offer_value(prefix, id, socket_among(n, words));
    if (id < OPTION_COUNT && value == NULL && option_wants(id, NULL))
        return;
    if (prefix[0] == '-')
        offer_options(prefix, GLOBAL_OPTIONS | (verb != NULL ? verb->options : 0));
    else if (at >= n)
        offer_verbs(prefix);
    else if (verb != NULL)
        offer_operands(verb, n, words, prefix);
}
