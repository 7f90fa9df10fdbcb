#include "fields.h"

#include <string.h>

const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

bool number_of(const json_t *object, const char *key, int64_t *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value))
        return false;
    *out = json_integer_value(value);
    return true;
}

int64_t number_or_zero(const json_t *object, const char *key)
{
    int64_t n = 0;
    number_of(object, key, &n);
    return n;
}

bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

bool has_word(const json_t *object, const char *key, const char *word)
{
    const char *text = text_of(object, key);
    return text != NULL && strcmp(text, word) == 0;
}
