#include "client.h"

#include "daemon/now.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define BUFFER_FIRST (16u << 10)

/* A reply without `more` holds at most 1000 jobs; what is longer than this comes from no twistyd. */
#define REPLY_MAX (64u << 20)

/* How often a call is sent again, and until when, as client_insist() has it. */
#define REPEATS_MAX  4
#define REPEATS_SPAN (10 * NSEC_PER_SEC)

struct client {
    char path[CLIENT_PATH_MAX];
    int fd; // -1: not connected
    int timeout_ms;
    int reader_fd; // see client_follow(); -1: none
    bool insists;
    struct emit call;  // the last one, to be sent again
    unsigned repeats;  // that are left; none once a byte was received
    int64_t repeat_by; // of CLOCK_MONOTONIC
    char *buf;         // owned; [start, end) is received, and has no NUL before `scanned`
    size_t size, start, scanned, end;
};

static bool find_user_socket(char *buf, size_t size)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");
    if (dir == NULL || dir[0] != '/' || geteuid() == 0)
        return false;
    int n = snprintf(buf, size, "%s/" USER_SOCKET, dir);
    return n > 0 && (size_t)n < size && access(buf, F_OK) == 0;
}

int client_find_socket(const char *option, char *buf, size_t size)
{
    const char *path = option != NULL ? option : getenv("TWISTY_SOCKET");

    if (path == NULL || (option == NULL && path[0] == '\0')) {
        if (find_user_socket(buf, size))
            return 0;
        path = SYSTEM_SOCKET;
    }
    size_t len = strlen(path);
    if (len >= size)
        return -ENAMETOOLONG;
    memcpy(buf, path, len + 1);
    return 0;
}

static int set_send_timeout(int fd, long timeout_ms)
{
    const struct timeval tv = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) < 0 ? -errno : 0;
}

static void drop_connection(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

/* Connect, in the place of a connection that has ended if there was one. */
static int make_connection(struct client *client)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    drop_connection(client);
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return -errno;
    memcpy(address.sun_path, client->path, sizeof address.sun_path);
    int r = set_send_timeout(client->fd, client->timeout_ms);
    if (r == 0 && connect(client->fd, (const struct sockaddr *)&address, sizeof address) < 0)
        r = errno == EAGAIN ? -ETIMEDOUT : -errno;
    if (r < 0)
        drop_connection(client);
    return r;
}

int client_open(const char *path, int timeout_ms, struct client **out)
{
    size_t len = strlen(path);

    if (len >= CLIENT_PATH_MAX)
        return -ENAMETOOLONG;
    struct client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return -ENOMEM;
    *client = (struct client){.fd = -1, .timeout_ms = timeout_ms, .reader_fd = -1, .size = BUFFER_FIRST};
    memcpy(client->path, path, len + 1);
    client->buf = malloc(client->size);
    if (client->buf == NULL) {
        client_close(client);
        return -ENOMEM;
    }
    *out = client;
    return 0;
}

void client_close(struct client *client)
{
    if (client == NULL)
        return;
    drop_connection(client);
    emit_free(&client->call);
    free(client->buf);
    free(client);
}

int client_connect(struct client *client)
{
    return client->fd >= 0 ? 0 : make_connection(client);
}

void client_follow(struct client *client, int fd)
{
    client->timeout_ms = 0;
    client->reader_fd = fd;
}

void client_insist(struct client *client)
{
    client->insists = true;
}

static int send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return 0;
        if (n < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

void client_begin_call(struct emit *e, const char *method, bool more)
{
    char name[64];

    snprintf(name, sizeof name, TWISTY_INTERFACE ".%s", method);
    emit_open(e, NULL, '{');
    emit_text(e, "method", name);
    if (more)
        emit_bool(e, "more", true);
    emit_open(e, "parameters", '{');
}

int client_send(struct client *client, struct emit *call)
{
    emit_bytes(call, "}}", sizeof "}}"); // and the NUL that ends a message
    if (call->failed)
        return -ENOMEM;
    int r = call->len > VARLINK_MESSAGE_MAX ? -EMSGSIZE : client_connect(client);
    return r < 0 ? r : send_all(client->fd, call->text, call->len);
}

int client_call(struct client *client, struct emit *call)
{
    int r = client_send(client, call);

    emit_free(&client->call);
    client->call = *call;
    *call = (struct emit){0};
    client->repeats = client->insists ? REPEATS_MAX : 0;
    client->repeat_by = now_by(CLOCK_MONOTONIC) + REPEATS_SPAN;
    return r;
}

static int wait_readable(const struct client *client)
{
    struct pollfd fds[] = {{.fd = client->fd, .events = POLLIN}, {.fd = client->reader_fd}};

    for (;;) {
        int n = poll(fds, 2, client->timeout_ms > 0 ? client->timeout_ms : -1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ETIMEDOUT;
        if (fds[0].revents != 0)
            return 0;
        return -EPIPE;
    }
}

/* Room for more bytes: first what was consumed, then a larger buffer. */
static int make_room(struct client *client)
{
    if (client->start > 0) {
        memmove(client->buf, client->buf + client->start, client->end - client->start);
        client->scanned -= client->start;
        client->end -= client->start;
        client->start = 0;
    }
    if (client->end < client->size)
        return 0;
    if (client->size >= REPLY_MAX)
        return -EMSGSIZE;
    char *larger = realloc(client->buf, client->size * 2);
    if (larger == NULL)
        return -ENOMEM;
    client->buf = larger;
    client->size *= 2;
    return 0;
}

static int receive_some(struct client *client)
{
    int r = client->end < client->size ? 0 : make_room(client);
    if (r == 0)
        r = wait_readable(client);
    if (r < 0)
        return r;
    ssize_t n = recv(client->fd, client->buf + client->end, client->size - client->end, 0);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    client->repeats = 0;
    client->end += (size_t)n;
    return 0;
}

/* After the connection has ended. When there is no new one, that it has ended remains what is wrong. */
static int call_again(struct client *client)
{
    if (client->repeats == 0 || now_by(CLOCK_MONOTONIC) >= client->repeat_by)
        return -ECONNRESET;
    client->repeats--;
    int r = make_connection(client);
    return r < 0 ? -ECONNRESET : send_all(client->fd, client->call.text, client->call.len);
}

int client_receive_text(struct client *client, const char **text, size_t *len)
{
    const char *nul;

    while ((nul = memchr(client->buf + client->scanned, '\0', client->end - client->scanned)) == NULL) {
        client->scanned = client->end;
        int r = receive_some(client);
        if (r == -ECONNRESET)
            r = call_again(client);
        if (r < 0)
            return r;
    }
    *text = client->buf + client->start;
    *len = (size_t)(nul - *text);
    client->start = client->scanned = (size_t)(nul - client->buf) + 1;
    return 0;
}

int client_receive(struct client *client, struct varlink_reply *out)
{
    const char *text;
    size_t len;

    int r = client_receive_text(client, &text, &len);
    if (r == 0 && varlink_parse_reply(text, len, out) < 0)
        r = -EBADMSG;
    return r;
}
