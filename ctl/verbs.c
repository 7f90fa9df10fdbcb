#include "verbs.h"

#include "commands.h"
#include "daemon/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIT(id) (UINT64_C(1) << (id))

/* The keys of a job; its kind is an operand. */
#define SPEC_OPTIONS (((BIT(KEY_COUNT_ADDED) - 1) & ~BIT(KEY_KIND)) << OPTION_SPEC)

/* An option stands in the table of those of a job's keys with its name and its value from there. */
static const struct option {
    const char *name;
    char letter;
    const char *takes;
    const char *summary;
} options[OPTION_COUNT] = {
    [OPTION_SOCKET] = {.name = "socket", .takes = "PATH", .summary = "where the daemon listens"},
    [OPTION_JSON] = {.name = "json", .summary = "print JSON"},
    [OPTION_QUIET] = {.name = "quiet", .letter = 'q', .summary = "print less: names only for add, no headings"},
    [OPTION_HELP] = {.name = "help", .letter = 'h', .summary = "print this help, or that of a verb"},
    [OPTION_VERSION] = {.name = "version", .summary = "print the version"},
    [OPTION_IF_ABSENT] = {.name = "if-absent", .summary = "leave a running job of this name as it is"},
    [OPTION_REPLACE] = {.name = "replace", .summary = "stop a running job of this name, and take its place"},
    [OPTION_RESET_OR_ADD] = {.name = "reset-or-add",
                             .summary = "reset the job of this name, and add it if there is none"},
    [OPTION_FILE] = {.name = "file", .takes = "FILE", .summary = "the jobs of a file; - is the standard input"},
    [OPTION_ALL] = {.name = "all", .summary = "ended jobs too"},
    [OPTION_STATE] = {.name = "state", .takes = "STATE[,STATE...]", .summary = "only jobs in one of these states"},
    [OPTION_ENDED] = {.name = "ended", .summary = "only ended jobs; without a MATCH all of them"},
    [OPTION_LOOP] = {.name = "loop", .summary = "also what the daemon's loop waits for"},
    [OPTION_SPEC + KEY_NAME] = {.summary = "its name; the daemon makes one if there is none"},
    [OPTION_SPEC + KEY_COUNT] = {.summary = "ticks to give; the same as the operand N"},
    [OPTION_SPEC + KEY_RATE] = {.summary = "ticks per second, or NUMBER/SPAN: 0.5, 30/min"},
    [OPTION_SPEC + KEY_INTERVAL] = {.summary = "time between two ticks: 500ms, 2s, 1min 30s"},
    [OPTION_SPEC + KEY_DELAY] = {.summary = "time from the start to the first report"},
    [OPTION_SPEC + KEY_MISSED] = {.summary = "what becomes of ticks whose time has passed"},
    [OPTION_SPEC + KEY_IMMEDIATE] = {.summary = "whether a loop's first tick comes at its start"},
    [OPTION_SPEC + KEY_BACKGROUND] = {.summary = "whether the daemon may exit without waiting for it"},
    [OPTION_SPEC + KEY_TRANSIENT] = {.summary = "whether a restart of the daemon is its end"},
    [OPTION_SPEC + KEY_REPORT] = {.summary = "which ticks are written to the log"},
    [OPTION_SPEC + KEY_MESSAGE] = {.summary = "text that goes with its reports"},
    [OPTION_SPEC + KEY_ON_TICK] = {.summary = "action to run at each tick"},
    [OPTION_SPEC + KEY_ON_FINISH] = {.summary = "action to run when it is finished"},
    [OPTION_SPEC + KEY_ON_FAILURE] = {.summary = "what is to follow when one of its actions fails"},
    [OPTION_SPEC + KEY_ON_STOP] = {.summary = "action to run when it is stopped"},
    [OPTION_SPEC + KEY_AFTER] = {.summary = "start when the job of this name finishes"},
};

const char *const state_words[STATE_WORDS] = {"waiting", "running", "paused", "finished", "stopped", "failed"};

static const struct {
    enum ctl_status status;
    const char *meaning;
} statuses[] = {
    {CTL_DONE, "done"},
    {CTL_FAILED, "refused by the daemon, or failed"},
    {CTL_USAGE, "wrong use"},
    {CTL_NO_JOB, "a name is no job's, or a pattern fits none"},
    {CTL_NO_DAEMON, "the daemon is not running"},
    {CTL_NOT_PERMITTED, "not permitted"},
};

const char *option_name(unsigned id)
{
    if (id < OPTION_SPEC)
        return options[id].name;
    return id == OPTION_SPEC + KEY_KIND ? NULL : spec_keys[id - OPTION_SPEC].ini;
}

const char *option_takes(unsigned id)
{
    return id < OPTION_SPEC ? options[id].takes : spec_keys[id - OPTION_SPEC].values;
}

bool option_is_switch(unsigned id)
{
    return id >= OPTION_SPEC && spec_keys[id - OPTION_SPEC].type == SPEC_BOOLEAN;
}

/* A count such as -5 is no option: it is refused as a count. */
bool is_option(const char *arg)
{
    return arg[0] == '-' && arg[1] != '\0' && (arg[1] < '0' || arg[1] > '9');
}

static bool option_has_name(unsigned id, const char *name, size_t len)
{
    const char *own = option_name(id);
    return own != NULL && strlen(own) == len && memcmp(own, name, len) == 0;
}

unsigned option_find(const char *arg, uint64_t allowed, const char **value)
{
    bool is_long = arg[1] == '-';
    const char *name = arg + 2;
    const char *equals = is_long ? strchr(name, '=') : NULL;
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(arg + 1) - 1;

    for (unsigned id = 0; id < OPTION_COUNT; id++) {
        if ((allowed & BIT(id)) == 0)
            continue;
        if (is_long ? option_has_name(id, name, len) : len == 0 && options[id].letter == arg[1]) {
            *value = equals != NULL ? equals + 1 : NULL;
            return id;
        }
        if (is_long && option_is_switch(id) && strncmp(name, "no-", 3) == 0 && option_has_name(id, name + 3, len - 3)) {
            *value = "no";
            return equals == NULL ? id : OPTION_COUNT;
        }
    }
    return OPTION_COUNT;
}

bool option_wants(unsigned id, const char *next)
{
    const char *why;
    bool ignored;

    if (!option_is_switch(id))
        return option_takes(id) != NULL;
    // A digit behind a switch that stands alone is more likely a count than another way to say yes or no.
    return next != NULL && strchr("01", next[0]) == NULL && bool_parse(next, &ignored, &why) == 0;
}

/* How the user said the key: its option, or the operand. */
static void label_key(const struct invocation *inv, enum spec_key key, char *buf, size_t size)
{
    bool operand = key == KEY_KIND || (key == KEY_COUNT && inv->n_operands > 1);
    snprintf(buf, size, "%s%s", operand ? "" : "--", spec_keys[key].ini);
}

static int refuse_key(const struct invocation *inv, const struct spec_error *err, char *why, size_t size)
{
    char label[32];

    label_key(inv, err->key, label, sizeof label);
    return text_explain(why, size, -EINVAL, "%s: %s", label, err->why);
}

/* A span where a rate should be: the user knows what they want, and we know its name. */
static bool rate_is_span(const char *value)
{
    struct rate rate;
    int64_t span;
    const char *why;

    return rate_parse(value, &rate, &why) == -EINVAL && span_parse(value, &span, &why) == 0 && span > 0;
}

static int draft_key(struct spec_draft *draft, enum spec_key key, const struct invocation *inv, char *why, size_t size)
{
    const char *value = inv->value[OPTION_SPEC + key];
    struct spec_error err;

    if (value == NULL)
        return 0;
    if (key == KEY_RATE && rate_is_span(value)) {
        const char *quote = strpbrk(value, " \t") != NULL ? "'" : "";
        return text_explain(why, size, -EINVAL,
                            "--rate: '%s' is a time span, not a rate; did you mean --interval %s%s%s?", value, quote,
                            value, quote);
    }
    int r = spec_draft_set(draft, key, value, &err);
    return r == 0 || r == -ENOMEM ? r : refuse_key(inv, &err, why, size);
}

/* What is wrong whatever the daemon's defaults may be: with these, nothing is missing and nothing takes too long. */
static int check_draft(const struct spec_draft *draft, const struct invocation *inv, char *why, size_t size)
{
    const struct spec_draft defaults = {
        .spec = {.count = 1, .rate = {.ns = 1, .ticks = 1}},
        .given = 1U << KEY_COUNT | 1U << KEY_RATE,
    };
    struct job_spec spec;
    struct spec_error err;

    int r = spec_from_draft(draft, &defaults, &spec, &err);
    if (r == 0)
        spec_clear(&spec);
    return r == 0 || r == -ENOMEM ? r : refuse_key(inv, &err, why, size);
}

/* A file says all about its jobs, their names included. */
static int check_add_file(const struct invocation *inv, char *why, size_t size)
{
    if (inv->n_operands > 0)
        return text_explain(why, size, -EINVAL, "add: '%s' and --file exclude each other", inv->operands[0]);
    for (unsigned id = OPTION_SPEC; id < OPTION_COUNT; id++)
        if (inv->value[id] != NULL)
            return text_explain(why, size, -EINVAL, "--%s and --file exclude each other; say it in the file",
                                option_name(id));
    return 0;
}

/* What to do when there is a job of this name: at most one thing, and then there is a name. */
static int check_add_modes(const struct invocation *inv, char *why, size_t size)
{
    static const enum option_id modes[] = {OPTION_IF_ABSENT, OPTION_REPLACE, OPTION_RESET_OR_ADD};
    bool named = inv->value[OPTION_SPEC + KEY_NAME] != NULL || inv->value[OPTION_FILE] != NULL;
    const char *given = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        const char *name = option_name(modes[i]);
        if (inv->value[modes[i]] == NULL)
            continue;
        if (given != NULL)
            return text_explain(why, size, -EINVAL, "--%s and --%s exclude each other; give one of them", given, name);
        given = name;
    }
    if (given != NULL && !named)
        return text_explain(why, size, -EINVAL, "--%s is about a job's name; give one with --name", given);
    return 0;
}

static int check_add(struct invocation *inv, char *why, size_t size)
{
    struct spec_draft draft = {0};
    int r = 0;

    if (inv->value[OPTION_FILE] != NULL) {
        r = check_add_file(inv, why, size);
        return r < 0 ? r : check_add_modes(inv, why, size);
    }
    if (inv->n_operands == 0)
        return text_explain(why, size, -EINVAL, "add: something is missing; use 'twistyctl add %s'",
                            inv->verb->operands);
    if (inv->n_operands > 1 && inv->value[OPTION_SPEC + KEY_COUNT] != NULL)
        return text_explain(why, size, -EINVAL, "count: it is given twice, as '%s' and with --count", inv->operands[1]);
    inv->value[OPTION_SPEC + KEY_KIND] = inv->operands[0];
    if (inv->n_operands > 1)
        inv->value[OPTION_SPEC + KEY_COUNT] = inv->operands[1];
    for (unsigned key = 0; r == 0 && key < KEY_COUNT_OF_KEYS; key++)
        r = draft_key(&draft, (enum spec_key)key, inv, why, size);
    if (r == 0)
        r = check_draft(&draft, inv, why, size);
    spec_draft_clear(&draft);
    return r < 0 ? r : check_add_modes(inv, why, size);
}

static int check_state(struct invocation *inv, const char *word, size_t len, char *why, size_t size)
{
    char copy[16];

    for (unsigned i = 0; i < STATE_WORDS; i++)
        if (strlen(state_words[i]) == len && memcmp(state_words[i], word, len) == 0) {
            inv->states |= 1U << i;
            return 0;
        }
    snprintf(copy, sizeof copy, "%.*s", len < sizeof copy ? (int)len : 0, word);
    const char *near = nearest_of(copy, state_words, STATE_WORDS, sizeof state_words[0]);
    if (near != NULL)
        return text_explain(why, size, -EINVAL, "--state: '%s' is unknown; did you mean '%s'?", copy, near);
    return text_explain(why, size, -EINVAL,
                        "--state: '%.*s' is not one of waiting, running, paused, finished, stopped, failed",
                        (int)(len < NAME_LEN_MAX ? len : NAME_LEN_MAX), word);
}

static int check_list(struct invocation *inv, char *why, size_t size)
{
    const char *word = inv->value[OPTION_STATE];

    while (word != NULL) {
        size_t len = strcspn(word, ",");
        int r = check_state(inv, word, len, why, size);
        if (r < 0)
            return r;
        word = word[len] == ',' ? word + len + 1 : NULL;
    }
    return 0;
}

static int check_show(struct invocation *inv, char *why, size_t size)
{
    if (name_valid(inv->operands[0]))
        return 0;
    return text_explain(why, size, -EINVAL, "'%s' is not a job's name; 'twistyctl list' takes patterns",
                        inv->operands[0]);
}

static int check_rm(struct invocation *inv, char *why, size_t size)
{
    if (inv->n_operands > 0 || inv->value[OPTION_ENDED] != NULL)
        return 0;
    return text_explain(why, size, -EINVAL, "rm: name the jobs, or give --ended for all that have ended");
}

/* What stands behind it says which jobs a pattern means. */
#define MATCH_HELP "A MATCH is a name or a pattern with * ? [a-z]. A name must be that of a job; a pattern\n"
#define ALL_OR_NOTHING_HELP                                                                                            \
    "Otherwise the exit status is 4, or 77 when one of the jobs is somebody else's, and\n"                             \
    "nothing is done to any of them.\n"

static const char match_help[] = MATCH_HELP "means jobs that have not ended, and must fit one.\n" ALL_OR_NOTHING_HELP;

const struct verb verbs[] = {
    {
        .name = "add",
        .operands = "countdown [N] | loop [N] | once | --file FILE",
        .summary = "start a job, or those of a file",
        .help = "A countdown gives N ticks and is finished; a loop ticks for ever, or N times; once\n"
                "ticks once. What is left out comes from [defaults] in the daemon's configuration.\n"
                "A FILE has [job:NAME] sections as in twistyd.conf(5), and its own [defaults].\n",
        .options =
            SPEC_OPTIONS | BIT(OPTION_IF_ABSENT) | BIT(OPTION_REPLACE) | BIT(OPTION_RESET_OR_ADD) | BIT(OPTION_FILE),
        .max = 2,
        .words = WORD_KIND,
        .check = check_add,
        .run = command_add,
    },
    {
        .name = "list",
        .operands = "[MATCH...]",
        .summary = "list jobs",
        .help = MATCH_HELP "may fit none.\n\n"
                           "LEFT is how many ticks are still to come, EVERY the time between two, NEXT when the job\n"
                           "ticks or finishes next.\n",
        .options = BIT(OPTION_ALL) | BIT(OPTION_STATE),
        .max = SIZE_MAX,
        .words = WORD_ANY_JOB,
        .check = check_list,
        .repeatable = true,
        .run = command_list,
    },
    {
        .name = "show",
        .operands = "NAME",
        .summary = "tell all about a job",
        .min = 1,
        .max = 1,
        .words = WORD_ANY_JOB,
        .check = check_show,
        .repeatable = true,
        .run = command_show,
    },
    {
        .name = "stop",
        .operands = "MATCH...",
        .summary = "end jobs",
        .help = match_help,
        .method = "Stop",
        .min = 1,
        .max = SIZE_MAX,
        .words = WORD_LIVE_JOB,
        .run = command_steer,
    },
    {
        .name = "pause",
        .operands = "MATCH...",
        .summary = "freeze what is left of the interval",
        .help = match_help,
        .method = "Pause",
        .min = 1,
        .max = SIZE_MAX,
        .words = WORD_LIVE_JOB,
        .repeatable = true,
        .run = command_steer,
    },
    {
        .name = "resume",
        .operands = "MATCH...",
        .summary = "go on from there",
        .help = match_help,
        .method = "Resume",
        .min = 1,
        .max = SIZE_MAX,
        .words = WORD_PAUSED_JOB,
        .repeatable = true,
        .run = command_steer,
    },
    {
        .name = "reset",
        .operands = "MATCH...",
        .summary = "start again from the full count",
        .help = MATCH_HELP
        "means jobs that have not ended, and must fit one; a name may also be an ended one's.\n" ALL_OR_NOTHING_HELP,
        .method = "Reset",
        .min = 1,
        .max = SIZE_MAX,
        .words = WORD_ANY_JOB,
        .run = command_steer,
    },
    {
        .name = "rm",
        .operands = "MATCH... | --ended [MATCH...]",
        .summary = "forget jobs; those that run are stopped first",
        .help = MATCH_HELP
        "means all jobs and must fit one, or with --ended ended ones and may fit none.\n" ALL_OR_NOTHING_HELP,
        .method = "Remove",
        .options = BIT(OPTION_ENDED),
        .max = SIZE_MAX,
        .words = WORD_ANY_JOB,
        .check = check_rm,
        .run = command_remove,
    },
    {
        .name = "actions",
        .operands = "",
        .summary = "list the actions that jobs can name",
        .help = "What the configuration defines, and what became of it: RUNNING and QUEUED are runs under way,\n"
                "STARTED, FAILED and SKIPPED those since the daemon started. --json tells more.\n",
        .repeatable = true,
        .run = command_actions,
    },
    {
        .name = "status",
        .operands = "",
        .summary = "tell how the daemon is",
        .options = BIT(OPTION_LOOP),
        .repeatable = true,
        .run = command_status,
    },
    {
        .name = "watch",
        .operands = "[MATCH...]",
        .summary = "print events as they happen",
        .help =
            "One line an event, in the words of the log, from now on until the daemon ends. The first is \"ready\".\n",
        .max = SIZE_MAX,
        .words = WORD_LIVE_JOB,
        .repeatable = true,
        .run = command_watch,
    },
    {
        .name = "reload",
        .operands = "",
        .summary = "let the daemon read its configuration again",
        .help = "All or nothing: a configuration with mistakes changes nothing. Jobs that have not\n"
                "changed keep count and phase.\n",
        .run = command_reload,
    },
    {
        .name = "shutdown",
        .operands = "",
        .summary = "stop the daemon",
        .run = command_shutdown,
    },
    {
        .name = "help",
        .operands = "[VERB]",
        .summary = "print help",
        .max = 1,
        .words = WORD_VERB,
    },
    {.name = NULL},
};

const struct verb *verb_find(const char *name)
{
    for (const struct verb *verb = verbs; verb->name != NULL; verb++)
        if (strcmp(verb->name, name) == 0)
            return verb;
    return NULL;
}

int verb_index(int argc, char *const argv[])
{
    const char *value;
    int i = 0;

    for (; i < argc && is_option(argv[i]); i++) {
        if (strcmp(argv[i], "--") == 0)
            return i + 1;
        unsigned id = option_find(argv[i], UINT64_MAX, &value);
        if (id < OPTION_COUNT && value == NULL && option_wants(id, i + 1 < argc ? argv[i + 1] : NULL))
            i++;
    }
    return i < argc ? i : argc;
}

struct parser {
    int argc;
    char *const *argv;
    struct invocation *inv;
    char *why;
    size_t size;
};

static int refuse_verb(const struct parser *p, const char *name)
{
    struct nearest n;

    nearest_init(&n, name);
    for (const struct verb *verb = verbs; verb->name != NULL; verb++)
        nearest_offer(&n, verb->name);
    if (strcmp(name, "remove") == 0 || strcmp(name, "delete") == 0)
        n.best = "rm"; // no slip of the finger, but another program's word
    if (n.best != NULL)
        return text_explain(p->why, p->size, -EINVAL, "unknown verb '%s'; did you mean '%s'?", name, n.best);
    return text_explain(p->why, p->size, -EINVAL, "unknown verb '%s'; see 'twistyctl --help'", name);
}

static uint64_t allowed_options(const struct invocation *inv)
{
    return GLOBAL_OPTIONS | (inv->verb != NULL ? inv->verb->options : 0);
}

static int refuse_option(const struct parser *p, const char *arg)
{
    const struct verb *verb = p->inv->verb;
    const char *of = verb != NULL ? verb->name : "";
    const char *space = verb != NULL ? " " : "";
    int len = (int)strcspn(arg, "=");
    const char *value;
    char name[NAME_LEN_MAX];
    struct nearest n;

    if (verb != NULL && option_find(arg, UINT64_MAX, &value) < OPTION_COUNT)
        return text_explain(p->why, p->size, -EINVAL, "%s has no option '%.*s'; see 'twistyctl %s --help'", of, len,
                            arg, of);
    snprintf(name, sizeof name, "%.*s", len, arg);
    nearest_init(&n, name + strspn(name, "-"));
    for (unsigned id = 0; id < OPTION_COUNT; id++)
        if ((allowed_options(p->inv) & BIT(id)) != 0)
            nearest_offer(&n, option_name(id));
    if (n.best != NULL)
        return text_explain(p->why, p->size, -EINVAL, "unknown option '%.*s'; did you mean '--%s'?", len, arg, n.best);
    return text_explain(p->why, p->size, -EINVAL, "unknown option '%.*s'; see 'twistyctl %s%s--help'", len, arg, of,
                        space);
}

/* The option at argv[*i], and its value if that is the next argument. */
static int parse_option(struct parser *p, int *i)
{
    const char *next = *i + 1 < p->argc ? p->argv[*i + 1] : NULL;
    const char *value;

    unsigned id = option_find(p->argv[*i], allowed_options(p->inv), &value);
    if (id == OPTION_COUNT)
        return refuse_option(p, p->argv[*i]);
    if (value != NULL && option_takes(id) == NULL)
        return text_explain(p->why, p->size, -EINVAL, "--%s: it takes no value", option_name(id));
    if (value == NULL && option_wants(id, next)) {
        value = next;
        (*i)++;
    } else if (value == NULL) {
        value = option_is_switch(id) ? "yes" : "";
    }
    if (value == NULL || (id == OPTION_SOCKET && value[0] == '\0'))
        return text_explain(p->why, p->size, -EINVAL, "--%s: the value is missing: %s", option_name(id),
                            option_takes(id));
    if (p->inv->value[id] != NULL && option_takes(id) != NULL)
        return text_explain(p->why, p->size, -EINVAL, "--%s: it is given twice, as '%s' and as '%s'", option_name(id),
                            p->inv->value[id], value);
    p->inv->value[id] = value;
    return 0;
}

static int parse_arguments(struct parser *p)
{
    struct invocation *inv = p->inv;
    int at = verb_index(p->argc, p->argv);
    bool ended = false;

    if (at < p->argc && (inv->verb = verb_find(p->argv[at])) == NULL)
        return refuse_verb(p, p->argv[at]);
    for (int i = 0; i < p->argc; i++) {
        int r = 0;
        if (i == at)
            continue;
        if (!ended && strcmp(p->argv[i], "--") == 0)
            ended = true;
        else if (!ended && is_option(p->argv[i]))
            r = parse_option(p, &i);
        else
            inv->operands[inv->n_operands++] = p->argv[i];
        if (r < 0)
            return r;
    }
    return 0;
}

/* "help add" is "add --help". */
static int take_help(struct parser *p)
{
    struct invocation *inv = p->inv;

    inv->value[OPTION_HELP] = "";
    inv->verb = NULL;
    if (inv->n_operands > 0 && (inv->verb = verb_find(inv->operands[0])) == NULL)
        return refuse_verb(p, inv->operands[0]);
    return 0;
}

static int check_invocation(struct parser *p)
{
    struct invocation *inv = p->inv;
    const struct verb *verb = inv->verb;

    if (inv->value[OPTION_VERSION] != NULL || inv->value[OPTION_HELP] != NULL)
        return 0;
    if (verb == NULL)
        return text_explain(p->why, p->size, -EINVAL, "no verb is given; see 'twistyctl --help'");
    if (inv->n_operands < verb->min)
        return text_explain(p->why, p->size, -EINVAL, "%s: something is missing; use 'twistyctl %s %s'", verb->name,
                            verb->name, verb->operands);
    if (inv->n_operands > verb->max)
        return text_explain(p->why, p->size, -EINVAL, "%s: '%s' is too much; see 'twistyctl %s --help'", verb->name,
                            inv->operands[verb->max], verb->name);
    if (verb->run == NULL)
        return take_help(p);
    return verb->check != NULL ? verb->check(inv, p->why, p->size) : 0;
}

int verbs_parse(int argc, char *const argv[], struct invocation *out, char *why, size_t size)
{
    struct invocation inv = {.operands = calloc((size_t)argc + 1, sizeof inv.operands[0])};
    struct parser p = {.argc = argc, .argv = argv, .inv = &inv, .why = why, .size = size};

    if (inv.operands == NULL)
        return -ENOMEM;
    int r = parse_arguments(&p);
    if (r == 0)
        r = check_invocation(&p);
    if (r < 0) {
        invocation_clear(&inv);
        return r;
    }
    *out = inv;
    return 0;
}

void invocation_clear(struct invocation *inv)
{
    free(inv->operands);
    *inv = (struct invocation){0};
}

/* "--rate RATE", "--immediate [yes|no]" */
static int format_option(unsigned id, char *buf, size_t size)
{
    const char *name = option_name(id), *takes = option_takes(id);

    if (takes == NULL)
        return snprintf(buf, size, "--%s", name);
    return snprintf(buf, size, option_is_switch(id) ? "--%s [%s]" : "--%s %s", name, takes);
}

static void help_options(uint64_t which)
{
    char left[64];
    int width = 0;

    for (unsigned id = 0; id < OPTION_COUNT; id++)
        if ((which & BIT(id)) != 0 && format_option(id, left, sizeof left) > width)
            width = format_option(id, left, sizeof left);
    for (unsigned id = 0; id < OPTION_COUNT; id++) {
        if ((which & BIT(id)) == 0)
            continue;
        format_option(id, left, sizeof left);
        if (options[id].letter != '\0')
            printf("  -%c, %-*s  %s\n", options[id].letter, width, left, options[id].summary);
        else
            printf("      %-*s  %s\n", width, left, options[id].summary);
        if (option_is_switch(id)) {
            snprintf(left, sizeof left, "--no-%s", option_name(id));
            printf("      %-*s  the same as --%s no\n", width, left, option_name(id));
        }
    }
}

static void help_verb(const struct verb *verb)
{
    printf("usage: twistyctl %s%s%s [OPTION...]\n\n", verb->name, verb->operands[0] != '\0' ? " " : "", verb->operands);
    printf("%c%s.\n", verb->summary[0] - 'a' + 'A', verb->summary + 1);
    if (verb->help != NULL)
        printf("\n%s", verb->help);
    if (verb->options != 0) {
        puts("\nOptions:");
        help_options(verb->options);
    }
    puts("\nOptions of every verb:");
    help_options(GLOBAL_OPTIONS);
}

static void help_all(void)
{
    puts("usage: twistyctl [OPTION...] VERB [ARGUMENT...]\n\n"
         "Control twistyd, the timer service: add, list and steer jobs while they run.\n\nVerbs:");
    for (const struct verb *verb = verbs; verb->name != NULL; verb++)
        printf("  %-10s %s\n", verb->name, verb->summary);
    puts("\nOptions, before or after the verb:");
    help_options(GLOBAL_OPTIONS);
    puts("\nExit status:");
    for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
        printf("  %-10d %s\n", (int)statuses[i].status, statuses[i].meaning);
    puts("\n'twistyctl VERB --help' tells more of a verb, twistyctl(1) of everything.");
}

void verbs_help(const struct verb *verb)
{
    if (verb != NULL)
        help_verb(verb);
    else
        help_all();
}
