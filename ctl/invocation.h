/*
 * invocation - what a command line asks for: the types that verbs.c makes and commands.c carries out.
 */
#ifndef TWISTYCTL_INVOCATION_H
#define TWISTYCTL_INVOCATION_H

#include "daemon/spec.h"

#include <stddef.h>
#include <stdint.h>

/* Exit statuses, as twistyctl(1) has them. */
enum ctl_status {
    CTL_DONE = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    CTL_NO_JOB = 4,
    CTL_NO_DAEMON = 7,
    CTL_NOT_PERMITTED = 77,
};

/* From OPTION_SPEC on there is one option for each key of a job: OPTION_SPEC + KEY_RATE is --rate. */
enum option_id {
    OPTION_SOCKET,
    OPTION_JSON,
    OPTION_QUIET,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_IF_ABSENT,
    OPTION_REPLACE,
    OPTION_RESET_OR_ADD,
    OPTION_FILE,
    OPTION_ALL,
    OPTION_STATE,
    OPTION_ENDED,
    OPTION_LOOP,
    OPTION_SPEC,
    OPTION_COUNT = OPTION_SPEC + KEY_COUNT_OF_KEYS,
};

/* What a word on the command line may be, for completion. */
enum word_class { WORD_NONE, WORD_VERB, WORD_KIND, WORD_LIVE_JOB, WORD_PAUSED_JOB, WORD_ANY_JOB };

struct session; // commands.c
struct invocation;

struct verb {
    const char *name;
    const char *operands; // for the usage line
    const char *summary;
    const char *help;      // what the summary leaves open; NULL: nothing
    const char *method;    // of io.twisty.Control, where the verb is just that
    uint64_t options;      // a bit for each enum option_id, besides the global ones
    size_t min, max;       // operands
    enum word_class words; // what the operands are
    bool repeatable;       // to do it twice is to do it once: see client_insist()
    /* What the tables cannot say. 0, -EINVAL with a line in `why`, -ENOMEM. NULL: nothing. */
    int (*check)(struct invocation *inv, char *why, size_t size);
    enum ctl_status (*run)(struct session *session);
};

struct invocation {
    const struct verb *verb;         // NULL: none was named, and --help or --version was given
    const char *value[OPTION_COUNT]; // "" for a flag, NULL when it was not given; point into argv
    const char **operands;           // owned; they point into argv
    size_t n_operands;
    unsigned states; // of --state: a bit for each entry of state_words
};

/* The states of a job, as the interface names them. */
#define STATE_WORDS 6
extern const char *const state_words[STATE_WORDS];

#endif
