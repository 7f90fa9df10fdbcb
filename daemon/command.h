/*
 * command - one process of ours, from its start until nothing is left of it to wait for.
 *
 * Its end is that of the process itself. What it has left in its pipes by then is still read; a descendant that keeps
 * them open, such as a daemon that it forked, is not waited for. Output is taken as fast as it comes, in bounded
 * memory, and what is not told of it costs little time.
 */
#ifndef TWISTY_COMMAND_H
#define TWISTY_COMMAND_H

#include "spawner.h"

enum command_stream { COMMAND_STDOUT, COMMAND_STDERR, COMMAND_STREAMS };

struct command;

struct command_hooks {
    /* It has written something: how many lines of that may be told. */
    size_t (*room)(void *ctx);
    /* A line that it wrote: any bytes, valid during the call. */
    void (*line)(void *ctx, enum command_stream stream, const char *line);
    /* So many lines there was no room for. */
    void (*skipped)(void *ctx, size_t lines);
    /* It runs now. */
    void (*started)(void *ctx);
    /*
     * It has ended, or could not be started: error is 0, or negative errno and the others say nothing. `code` is
     * CLD_EXITED or the like and `status` what goes with it, as waitid(2) has them. The last call; the command may be
     * freed from it.
     */
    void (*ended)(void *ctx, int error, int code, int status);
    void *ctx;
};

/* Start it; `ended` or `started` will be called, never from here. Borrows the texts until then. NULL: no memory. */
struct command *command_start(struct spawner *spawner, struct watch_set *watches, char *const argv[],
                              char *const envp[], const char *detail, const struct command_hooks *hooks);

/* One that still runs is killed, and not waited for. Not while it is about to start. */
void command_free(struct command *c);

/*
 * Send a signal to its process group, and let it run if it was stopped; kept for one that is about to start. The group
 * is killed when its leader ends.
 */
void command_signal(struct command *c, int signal_nr);

/* The last line of its stderr that is not empty, at most CAPTURE_LAST_MAX bytes of it; NULL when there was none. */
const char *command_last_line(const struct command *c);

#endif
