/*
 * control - the control socket: listener, connections, limits, bytes.
 *
 * It hands whole messages up and takes bytes down; what they mean is for methods.c. Messages of one connection are
 * handed up one after the other, the next when the reply to the last is complete and the peer reads: a peer that
 * sends faster than it reads waits in its own socket buffer, not in our memory.
 */
#ifndef TWISTY_CONTROL_H
#define TWISTY_CONTROL_H

#include "watch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct control;
struct conn;

/* Output beyond this is held back by who makes it: see conn_room(). */
#define CONN_OUTPUT_MAX (128u << 10)

/* Who is at the other end, from the kernel. */
struct peer {
    uid_t uid;
    pid_t pid;
    bool privileged; // root or the daemon's own user
    bool member;     // of the socket's group, or privileged
};

struct control_hooks {
    /*
     * One message, without its NUL. The reply is conn_send() and then conn_done(), now or later. False: not now, after
     * conn_may_change() has said so; it is handed up again.
     */
    bool (*message)(void *ctx, struct conn *conn, const char *text, size_t len);
    /* There is room for output again, while a reply is under way. */
    void (*room)(void *ctx, struct conn *conn);
    /* The message, NUL included, for a connection over the bounds: malloc'd, or NULL. */
    char *(*refusal)(void *ctx, uint32_t max_connections_uid, size_t *len);
    /* The same in the place of a message that was held for what then could not be kept. */
    char *(*not_durable)(void *ctx, const char *reason, bool in_force, size_t *len);
    /* The connection goes; the last that is heard of it. */
    void (*closed)(void *ctx, struct conn *conn);
    void *ctx;
};

struct control_config {
    const char *path;             // where to listen; not used with an inherited socket
    int listen_fd;                // an inherited listening socket, or -1: make one at `path`
    uint32_t max_connections;     // in all; root and the daemon's own user have some more in reserve
    uint32_t max_connections_uid; // of one user who is neither
};

/*
 * Listen. Makes the socket's directory if it is missing, holds a lock beside the socket while it lives, and unlinks a
 * socket that a dead daemon of the same user left. 0, -EADDRINUSE: another daemon listens there; or negative errno.
 * On error `why` (of `size` bytes) has the line for the user.
 */
int control_open(const struct control_config *config, struct watch_set *watches, const struct control_hooks *hooks,
                 struct control **out, char *why, size_t size);

/*
 * After the loop has ended: take no more connections, and answer what is asked on those that there are, for a moment
 * that ends. Whoever waits to be connected is left to the next daemon, if the socket is the service manager's.
 */
void control_last_turn(struct control *control);

/* Stop listening, send what is still unsent as far as the peers take it without waiting, close and unlink. */
void control_close(struct control *control);

void control_configure(struct control *control, uint32_t max_connections_uid);

/*
 * Let go of what is held for sequence numbers up to this; with an error, hooks.not_durable says what is sent instead.
 */
void control_release(struct control *control, uint64_t upto, const char *error);

/* Until it is taken back, let nothing be begun that is to be kept: see conn_may_change(). */
void control_choke(struct control *control, bool choked);

const char *control_path(const struct control *control);
uint32_t control_connections(const struct control *control);

const struct peer *conn_peer(const struct conn *conn);

/* The reply state that methods.c keeps with a connection; NULL at first. */
void *conn_data(const struct conn *conn);
void conn_set_data(struct conn *conn, void *data);

/* Queue bytes. 0 or -ENOMEM, after which the connection is closed from the loop. */
int conn_send(struct conn *conn, const char *bytes, size_t len);

/*
 * What is sent next waits, with all that is sent after it, until control_release() has come to `sequence`. in_force:
 * it tells of something that stays as it is, even if it cannot be kept. Messages are taken and answered meanwhile.
 */
void conn_hold(struct conn *conn, uint64_t sequence, bool in_force);

/* How many bytes may still be queued before hooks.room is to be waited for; 0 when none. */
size_t conn_room(struct conn *conn);

/* Call hooks.room again from the loop, after its other events: for a reply that takes long to make. */
void conn_again(struct conn *conn);

/*
 * May what this connection asks for change something that is to be kept? If not, no more messages are handed up, and
 * hooks.room is not called, until control_choke() is taken back; others are answered meanwhile.
 */
bool conn_may_change(struct conn *conn);

/* The reply to the last message is complete. */
void conn_done(struct conn *conn);

/* Close once what is queued is sent. */
void conn_finish(struct conn *conn);

/* This reply streams events until the peer goes: no idle limit, and the end of the peer's input ends it. */
void conn_subscribe(struct conn *conn);

#endif
