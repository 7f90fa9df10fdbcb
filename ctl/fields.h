/*
 * fields - members of the objects that the daemon replies, and of the jobs that it takes. One that is missing or of
 * another type counts as absent.
 */
#ifndef TWISTYCTL_FIELDS_H
#define TWISTYCTL_FIELDS_H

#include "daemon/emit.h"
#include "daemon/spec.h"
#include "skim.h"

bool has_text(struct skim_value object, const char *key);

/* At most size - 1 bytes of it. Returns buf; NULL when absent. */
const char *text_of(struct skim_value object, const char *key, char *buf, size_t size);

/* False, and *out untouched, when absent. */
bool number_of(struct skim_value object, const char *key, int64_t *out);
int64_t number_or_zero(struct skim_value object, const char *key);

bool is_true(struct skim_value object, const char *key);

/* Is it this text, which needs no escapes? */
bool has_word(struct skim_value object, const char *key, const char *word);

/* Emit the value of a job's key, which has been checked. */
void emit_spec(struct emit *e, enum spec_key key, const char *text);

#endif
