#include "varlink.h"

#include "text.h"

#include <errno.h>
#include <string.h>

/* The members of a call. */
enum call_member { METHOD, PARAMETERS, MORE, ONEWAY, UPGRADE };

static const char *const call_members[] = {
    [METHOD] = "method", [PARAMETERS] = "parameters", [MORE] = "more", [ONEWAY] = "oneway", [UPGRADE] = "upgrade",
};

static const unsigned call_flags[] = {
    [MORE] = VARLINK_MORE,
    [ONEWAY] = VARLINK_ONEWAY,
    [UPGRADE] = VARLINK_UPGRADE,
};

/* They begin here, or null does. */
static bool read_parameters(struct skim *s, struct varlink_call *call)
{
    struct skim_value key;

    if (!skim_enter(s, '{'))
        return skim_is_word(skim_take(s), "null");
    while (skim_next_key(s, &key)) {
        struct skim_value value = skim_take(s);
        if (call->n < VARLINK_PARAMETERS_MAX)
            call->parameters[call->n++] = (struct varlink_parameter){key, value};
    }
    return true;
}

/* Other implementations write null for what they leave out, so null is taken as left out. */
static bool read_member(struct skim *s, enum call_member member, struct varlink_call *call)
{
    if (member == PARAMETERS)
        return read_parameters(s, call);
    struct skim_value value = skim_take(s);
    if (skim_is_word(value, "null"))
        return true;
    if (member == METHOD) {
        call->method = value;
        return skim_is(value, '"');
    }
    if (skim_is_word(value, "true"))
        call->flags |= call_flags[member];
    return skim_is_bool(value);
}

/* From its bracket on. None of these members may be there twice: two readers could take it for two calls. */
static bool read_call(struct skim *s, struct varlink_call *call)
{
    unsigned member, seen = 0;
    struct skim_value key;

    while (skim_next_key(s, &key)) {
        for (member = 0; member < ARRAY_SIZE(call_members) && !skim_is_text(key, call_members[member]);)
            member++;
        if (member == ARRAY_SIZE(call_members)) {
            skim_take(s);
            continue;
        }
        if ((seen & 1U << member) != 0 || !read_member(s, member, call))
            return false;
        seen |= 1U << member;
    }
    return skim_ended(s);
}

int varlink_parse_call(const char *text, size_t len, struct varlink_call *out)
{
    struct skim s = skim_begin(text, len);
    struct varlink_call call = {0};

    if (!skim_enter(&s, '{') || !read_call(&s, &call))
        return -EINVAL;
    if (call.method.text == NULL || (call.flags & (call.flags - 1)) != 0) // the flags exclude each other
        return -EINVAL;
    *out = call;
    return 0;
}

/* A member of a reply, which begins with one of these or is null; false if it does not. */
static bool take_member(struct skim *s, const char *begins, struct skim_value *out)
{
    *out = skim_take(s);
    if (skim_is_word(*out, "null"))
        *out = (struct skim_value){0};
    return out->text == NULL || strchr(begins, out->text[0]) != NULL;
}

static bool read_reply_member(struct skim *s, struct skim_value key, struct varlink_reply *reply)
{
    struct skim_value value;

    if (skim_is_text(key, "error"))
        return take_member(s, "\"", &reply->error);
    if (skim_is_text(key, "parameters"))
        return take_member(s, "{", &reply->parameters);
    if (!skim_is_text(key, "continues"))
        return skim_take(s).text != NULL;
    if (!take_member(s, "tf", &value))
        return false;
    reply->continues = skim_is_word(value, "true");
    return true;
}

int varlink_parse_reply(const char *text, size_t len, struct varlink_reply *out)
{
    struct skim s = skim_begin(text, len);
    struct varlink_reply reply = {0};
    struct skim_value key;

    if (!skim_enter(&s, '{'))
        return -EINVAL;
    while (skim_next_key(&s, &key))
        if (!read_reply_member(&s, key, &reply))
            return -EINVAL;
    if (!skim_ended(&s))
        return -EINVAL;
    *out = reply;
    return 0;
}

/* The array of this name, in the parameters that begin here. */
static bool find_values(struct skim *s, const char *name, struct varlink_slice *slice)
{
    struct skim_value key;

    if (!skim_enter(s, '{'))
        return false;
    while (skim_next_key(s, &key)) {
        struct skim_value value = skim_take(s);
        if (skim_is_text(key, name) && skim_is(value, '['))
            slice->values = value;
    }
    return true;
}

static bool read_slice_member(struct skim *s, struct skim_value key, const char *name, struct varlink_slice *slice)
{
    if (skim_is_text(key, "parameters"))
        return find_values(s, name, slice);
    struct skim_value value = skim_take(s);
    if (skim_is_text(key, "continues"))
        slice->continues = skim_is_word(value, "true");
    return !skim_is_text(key, "error") || skim_is_word(value, "null");
}

int varlink_parse_slice(const char *text, size_t len, const char *name, struct varlink_slice *out)
{
    struct skim s = skim_begin(text, len);
    struct varlink_slice slice = {0};
    struct skim_value key;

    if (!skim_enter(&s, '{'))
        return -EINVAL;
    while (skim_next_key(&s, &key))
        if (!read_slice_member(&s, key, name, &slice))
            return -EINVAL;
    if (!skim_ended(&s) || slice.values.text == NULL)
        return -EINVAL;
    *out = slice;
    return 0;
}

void varlink_begin_reply(struct emit *e)
{
    emit_open(e, NULL, '{');
    emit_open(e, "parameters", '{');
}

void varlink_begin_error(struct emit *e, const char *error)
{
    emit_open(e, NULL, '{');
    emit_text(e, "error", error);
    emit_open(e, "parameters", '{');
}

void varlink_end(struct emit *e, bool continues)
{
    emit_close(e, '}');
    if (continues)
        emit_bool(e, "continues", true);
    emit_close(e, '}');
    emit_bytes(e, "", 1);
}
