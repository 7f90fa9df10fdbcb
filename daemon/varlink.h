/*
 * varlink - messages: calls and replies, their frames and their JSON. Pure; shared by the daemon and twistyctl.
 *
 * A message is a JSON object ended by a NUL byte: https://varlink.org/Method-Call
 */
#ifndef TWISTY_VARLINK_H
#define TWISTY_VARLINK_H

#include "emit.h"
#include "skim.h"

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

/* More parameters than any method has: of as many, one is unknown, or is there twice. */
#define VARLINK_PARAMETERS_MAX 8

/* The longest name of a parameter or member that an error tells back whole, and a NUL. */
#define VARLINK_NAME_ROOM 64

struct varlink_parameter {
    struct skim_value key, value;
};

/* It points into the message. */
struct varlink_call {
    struct skim_value method; // a string
    struct varlink_parameter parameters[VARLINK_PARAMETERS_MAX];
    size_t n; // parameters, as far as there is room
    unsigned flags;
};

/*
 * Read a call; `len` is without the NUL that ends the text. -EINVAL, and *out is untouched: it is not JSON, nested too
 * deep, or not a call.
 */
int varlink_parse_call(const char *text, size_t len, struct varlink_call *out);

/* A reply; it points into the message. What is null counts as absent. */
struct varlink_reply {
    struct skim_value error;      // a string; absent: it is a result
    struct skim_value parameters; // an object
    bool continues;
};

/* A slice of a reply: an array in its parameters. */
struct varlink_slice {
    struct skim_value values; // the array
    bool continues;
};

/* Read a reply. -EINVAL: it is none, or no JSON. */
int varlink_parse_reply(const char *text, size_t len, struct varlink_reply *out);

/*
 * Read a reply whose parameters have an array of this name, and pass over it once. -EINVAL: it has no such array, is an
 * error, or is no JSON; varlink_parse_reply() tells which.
 */
int varlink_parse_slice(const char *text, size_t len, const char *name, struct varlink_slice *out);

/* A reply or an error: begin it in an empty buffer, emit its parameters, end it with its NUL. */
void varlink_begin_reply(struct emit *e);
void varlink_begin_error(struct emit *e, const char *error);
void varlink_end(struct emit *e, bool continues);

#endif
