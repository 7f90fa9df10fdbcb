/*
 * fields - members of the objects that the daemon replies, and of the jobs that it takes. One that is missing or of
 * another type counts as absent.
 */
#ifndef TWISTYCTL_FIELDS_H
#define TWISTYCTL_FIELDS_H

#include "daemon/emit.h"
#include "daemon/skim.h"
#include "daemon/spec.h"

bool has_text(struct skim_value object, const char *key);

/* At most size - 1 bytes of it. Returns buf; NULL when absent. */
const char *text_of(struct skim_value object, const char *key, char *buf, size_t size);

/* False, and *out untouched, when absent. */
bool number_of(struct skim_value object, const char *key, int64_t *out);
int64_t number_or_zero(struct skim_value object, const char *key);

bool is_true(struct skim_value object, const char *key);

/* Is it this text, which needs no escapes? */
bool has_word(struct skim_value object, const char *key, const char *word);

/* Type JobSpec, in an array: the values of a job's keys, which have been checked; NULL: not given. */
void emit_job(struct emit *e, const char *const values[KEY_COUNT_OF_KEYS]);

#endif
