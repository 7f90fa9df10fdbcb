#include "varlink.h"

#include <errno.h>
#include <jansson.h>

/* A call nests four deep; what nests deeper than this was made to hurt, and is not worth building. */
#define DEPTH_MAX 32

/* The largest call adds 1000 jobs of a dozen members each. */
#define VALUES_MAX 100000

static int refuse(const char *phrase, const char **why)
{
    *why = phrase;
    return -EINVAL;
}

/*
 * jansson's own bound on nesting is 2048, and an object costs it a hundred times its text. Looking at the brackets and
 * commas first refuses such a message before any of it is built: returns why, or NULL. What is not JSON may pass: the
 * parser sees it next.
 */
static const char *cost_objection(const char *text, size_t len)
{
    unsigned depth = 0;
    size_t values = 0;
    bool quoted = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && (c == '{' || c == '[' || c == ',')) {
            depth += c != ',';
            if (depth > DEPTH_MAX)
                return "it is nested too deep";
            if (++values > VALUES_MAX)
                return "it has too many values";
        } else if (!quoted && (c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return NULL;
}

static int parse_object(const char *text, size_t len, json_t **out, const char **why)
{
    json_error_t error;

    const char *objection = cost_objection(text, len);
    if (objection != NULL)
        return refuse(objection, why);
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        if (json_error_code(&error) == json_error_out_of_memory) {
            *why = "out of memory";
            return -ENOMEM;
        }
        if (json_error_code(&error) == json_error_duplicate_key)
            return refuse("a member is given twice", why);
        return refuse("it is not JSON", why);
    }
    if (!json_is_object(root)) {
        json_decref(root);
        return refuse("it is not a JSON object", why);
    }
    *out = root;
    return 0;
}

/* Other implementations write null for what they leave out, so null is taken as left out. */
static json_t *member(json_t *root, const char *key)
{
    json_t *value = json_object_get(root, key);
    return json_is_null(value) ? NULL : value;
}

static int get_string(json_t *root, const char *key, const char **out)
{
    json_t *value = member(root, key);
    *out = json_string_value(value);
    return value == NULL || *out != NULL ? 0 : -EINVAL;
}

static int get_object(json_t *root, const char *key, json_t **out)
{
    *out = member(root, key);
    return *out == NULL || json_is_object(*out) ? 0 : -EINVAL;
}

static int get_flag(json_t *root, const char *key, unsigned flag, unsigned *flags)
{
    json_t *value = member(root, key);
    if (json_is_true(value))
        *flags |= flag;
    return value == NULL || json_is_boolean(value) ? 0 : -EINVAL;
}

static int read_call(struct varlink_call *call, const char **why)
{
    if (get_string(call->root, "method", &call->method) < 0 || call->method == NULL)
        return refuse("it has no method", why);
    if (get_object(call->root, "parameters", &call->parameters) < 0)
        return refuse("its parameters are not an object", why);
    if (get_flag(call->root, "more", VARLINK_MORE, &call->flags) < 0 ||
        get_flag(call->root, "oneway", VARLINK_ONEWAY, &call->flags) < 0 ||
        get_flag(call->root, "upgrade", VARLINK_UPGRADE, &call->flags) < 0)
        return refuse("more, oneway and upgrade are true or false", why);
    if ((call->flags & (call->flags - 1)) != 0)
        return refuse("more, oneway and upgrade exclude each other", why);
    return 0;
}

int varlink_parse_call(const char *text, size_t len, struct varlink_call *out, const char **why)
{
    struct varlink_call call = {0};

    int r = parse_object(text, len, &call.root, why);
    if (r == 0)
        r = read_call(&call, why);
    if (r < 0) {
        varlink_call_clear(&call);
        return r;
    }
    *out = call;
    return 0;
}

void varlink_call_clear(struct varlink_call *call)
{
    json_decref(call->root);
    *call = (struct varlink_call){0};
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
