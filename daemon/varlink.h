/*
 * varlink - messages: frames and JSON. What they are called and bounded by is also for twistyctl, which has no jansson.
 *
 * A message is a JSON object ended by a NUL byte: https://varlink.org/Method-Call
 */
#ifndef TWISTY_VARLINK_H
#define TWISTY_VARLINK_H

#include "emit.h"

#include <stdbool.h>
#include <stddef.h>

/* The longest message that the daemon takes, NUL included. */
#define VARLINK_MESSAGE_MAX (1u << 20)

#define VARLINK_SERVICE  "org.varlink.service"
#define TWISTY_INTERFACE "io.twisty.Control"

/* Where the control socket is: below $XDG_RUNTIME_DIR for an ordinary user's daemon. */
#define USER_SOCKET   "twisty/control.sock"
#define SYSTEM_SOCKET "/run/" USER_SOCKET

enum { VARLINK_MORE = 1, VARLINK_ONEWAY = 2, VARLINK_UPGRADE = 4 };

struct json_t;

struct varlink_call {
    struct json_t *root; // owned; the others point into it
    const char *method;
    struct json_t *parameters; // an object, or NULL
    unsigned flags;
};

/* -EINVAL: not JSON, nested too deep, or not a call; or -ENOMEM. *why then says what, and *out is untouched. */
int varlink_parse_call(const char *text, size_t len, struct varlink_call *out, const char **why);
void varlink_call_clear(struct varlink_call *call);

/* A reply or an error: begin it in an empty buffer, emit its parameters, end it with its NUL. */
void varlink_begin_reply(struct emit *e);
void varlink_begin_error(struct emit *e, const char *error);
void varlink_end(struct emit *e, bool continues);

#endif
