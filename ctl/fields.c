#include "fields.h"

#include "daemon/quantity.h"

bool has_text(struct skim_value object, const char *key)
{
    return skim_is(skim_member(object, key), '"');
}

const char *text_of(struct skim_value object, const char *key, char *buf, size_t size)
{
    return skim_text(skim_member(object, key), buf, size);
}

bool number_of(struct skim_value object, const char *key, int64_t *out)
{
    return skim_int(skim_member(object, key), out);
}

int64_t number_or_zero(struct skim_value object, const char *key)
{
    int64_t n = 0;
    number_of(object, key, &n);
    return n;
}

bool is_true(struct skim_value object, const char *key)
{
    return skim_is_word(skim_member(object, key), "true");
}

bool has_word(struct skim_value object, const char *key, const char *word)
{
    return skim_is_text(skim_member(object, key), word);
}

static void emit_spec(struct emit *e, enum spec_key key, const char *text)
{
    uint64_t count = 0;
    bool flag = false;
    const char *why;

    switch (spec_keys[key].type) {
    case SPEC_INTEGER:
        count_parse(text, COUNT_MAX, &count, &why);
        emit_int(e, spec_keys[key].json, (int64_t)count);
        break;
    case SPEC_BOOLEAN:
        bool_parse(text, &flag, &why);
        emit_bool(e, spec_keys[key].json, flag);
        break;
    case SPEC_STRING:
        emit_text(e, spec_keys[key].json, text);
        break;
    }
}

void emit_job(struct emit *e, const char *const values[KEY_COUNT_OF_KEYS])
{
    emit_open(e, NULL, '{');
    for (unsigned key = 0; key < KEY_COUNT_ADDED; key++) // it comes back without being asked to resume
        if (values[key] != NULL)
            emit_spec(e, (enum spec_key)key, values[key]);
    emit_close(e, '}');
}
