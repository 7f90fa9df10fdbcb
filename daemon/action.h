/*
 * action - a command that the configuration defines: its keys, its command line, and when it is tried again.
 *
 * Pure. An action is immutable once it is made, and shared: the configuration and each run of it hold a reference, so
 * that a run goes on with its own copy when the configuration changes. Only what became of its runs is counted in it,
 * by the runner, and goes on from one configuration to the next.
 */
#ifndef TWISTY_ACTION_H
#define TWISTY_ACTION_H

#include "spec.h"
#include "text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What happens when an action is to be run for an event of a job, and still runs for the same event before. */
enum action_overlap { OVERLAP_SKIP, OVERLAP_QUEUE, OVERLAP_KILL };

/* Who may name it for a job over the control socket. */
enum action_allow { ALLOW_ROOT, ALLOW_GROUP };

/* What an action is run for: a job's event, with the numbers as they were then. */
struct occasion {
    char job[NAME_LEN_MAX + 1];
    uint64_t id;
    enum job_hook hook;
    bool background;
    uint64_t left, count; // COUNT_FOREVER for a loop without end
    uint64_t missed;
};

/* More tries than this cannot be asked for. */
#define ACTION_RETRY_MAX 100

enum action_key {
    ACTION_EXEC,
    ACTION_TIMEOUT,
    ACTION_OVERLAP,
    ACTION_ENVIRONMENT,
    ACTION_ALLOW,
    ACTION_RETRY,
    ACTION_BACKOFF,
    ACTION_KEYS,
};

/* Their words in the INI file. */
extern const char *const action_keys[ACTION_KEYS];

const char *action_overlap_name(enum action_overlap overlap);
const char *action_allow_name(enum action_allow allow);

/* Runs of one action, or of all. */
struct action_counts {
    uint32_t running;
    uint32_t queued;  // wait for their turn, their predecessor or their next try
    uint64_t started; // since the start, every try
    uint64_t failed;  // tries, and those that could not be taken into the line
    uint64_t skipped; // also those that gave way to the next
};

struct action_tally {
    unsigned references; // of all the actions that have had the name one after the other
    struct action_counts counts;
};

struct action {
    unsigned references;
    struct action_tally *tally;   // a reference
    char *name;                   // owned
    struct text_list exec;        // the program's absolute path and its arguments
    struct text_list environment; // "NAME" as the daemon has it, or "NAME=VALUE"
    int64_t timeout;              // ns, at least 1
    int64_t backoff;              // ns before the second try, at least 1
    uint32_t retry;               // tries after the first
    enum action_overlap overlap;
    enum action_allow allow;
};

/* An action of this name with the built-in values and no command. NULL when there is no memory. */
struct action *action_new(const char *name);
struct action *action_ref(struct action *action);
void action_unref(struct action *action);

/* Actions by name; zero-initialised is none. */
struct actions {
    struct action **list; // owned references, sorted by name
    size_t n;
};

/* The action of this name, or NULL; then *nearest, unless it is NULL, is the name that may have been meant, or NULL. */
struct action *actions_find(const struct actions *actions, const char *name, const char **nearest);

/* The index of the first whose name is after this one in the order of the list; actions->n: there is none. */
size_t actions_behind(const struct actions *actions, const char *name);

/* Those of the same name as one of `old` go on with its counts. */
void actions_succeed(struct actions *actions, const struct actions *old);

void actions_sort(struct actions *actions);
void actions_clear(struct actions *actions);

/* May somebody name it for a job, who may do everything or is just a member of the socket's group? */
bool action_permits(const struct action *action, bool privileged);

/* Set a key from its text. 0; -EINVAL or -ERANGE with a phrase that completes "KEY: ..." in `why`; -ENOMEM. */
int action_set(struct action *action, enum action_key key, const char *value, char *why, size_t size);

/*
 * Split a command line as systemd splits ExecStart= (systemd.service(5), "Command lines"): words at blanks, quotes
 * around whole words, C escapes, and no shell. What systemd would replace or treat apart (%, $, a lone ";", a prefix of
 * the path) is refused unless it is escaped as systemd has it (%%, $$): so a line that is taken means the same to both.
 * Returns as action_set().
 */
int action_split(const char *text, struct text_list *out, char *why, size_t size);

/*
 * How long to wait before try number `attempt`, the second try being 1: `base` doubled each time, but no more than an
 * hour (or `base`, if that is more), of which the second half is random so that many that failed together do not come
 * back together. *seed is the state of the random numbers.
 */
int64_t action_backoff(int64_t base, uint32_t attempt, uint64_t *seed);

#endif
