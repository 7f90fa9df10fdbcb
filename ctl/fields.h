/*
 * fields - members of the objects that the daemon replies. One that is missing or of another type counts as absent.
 */
#ifndef TWISTYCTL_FIELDS_H
#define TWISTYCTL_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* NULL when absent. */
const char *text_of(const json_t *object, const char *key);

/* False, and *out untouched, when absent. */
bool number_of(const json_t *object, const char *key, int64_t *out);
int64_t number_or_zero(const json_t *object, const char *key);

bool is_true(const json_t *object, const char *key);

/* Is it this text? */
bool has_word(const json_t *object, const char *key, const char *word);

#endif
