/*
 * listener - makes the control socket safely: its directory, its lock, its mode, and what a dead daemon left.
 *
 * A lock file beside the socket (PATH.lock) is held while the listener lives, so that two daemons never fight over
 * one path, and so that what lies at the path is known to be stale before it is unlinked.
 */
#ifndef TWISTY_LISTENER_H
#define TWISTY_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct listener {
    int fd;         // listening, non-blocking; -1: none
    int lock_fd;    // held; -1: none, the socket is inherited
    bool bound;     // the socket at `path` is ours to unlink
    gid_t group;    // of the socket: who may connect
    char path[108]; // what people call it
};

/* The group whose members may use the control socket of a daemon that runs as root. */
#define CONTROL_GROUP "twisty"

/*
 * Listen at `path`; mode 0660 and CONTROL_GROUP as root, else 0600. 0, -EADDRINUSE when another daemon does, or
 * negative errno; then `why` has a line that says what is wrong and what to do.
 */
int listener_open(struct listener *l, const char *path, char *why, size_t size);

/* Take over a listening socket from the service manager. One without a path has the daemon's own group. */
int listener_inherit(struct listener *l, int fd, char *why, size_t size);

/* Close, and unlink what listener_open() made. */
void listener_close(struct listener *l);

#endif
