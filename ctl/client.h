/*
 * client - one connection to twistyd's control socket: send calls, receive replies. It blocks.
 */
#ifndef TWISTYCTL_CLIENT_H
#define TWISTYCTL_CLIENT_H

#include "daemon/varlink.h"

#include <sys/un.h>

struct client;

/* The longest path of a socket, with its NUL. */
#define CLIENT_PATH_MAX sizeof(((struct sockaddr_un *)NULL)->sun_path)

/*
 * Where the daemon listens: `option` if it is not NULL, else $TWISTY_SOCKET, else for an ordinary user
 * $XDG_RUNTIME_DIR/twisty/control.sock if there is one, else /run/twisty/control.sock. 0 or -ENAMETOOLONG.
 */
int client_find_socket(const char *option, char *buf, size_t size);

/*
 * Make one for the daemon at this path. The first call connects, if client_connect() has not: it is written by then,
 * and the daemon has it together with the connection. timeout_ms bounds each wait for the daemon; 0: none.
 * 0, -ENAMETOOLONG or -ENOMEM.
 */
int client_open(const char *path, int timeout_ms, struct client **out);

void client_close(struct client *client);

/* Connect, unless it is connected. 0, -ETIMEDOUT, or what socket(2) and connect(2) say. */
int client_connect(struct client *client);

/*
 * From now on wait for the daemon without a bound, but no longer than somebody reads from the pipe behind `fd`:
 * then client_receive() returns -EPIPE.
 */
void client_follow(struct client *client, int fd);

/*
 * From now on a call is sent again, on a new connection, when its own ends before the first byte of a reply: a daemon
 * that is killed and started again has not answered whom it had taken. At most four times, and for ten seconds. Only
 * for what may be done twice.
 */
void client_insist(struct client *client);

/* Begin a call of a method of io.twisty.Control in an empty buffer: what is emitted next are its parameters. */
void client_begin_call(struct emit *e, const char *method, bool more);

/*
 * End the call and send it; takes over the buffer's text. 0, -EMSGSIZE: longer than the daemon takes, -ETIMEDOUT,
 * -ENOMEM, another errno, or as client_connect(). A daemon that hung up is found by client_receive(), after its last
 * words.
 */
int client_call(struct client *client, struct emit *call);

/* The same, but the text stays the caller's, and is not sent again. */
int client_send(struct client *client, struct emit *call);

/*
 * The next reply; it is valid until the next one is received. 0, -ECONNRESET: the daemon hung up, -ETIMEDOUT, -EBADMSG:
 * not a reply, -EMSGSIZE, -ENOMEM or another errno.
 */
int client_receive(struct client *client, struct varlink_reply *out);

/* The same as text, which its NUL ends. Never -EBADMSG. */
int client_receive_text(struct client *client, const char **text, size_t *len);

#endif
