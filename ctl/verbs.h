/*
 * verbs - twistyctl's command line: one table of verbs and one of options, from which parsing, usage, help and
 * completion come.
 *
 * Options may stand before or after the verb and its operands; "--" ends them. The options of `add` are the keys of a
 * job, as daemon/spec.h has them.
 */
#ifndef TWISTYCTL_VERBS_H
#define TWISTYCTL_VERBS_H

#include "invocation.h"

/* Enough for every message of verbs_parse(). */
#define USAGE_ERROR_MAX 320

/* The options that every verb has. */
#define GLOBAL_OPTIONS                                                                                                 \
    (UINT64_C(1) << OPTION_SOCKET | UINT64_C(1) << OPTION_JSON | UINT64_C(1) << OPTION_QUIET |                         \
     UINT64_C(1) << OPTION_HELP | UINT64_C(1) << OPTION_VERSION)

/* Ends with one that has no name. */
extern const struct verb verbs[];

/* NULL when there is none of that name. */
const struct verb *verb_find(const char *name);

/* "rate"; without its dashes. NULL for a job's kind, which is told by an operand. */
const char *option_name(unsigned id);

/* What its value may be, "RATE" or "yes|no"; NULL for a flag. */
const char *option_takes(unsigned id);

/* Does it also stand alone, for "yes", and as --no-NAME? */
bool option_is_switch(unsigned id);

/* Is this argument an option, and not an operand? */
bool is_option(const char *arg);

/*
 * The one of `allowed` that an argument such as "--rate=5" or "-q" names; `value` is then what stands behind the "=",
 * or NULL. OPTION_COUNT when there is none.
 */
unsigned option_find(const char *arg, uint64_t allowed, const char **value);

/* Does the option need `next` (NULL: nothing follows) as its value? */
bool option_wants(unsigned id, const char *next);

/* The index of the verb among the arguments, or `argc`; options are stepped over, whatever verb they are for. */
int verb_index(int argc, char *const argv[]);

/*
 * Parse the arguments, without the program's name. 0; -EINVAL with the line for the user in `why`; -ENOMEM. On 0
 * invocation_clear() it.
 */
int verbs_parse(int argc, char *const argv[], struct invocation *out, char *why, size_t size);

void invocation_clear(struct invocation *inv);

/* Help for the verb, or for all of it when NULL; on stdout. */
void verbs_help(const struct verb *verb);

#endif
