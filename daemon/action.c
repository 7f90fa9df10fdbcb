#include "action.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

/* Longer waits between two tries are not made longer still. */
#define BACKOFF_MAX (3600 * NSEC_PER_SEC)

/* What the daemon tells an action itself. */
#define OWN_PREFIX "TWISTY_"

const char *const action_keys[ACTION_KEYS] = {
    [ACTION_EXEC] = "exec",       [ACTION_TIMEOUT] = "timeout",
    [ACTION_OVERLAP] = "overlap", [ACTION_ENVIRONMENT] = "environment",
    [ACTION_ALLOW] = "allow",     [ACTION_RETRY] = "retry",
    [ACTION_BACKOFF] = "backoff",
};

static const char *const overlap_names[] = {
    [OVERLAP_SKIP] = "skip",
    [OVERLAP_QUEUE] = "queue",
    [OVERLAP_KILL] = "kill",
};

static const char *const allow_names[] = {
    [ALLOW_ROOT] = "root",
    [ALLOW_GROUP] = "group",
};

const char *action_overlap_name(enum action_overlap overlap)
{
    return overlap_names[overlap];
}

const char *action_allow_name(enum action_allow allow)
{
    return allow_names[allow];
}

static void tally_unref(struct action_tally *tally)
{
    if (tally != NULL && --tally->references == 0)
        free(tally);
}

struct action *action_new(const char *name)
{
    struct action *action = calloc(1, sizeof *action);
    if (action == NULL)
        return NULL;
    action->references = 1;
    action->timeout = 30 * NSEC_PER_SEC;
    action->backoff = NSEC_PER_SEC;
    action->tally = calloc(1, sizeof *action->tally);
    if (action->tally != NULL)
        action->tally->references = 1;
    action->name = strdup(name);
    if (action->tally == NULL || action->name == NULL) {
        action_unref(action);
        return NULL;
    }
    return action;
}

struct action *action_ref(struct action *action)
{
    action->references++;
    return action;
}

void action_unref(struct action *action)
{
    if (action == NULL || --action->references > 0)
        return;
    tally_unref(action->tally);
    text_list_clear(&action->exec);
    text_list_clear(&action->environment);
    free(action->name);
    free(action);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct action *const *)a)->name, (*(struct action *const *)b)->name);
}

void actions_sort(struct actions *actions)
{
    qsort(actions->list, actions->n, sizeof(struct action *), by_name);
}

size_t actions_behind(const struct actions *actions, const char *name)
{
    size_t low = 0, high = actions->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(name, actions->list[middle]->name) < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

struct action *actions_find(const struct actions *actions, const char *name, const char **nearest)
{
    struct nearest near;
    size_t behind = actions_behind(actions, name);

    if (behind > 0 && strcmp(actions->list[behind - 1]->name, name) == 0)
        return actions->list[behind - 1];
    if (nearest == NULL)
        return NULL;
    nearest_init(&near, name);
    for (size_t i = 0; i < actions->n; i++)
        nearest_offer(&near, actions->list[i]->name);
    *nearest = near.best;
    return NULL;
}

void actions_succeed(struct actions *actions, const struct actions *old)
{
    for (size_t i = 0, j = 0; i < actions->n && j < old->n;) {
        struct action *action = actions->list[i];
        int order = strcmp(action->name, old->list[j]->name);
        if (order == 0) {
            tally_unref(action->tally);
            action->tally = old->list[j]->tally;
            action->tally->references++;
        }
        i += order <= 0;
        j += order >= 0;
    }
}

void actions_clear(struct actions *actions)
{
    for (size_t i = 0; i < actions->n; i++)
        action_unref(actions->list[i]);
    free(actions->list);
    *actions = (struct actions){0};
}

bool action_permits(const struct action *action, bool privileged)
{
    return privileged || action->allow == ALLOW_GROUP;
}

/* A text that is split into words, and what came of it. */
struct splitting {
    const char *at;
    char *word; // as long as the whole text: a word is never longer than what it was written as
    size_t len;
    char *why;
    size_t size;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* So many digits to a base; false when there are fewer. */
static bool read_digits(struct splitting *s, unsigned digits, unsigned base, uint32_t *out)
{
    static const char values[] = "0123456789abcdef";

    *out = 0;
    for (; digits > 0; digits--) {
        char c = *s->at;
        const char *digit = memchr(values, c >= 'A' && c <= 'F' ? c + 'a' - 'A' : c, base);
        if (digit == NULL)
            return false;
        *out = *out * base + (uint32_t)(digit - values);
        s->at++;
    }
    return true;
}

static int refuse_escape(const struct splitting *s, const char *begin)
{
    char shown[32] = "", text[16];

    snprintf(text, sizeof text, "%.*s", (int)MIN(s->at - begin + (*s->at != '\0'), 11), begin);
    text_escape(shown, sizeof shown, 0, text);
    return text_explain(s->why, s->size, -EINVAL, "'%s' is no escape; write \\\\ for a backslash", shown);
}

/* \xHH, \NNN, \uHHHH and \UHHHHHHHH; the first two are a byte, the others a character. */
static int read_number_escape(struct splitting *s, const char *begin)
{
    static const struct {
        char letter;
        unsigned digits;
    } kinds[] = {{'x', 2}, {'u', 4}, {'U', 8}};
    unsigned digits = 3, base = 8;
    bool byte = true;
    uint32_t c;

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        if (*s->at == kinds[i].letter) {
            digits = kinds[i].digits;
            base = 16;
            byte = digits == 2;
            s->at++;
            break;
        }
    if (!read_digits(s, digits, base, &c))
        return refuse_escape(s, begin);
    if (c == 0)
        return text_explain(s->why, s->size, -EINVAL, "no argument can have a NUL byte in it");
    if (byte ? c > 0xff : c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return text_explain(s->why, s->size, -EINVAL, "'%.*s' is no %s", (int)(s->at - begin), begin,
                            byte ? "byte" : "character");
    if (byte)
        s->word[s->len++] = (char)c;
    else
        s->len = (size_t)(utf8_put(s->word + s->len, c) - s->word);
    return 0;
}

/* What stands behind a backslash. */
static int read_escape(struct splitting *s)
{
    static const char letters[] = "abfnrtvs\\\"'", meanings[] = "\a\b\f\n\r\t\v \\\"'";
    const char *begin = s->at++;
    const char *letter = *s->at != '\0' ? strchr(letters, *s->at) : NULL;

    if (letter == NULL)
        return read_number_escape(s, begin);
    s->word[s->len++] = meanings[letter - letters];
    s->at++;
    return 0;
}

/* %% and $$ stand for one of them; alone they would be replaced by systemd. */
static int read_doubled(struct splitting *s)
{
    char c = *s->at;

    if (s->at[1] != c)
        return text_explain(s->why, s->size, -EINVAL,
                            "'%c' has no meaning here, as no %s are replaced; write %c%c for the character", c,
                            c == '%' ? "specifiers" : "variables", c, c);
    s->word[s->len++] = c;
    s->at += 2;
    return 0;
}

static int read_character(struct splitting *s)
{
    switch (*s->at) {
    case '\\':
        return read_escape(s);
    case '%':
    case '$':
        return read_doubled(s);
    default:
        s->word[s->len++] = *s->at++;
        return 0;
    }
}

static int read_quoted(struct splitting *s)
{
    char quote = *s->at++;

    while (*s->at != quote) {
        if (*s->at == '\0')
            return text_explain(s->why, s->size, -EINVAL, "a %c has no partner", quote);
        int r = read_character(s);
        if (r < 0)
            return r;
    }
    s->at++;
    if (*s->at != '\0' && !is_blank(*s->at))
        return text_explain(s->why, s->size, -EINVAL, "text right after a closing %c; quotes stand around a whole word",
                            quote);
    return 0;
}

static int read_plain(struct splitting *s)
{
    if (*s->at == ';' && (s->at[1] == '\0' || is_blank(s->at[1])))
        return text_explain(s->why, s->size, -EINVAL, "a lone ';' would begin another command; write \";\"");
    if (*s->at == '\\' && s->at[1] == ';' && (s->at[2] == '\0' || is_blank(s->at[2])))
        s->at++;
    while (*s->at != '\0' && !is_blank(*s->at)) {
        if (*s->at == '"' || *s->at == '\'')
            return text_explain(s->why, s->size, -EINVAL,
                                "a %c in the middle of a word; write \\%c, or quote the whole word", *s->at, *s->at);
        int r = read_character(s);
        if (r < 0)
            return r;
    }
    return 0;
}

/* All the words of a text. */
static int split(const char *text, struct text_list *out, char *why, size_t size)
{
    struct splitting s = {.at = text, .word = malloc(strlen(text) + 1), .why = why, .size = size};
    int r = s.word == NULL ? -ENOMEM : 0;

    while (r == 0) {
        s.at += strspn(s.at, " \t");
        if (*s.at == '\0')
            break;
        s.len = 0;
        r = *s.at == '"' || *s.at == '\'' ? read_quoted(&s) : read_plain(&s);
        s.word[s.len] = '\0';
        if (r == 0)
            r = text_list_add(out, s.word);
    }
    free(s.word);
    if (r < 0)
        text_list_clear(out);
    return r;
}

/* The first word is a path, and nothing else. */
static int check_path(const struct text_list *words, char *why, size_t size)
{
    char shown[64] = "";
    const char *path = words->n > 0 ? words->items[0] : "";

    text_escape(shown, sizeof shown, 0, path);
    if (words->n == 0)
        return text_explain(why, size, -EINVAL, "no command; it is an absolute path and arguments");
    if (strchr("-@:+!|", path[0]) != NULL && path[0] != '\0')
        return text_explain(why, size, -EINVAL,
                            "'%s' begins with '%c'; there are no prefixes here, begin with the path's /", shown,
                            path[0]);
    if (path[0] != '/')
        return text_explain(why, size, -EINVAL, "'%s' is not an absolute path", shown);
    if (path[strlen(path) - 1] == '/')
        return text_explain(why, size, -EINVAL, "'%s' is a directory, not a program", shown);
    return 0;
}

int action_split(const char *text, struct text_list *out, char *why, size_t size)
{
    *out = (struct text_list){0};
    int r = split(text, out, why, size);
    if (r == 0)
        r = check_path(out, why, size);
    if (r < 0)
        text_list_clear(out);
    return r;
}

/* NAME or NAME=VALUE, with a name as POSIX has it and that is not the daemon's to set. */
static int check_variable(const char *text, char *why, size_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    size_t len = strcspn(text, "=");
    char shown[64] = "";

    text_escape(shown, sizeof shown, 0, text);
    if (strspn(text, letters) == 0 ||
        strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_") < len)
        return text_explain(why, size, -EINVAL, "'%s' is neither NAME nor NAME=VALUE", shown);
    if (strncmp(text, OWN_PREFIX, strlen(OWN_PREFIX)) == 0)
        return text_explain(why, size, -EINVAL, "'%s': names that begin with " OWN_PREFIX " are set by the daemon",
                            shown);
    return 0;
}

static int set_environment(struct action *action, const char *value, char *why, size_t size)
{
    struct text_list list = {0};
    int r = split(value, &list, why, size);

    for (size_t i = 0; r == 0 && i < list.n; i++)
        r = check_variable(list.items[i], why, size);
    if (r < 0) {
        text_list_clear(&list);
        return r;
    }
    text_list_clear(&action->environment);
    action->environment = list;
    return 0;
}

static int set_exec(struct action *action, const char *value, char *why, size_t size)
{
    struct text_list list;
    int r = action_split(value, &list, why, size);

    if (r < 0)
        return r;
    text_list_clear(&action->exec);
    action->exec = list;
    return 0;
}

/* "'VALUE' PHRASE", quoted so that no byte of it can disturb the line. */
static int refuse_value(const char *value, const char *phrase, char *why, size_t size)
{
    char shown[64] = "";

    text_escape(shown, sizeof shown, 0, value);
    return text_explain(why, size, -EINVAL, "'%s' %s", shown, phrase);
}

static int set_span(int64_t *out, const char *value, char *why, size_t size)
{
    const char *phrase;
    int64_t span;

    if (span_parse(value, &span, &phrase) < 0)
        return refuse_value(value, phrase, why, size);
    if (span == 0)
        return refuse_value(value, "is zero", why, size);
    *out = span;
    return 0;
}

static int set_word(const char *const names[], unsigned n, unsigned *out, const char *value, char *why, size_t size)
{
    char phrase[96];
    size_t len = 0;

    for (unsigned i = 0; i < n; i++)
        if (strcmp(value, names[i]) == 0) {
            *out = i;
            return 0;
        }
    const char *near = nearest_of(value, names, n, sizeof names[0]);
    if (near != NULL)
        snprintf(phrase, sizeof phrase, "is unknown; did you mean '%s'?", near);
    else
        for (unsigned i = 0; i < n; i++)
            len +=
                (size_t)snprintf(phrase + len, sizeof phrase - len, "%s%s", i == 0 ? "is not one of " : "|", names[i]);
    return refuse_value(value, phrase, why, size);
}

static int set_retry(struct action *action, const char *value, char *why, size_t size)
{
    const char *phrase;
    uint64_t n;

    if (count_parse(value, ACTION_RETRY_MAX, &n, &phrase) < 0)
        return refuse_value(value, phrase, why, size);
    action->retry = (uint32_t)n;
    return 0;
}

int action_set(struct action *action, enum action_key key, const char *value, char *why, size_t size)
{
    unsigned word = 0;
    int r = 0;

    switch (key) {
    case ACTION_EXEC:
        return set_exec(action, value, why, size);
    case ACTION_TIMEOUT:
        return set_span(&action->timeout, value, why, size);
    case ACTION_OVERLAP:
        if ((r = set_word(overlap_names, ARRAY_SIZE(overlap_names), &word, value, why, size)) == 0)
            action->overlap = (enum action_overlap)word;
        return r;
    case ACTION_ENVIRONMENT:
        return set_environment(action, value, why, size);
    case ACTION_ALLOW:
        if ((r = set_word(allow_names, ARRAY_SIZE(allow_names), &word, value, why, size)) == 0)
            action->allow = (enum action_allow)word;
        return r;
    case ACTION_RETRY:
        return set_retry(action, value, why, size);
    case ACTION_BACKOFF:
        return set_span(&action->backoff, value, why, size);
    case ACTION_KEYS:
        break;
    }
    return -EINVAL;
}

/* SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators". */
static uint64_t next_random(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

int64_t action_backoff(int64_t base, uint32_t attempt, uint64_t *seed)
{
    int64_t bound = MAX(base, BACKOFF_MAX), wait = base;

    while (--attempt > 0 && wait < bound)
        wait = wait > bound / 2 ? bound : 2 * wait;
    return wait - wait / 2 + (int64_t)(next_random(seed) % (uint64_t)(wait / 2 + 1));
}
