/*
 * config - INI text to an immutable struct config, or every mistake in it with file and line.
 *
 * Pure: it gets text, not files (conf_files.c reads those). A builder takes the main file and then its drop-ins; a
 * later file's key replaces an earlier one's, and a rate replaces an interval and the other way round. conf_text.c
 * reads the lines, this gives them their meaning.
 */
#ifndef TWISTY_CONFIG_H
#define TWISTY_CONFIG_H

#include "action.h"
#include "settings.h"
#include "spec.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config {
    struct daemon_settings daemon;
    struct actions actions;
    struct spec_draft defaults; // [defaults]
    struct job_spec *jobs;      // owned, in the order of the files
    size_t n_jobs;
};

/* One mistake, as a line for people: "FILE:LINE: section: key: what is wrong". */
typedef void config_error_fn(void *ctx, const char *line);

struct config_builder;

/* NULL when there is no memory. */
struct config_builder *config_builder_new(config_error_fn *on_error, void *ctx);
void config_builder_free(struct config_builder *b);

/* Once this is true, set by another thread, the builder's functions soon return -ECANCELED. */
void config_builder_watch(struct config_builder *b, const atomic_bool *given_up);

/* Add one file's text. Mistakes are noted, to be told in order at the end; -ENOMEM is the only other error. */
int config_builder_add(struct config_builder *b, const char *file, const char *text, size_t len);

/* Note that a file, or a directory of files, could not be added: "FILE: WHY: STRERROR"; error 0: no STRERROR. */
int config_builder_refuse(struct config_builder *b, const char *file, const char *why, int error);

/*
 * Interpret what was added. 0 with *out (free it with config_free()), -EINVAL when there was any mistake, all of
 * which have been told by then in the order of files and lines, or -ENOMEM.
 */
int config_builder_finish(struct config_builder *b, struct config **out);

void config_free(struct config *config);

/*
 * The other use of a builder, for `twistyctl add --file`: a file of [job:NAME] and [defaults] sections, whose jobs are
 * for a daemon that has defaults of its own. So what is missing is no mistake; [daemon] is one.
 */

/* A job as it is said: the text of each key, also where [defaults] has said it; NULL: not said. */
struct config_job {
    const char *values[KEY_COUNT_OF_KEYS];
    uint32_t line; // of its section
};

/* Check what was added, instead of config_builder_finish(). 0 with the number of jobs in *n; or as that. */
int config_builder_check_jobs(struct config_builder *b, size_t *n);

/* After that: the jobs, in the order of the file; false at the end. The texts are valid as long as the builder. */
bool config_builder_next_job(struct config_builder *b, struct config_job *out);

#endif
