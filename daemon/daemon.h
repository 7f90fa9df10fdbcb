/*
 * daemon - builds the parts, wires them with callbacks, reloads, and tears down in reverse.
 */
#ifndef TWISTY_DAEMON_H
#define TWISTY_DAEMON_H

#include "config.h"

#include <stddef.h>

/* What the command line says; it goes before the configuration, now and on every reload. */
struct daemon_options {
    const char *config;               // the file; NULL: none
    const char *socket;               // NULL: the usual place
    const enum log_target *target;    // NULL: as configured
    const int *level;                 // NULL: as configured
    const enum loop_backend *backend; // NULL: as configured
};

struct daemon;

/*
 * Build everything, and start the configuration's jobs. Takes over the config. 0 or negative errno, then `why` has a
 * line for the user; -EADDRINUSE: another daemon has the socket.
 */
int daemon_new(const struct daemon_options *options, struct config *config, struct daemon **out, char *why,
               size_t size);

/* Run until a signal, Shutdown() or the end of all jobs says stop; then say goodbye. 0 or negative errno. */
int daemon_run(struct daemon *d);

void daemon_free(struct daemon *d);

#endif
