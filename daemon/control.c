#include "control.h"

#include "buffer.h"
#include "listener.h"
#include "varlink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

/* How much is read at one time, and how many connections are taken: the loop's other events come in between. */
#define READ_MAX   (64u << 10)
#define ACCEPT_MAX 16

/* What is handled of one connection before the others, and the ticks, have their turn: well below a millisecond. */
#define TURN_MESSAGES 16
#define TURN_BYTES    4096

/* How long to leave the listener alone when there are no descriptors left. */
#define ACCEPT_PAUSE_MS 500

/* Without a request, and in the middle of a message in either direction. */
#define IDLE_TIMEOUT_MS  (10 * 60 * 1000)
#define STALL_TIMEOUT_MS (30 * 1000)

/* At the end, for replies under way, and for requests from those that were taken just now. */
#define LAST_TURN_MS 50

/* Connections beyond the bound that root and the daemon's own user may still have. */
#define RESERVED_CONNECTIONS 16

/* A message in conn::waiting, or with sequence 0 all that was sent behind one. */
struct held {
    TAILQ_ENTRY(held) link; // conn::held
    uint64_t sequence;
    size_t len;
    bool in_force;
};

struct conn {
    LIST_ENTRY(conn) link; // control::conns
    struct control *control;
    int fd;
    struct watch *watch;
    struct peer peer;
    struct buffer in, out;
    struct buffer waiting;            // goes to `out` when what it tells of is on the disk
    TAILQ_HEAD(held_list, held) held; // what is in it; owned
    uint64_t hold;                    // what is sent next waits for this; 0: for nothing
    bool hold_in_force;
    size_t scanned;  // bytes of `in` that hold no NUL
    size_t current;  // bytes of `in` that are the message which is being handed up
    bool handling;   // in conn_on_ready(), which settles at its end
    bool asked;      // it has sent a message
    bool busy;       // the reply to the last message is not complete
    bool subscribed; // ... and goes on until the peer goes
    bool eof;        // the peer sends no more
    bool finish;     // close when `out` is empty
    bool doomed;     // close as soon as the stack is unwound
    bool wants_room; // hooks.room is wanted: output was held back, or another turn is
    bool backlog;    // messages were left in `in`: for want of room, or for the next turn
    bool put_off;    // what it wants to change has to wait until the control is choked no more
    void *data;
};

struct control {
    struct listener listener;
    struct watch *accept;
    struct watch_set *watches;
    struct control_hooks hooks;
    struct control_config config;
    LIST_HEAD(conns, conn) conns;
    uint32_t n_conns;
    bool choked;
    char incoming[READ_MAX]; // what was read just now
};

static void drop_held(struct conn *conn, struct held *held)
{
    TAILQ_REMOVE(&conn->held, held, link);
    free(held);
}

static void conn_free(struct conn *conn)
{
    struct held *held, *next;

    if (conn == NULL)
        return;
    for (held = TAILQ_FIRST(&conn->held); held != NULL; held = next) {
        next = TAILQ_NEXT(held, link);
        free(held);
    }
    watch_free(conn->watch);
    buffer_free(&conn->in);
    buffer_free(&conn->out);
    buffer_free(&conn->waiting);
    close(conn->fd);
    free(conn);
}

static void conn_close(struct conn *conn)
{
    struct control *control = conn->control;

    control->hooks.closed(control->hooks.ctx, conn);
    LIST_REMOVE(conn, link);
    control->n_conns--;
    conn_free(conn);
}

/* Bytes that have not been sent, whether they may be or not. */
static size_t unsent_of(const struct conn *conn)
{
    return buffer_length(&conn->out) + buffer_length(&conn->waiting);
}

/* May something be begun that is to be answered? */
static bool may_go_on(const struct conn *conn)
{
    return !conn->put_off && buffer_length(&conn->waiting) < CONN_OUTPUT_MAX;
}

/* Is there nothing left to do with it but to close it? */
static bool is_over(const struct conn *conn)
{
    return conn->doomed || (conn->finish && unsent_of(conn) == 0);
}

/* What the connection waits for, from the state that it is in. */
static void conn_settle(struct conn *conn)
{
    size_t unsent = buffer_length(&conn->out), unread = buffer_length(&conn->in);
    bool waiting = buffer_length(&conn->waiting) > 0;
    unsigned what = 0;
    int timeout = IDLE_TIMEOUT_MS;

    if (conn->handling)
        return;
    conn->doomed = is_over(conn);
    if (!conn->eof && !conn->finish &&
        (conn->subscribed || (!conn->busy && !conn->backlog && unsent < CONN_OUTPUT_MAX && may_go_on(conn))))
        what |= WATCH_READ;
    if (unsent > 0 || ((conn->wants_room || conn->backlog) && may_go_on(conn)))
        what |= WATCH_WRITE;
    if (conn->subscribed || ((conn->busy || waiting || conn->put_off) && unsent == 0))
        timeout = 0;
    else if (unsent > 0 || unread > 0)
        timeout = STALL_TIMEOUT_MS;
    if (conn->doomed) { // be called at once, whoever did it
        what = WATCH_WRITE;
        timeout = 1;
    }
    if (watch_want(conn->watch, what, timeout) < 0)
        conn->doomed = true;
}

/* How many of these bytes the peer takes now. */
static size_t send_now(struct conn *conn, const char *bytes, size_t len)
{
    ssize_t n;

    do
        n = send(conn->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno != EAGAIN)
        conn->doomed = true;
    return n > 0 ? (size_t)n : 0;
}

/* Send what the peer takes now. */
static void conn_flush(struct conn *conn)
{
    size_t sent = 1;

    while (sent > 0 && buffer_length(&conn->out) > 0) {
        sent = send_now(conn, buffer_begin(&conn->out), buffer_length(&conn->out));
        buffer_drain(&conn->out, sent);
    }
}

/* Read some. The buffer is bounded: a message that does not end within the bound ends the connection. */
static void conn_read(struct conn *conn)
{
    char *incoming = conn->control->incoming;
    ssize_t n = recv(conn->fd, incoming, READ_MAX, 0);

    if (n == 0)
        conn->eof = true;
    else if (n > 0 ? buffer_add(&conn->in, incoming, (size_t)n) < 0 : errno != EAGAIN && errno != EINTR)
        conn->doomed = true;
    if (conn->subscribed && (conn->eof || buffer_length(&conn->in) > READ_MAX))
        conn->doomed = true;
}

/* The length of the first whole message in the buffer, its NUL included; 0 when it has none. */
static size_t message_length(struct conn *conn)
{
    size_t len = buffer_length(&conn->in);

    if (conn->scanned < len) {
        const char *begin = buffer_begin(&conn->in);
        const char *nul = memchr(begin + conn->scanned, '\0', len - conn->scanned);
        if (nul != NULL)
            return (size_t)(nul - begin) + 1;
    }
    conn->scanned = len;
    if (len > VARLINK_MESSAGE_MAX)
        conn->doomed = true;
    return 0;
}

/* Hand up messages, as long as they are answered and the peer takes the answers. */
static void conn_process(struct conn *conn)
{
    const struct control_hooks *hooks = &conn->control->hooks;
    size_t messages = 0, bytes = 0, len;

    conn->backlog = false;
    while (!conn->busy && !conn->doomed && !conn->finish && (len = message_length(conn)) > 0) {
        if (messages == TURN_MESSAGES || bytes >= TURN_BYTES || unsent_of(conn) >= CONN_OUTPUT_MAX || conn->put_off) {
            conn->backlog = true; // all of this may be sent at once, and then no event would bring us back
            break;
        }
        if (len > VARLINK_MESSAGE_MAX) {
            conn->doomed = true;
            break;
        }
        conn->asked = true;
        messages++;
        bytes += len;
        conn->busy = true;
        conn->current = len;
        bool taken = hooks->message(hooks->ctx, conn, buffer_begin(&conn->in), len - 1);
        conn->current = 0;
        if (!taken) {
            conn->busy = false;
            conn->backlog = true;
            break;
        }
        buffer_drain(&conn->in, len);
        conn->scanned = 0;
    }
    if (conn->eof && !conn->busy && message_length(conn) == 0)
        conn->finish = true;
}

static void conn_on_ready(void *ctx, unsigned what)
{
    struct conn *conn = ctx;
    const struct control_hooks *hooks = &conn->control->hooks;

    conn->handling = true;
    if ((what & WATCH_TIMEOUT) != 0)
        conn->doomed = true;
    if ((what & WATCH_READ) != 0 && !conn->doomed)
        conn_read(conn);
    if ((what & WATCH_WRITE) != 0 && !conn->doomed)
        conn_flush(conn);
    if (conn->wants_room && !conn->doomed && may_go_on(conn) && unsent_of(conn) < CONN_OUTPUT_MAX / 2) {
        conn->wants_room = false;
        hooks->room(hooks->ctx, conn);
    }
    conn_process(conn);
    if (!conn->doomed)
        conn_flush(conn);
    conn->handling = false;
    if (!is_over(conn))
        conn_settle(conn);
    if (is_over(conn))
        conn_close(conn);
}

/* Is this group among the peer's, as the kernel kept them when it connected? */
static bool peer_has_group(int fd, gid_t group, gid_t primary)
{
    socklen_t len = 64 * sizeof(gid_t);
    bool found = primary == group;
    gid_t *groups = malloc(len);
    int r = groups == NULL ? -1 : getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);

    if (groups != NULL && r < 0 && errno == ERANGE) {
        free(groups); // the kernel has said in len how many there are
        groups = malloc(len);
        r = groups == NULL ? -1 : getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
    }
    for (size_t i = 0; r == 0 && i < len / sizeof(gid_t); i++)
        found |= groups[i] == group;
    free(groups);
    return found;
}

static int peer_of(int fd, gid_t group, struct peer *out)
{
    struct ucred cred = {0};
    socklen_t len = sizeof cred;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
        return -errno;
    *out = (struct peer){.uid = cred.uid, .pid = cred.pid};
    out->privileged = cred.uid == 0 || cred.uid == geteuid();
    out->member = out->privileged || peer_has_group(fd, group, cred.gid);
    return 0;
}

static bool within_bounds(const struct control *control, const struct peer *peer)
{
    const struct conn *conn;
    uint32_t of_user = 0;

    if (peer->privileged)
        return control->n_conns < control->config.max_connections + RESERVED_CONNECTIONS;
    LIST_FOREACH (conn, &control->conns, link)
        of_user += conn->peer.uid == peer->uid;
    return control->n_conns < control->config.max_connections && of_user < control->config.max_connections_uid;
}

static struct conn *conn_new(struct control *control, int fd, const struct peer *peer)
{
    char detail[48];
    struct conn *conn = calloc(1, sizeof *conn);

    if (conn == NULL) {
        close(fd);
        return NULL;
    }
    snprintf(detail, sizeof detail, "uid %u, pid %d", peer->uid, peer->pid);
    conn->control = control;
    conn->fd = fd;
    conn->peer = *peer;
    TAILQ_INIT(&conn->held);
    conn->watch = watch_new(control->watches, fd, "connection", detail, conn_on_ready, conn);
    if (conn->watch == NULL) {
        conn_free(conn);
        return NULL;
    }
    return conn;
}

/* One connection too many: say so. The socket's buffer is empty, so that it takes this, or the peer has gone. */
static void refuse(struct control *control, int fd)
{
    size_t len;
    char *message = control->hooks.refusal(control->hooks.ctx, control->config.max_connections_uid, &len);

    if (message != NULL)
        (void)!send(fd, message, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    free(message);
    close(fd);
}

static void welcome(struct control *control, int fd, unsigned what)
{
    struct peer peer = {0};

    if (peer_of(fd, control->listener.group, &peer) < 0) {
        close(fd);
        return;
    }
    if (!within_bounds(control, &peer)) {
        refuse(control, fd);
        return;
    }
    struct conn *conn = conn_new(control, fd, &peer);
    if (conn == NULL)
        return;
    LIST_INSERT_HEAD(&control->conns, conn, link);
    control->n_conns++;
    conn_settle(conn); // first of all: a request may ask what the loop waits for
    conn_on_ready(conn, what);
}

/*
 * Who comes alone has mostly sent a request by now, and has the reply in this turn. When many come at once the others
 * wait for a turn of their own, so that this one stays short.
 */
static void on_accept(void *ctx, unsigned what)
{
    struct control *control = ctx;

    (void)what;
    for (int i = 0; i < ACCEPT_MAX; i++) {
        int fd = accept4(control->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            welcome(control, fd, i == 0 ? WATCH_READ : 0);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            // Else the loop would spin on a connection that it cannot take.
            watch_want(control->accept, 0, ACCEPT_PAUSE_MS);
            return;
        }
        if (errno != ECONNABORTED && errno != EINTR)
            break;
    }
    watch_want(control->accept, WATCH_READ, 0);
}

int control_open(const struct control_config *config, struct watch_set *watches, const struct control_hooks *hooks,
                 struct control **out, char *why, size_t size)
{
    struct control *control = calloc(1, sizeof *control);
    if (control == NULL) {
        snprintf(why, size, "%s: out of memory", config->path);
        return -ENOMEM;
    }
    LIST_INIT(&control->conns);
    control->watches = watches;
    control->hooks = *hooks;
    control->config = *config;
    int r = config->listen_fd >= 0 ? listener_inherit(&control->listener, config->listen_fd, why, size)
                                   : listener_open(&control->listener, config->path, why, size);
    if (r == 0) {
        control->accept =
            watch_new(watches, control->listener.fd, "listener", control->listener.path, on_accept, control);
        if (control->accept == NULL || watch_want(control->accept, WATCH_READ, 0) < 0) {
            snprintf(why, size, "%s: out of memory", config->path);
            r = -ENOMEM;
        }
    }
    if (r < 0) {
        control_close(control);
        return r;
    }
    *out = control;
    return 0;
}

/* Answer what has come. Is there a connection that still waits for a reply, or has not asked for any? */
static bool turn(struct control *control)
{
    struct conn *conn, *next;
    bool unfinished = false;

    for (conn = LIST_FIRST(&control->conns); conn != NULL; conn = next) {
        next = LIST_NEXT(conn, link);
        unfinished |= !conn->asked || (conn->busy && !conn->subscribed);
        conn_on_ready(conn, conn->busy ? 0 : WATCH_READ);
    }
    return unfinished;
}

void control_last_turn(struct control *control)
{
    watch_want(control->accept, 0, 0);
    for (int ms = 0; turn(control) && ms < LAST_TURN_MS; ms++)
        usleep(1000);
}

void control_close(struct control *control)
{
    struct conn *conn, *next;

    if (control == NULL)
        return;
    watch_free(control->accept);
    for (conn = LIST_FIRST(&control->conns); conn != NULL; conn = next) {
        next = LIST_NEXT(conn, link);
        conn_flush(conn);
        conn_close(conn);
    }
    listener_close(&control->listener);
    free(control);
}

void control_configure(struct control *control, uint32_t max_connections_uid)
{
    control->config.max_connections_uid = max_connections_uid;
}

const char *control_path(const struct control *control)
{
    return control->listener.path;
}

uint32_t control_connections(const struct control *control)
{
    return control->n_conns;
}

const struct peer *conn_peer(const struct conn *conn)
{
    return &conn->peer;
}

void *conn_data(const struct conn *conn)
{
    return conn->data;
}

void conn_set_data(struct conn *conn, void *data)
{
    conn->data = data;
}

/* Note that so many bytes come into conn::waiting next. */
static int note_held(struct conn *conn, size_t len)
{
    struct held *last = TAILQ_LAST(&conn->held, held_list);

    if (conn->hold == 0 && last != NULL && last->sequence == 0) {
        last->len += len;
        return 0;
    }
    struct held *held = malloc(sizeof *held);
    if (held == NULL)
        return -ENOMEM;
    *held = (struct held){.sequence = conn->hold, .len = len, .in_force = conn->hold_in_force};
    TAILQ_INSERT_TAIL(&conn->held, held, link);
    conn->hold = 0;
    return 0;
}

/* Is this the answer to all that has come? Then nothing will go out together with it. */
static bool answers_all(const struct conn *conn)
{
    return conn->handling && buffer_length(&conn->in) == conn->current && buffer_length(&conn->out) == 0;
}

int conn_send(struct conn *conn, const char *bytes, size_t len)
{
    bool waits = conn->hold > 0 || !TAILQ_EMPTY(&conn->held);
    // Before all that is still to be done here: the peer can go on meanwhile.
    size_t sent = !waits && answers_all(conn) ? send_now(conn, bytes, len) : 0;
    int r = waits ? note_held(conn, len) : 0;

    if (r == 0)
        r = buffer_add(waits ? &conn->waiting : &conn->out, bytes + sent, len - sent);
    if (r < 0)
        conn->doomed = true;
    conn_settle(conn);
    return r;
}

void conn_hold(struct conn *conn, uint64_t sequence, bool in_force)
{
    conn->hold = sequence;
    conn->hold_in_force = in_force;
}

/* The first message that is held goes out, or what is to be said instead. */
static void release(struct conn *conn, struct held *held, const char *error)
{
    const struct control_hooks *hooks = &conn->control->hooks;
    size_t len = held->len;
    char *message = NULL;

    if (held->sequence > 0 && error != NULL) {
        message = hooks->not_durable(hooks->ctx, error, held->in_force, &len);
        if (message == NULL)
            conn->doomed = true;
    }
    if (conn->doomed || buffer_add(&conn->out, message != NULL ? message : buffer_begin(&conn->waiting), len) < 0)
        conn->doomed = true;
    buffer_drain(&conn->waiting, held->len);
    free(message);
}

void control_release(struct control *control, uint64_t upto, const char *error)
{
    struct conn *conn;
    struct held *held, *next;

    if (control == NULL)
        return;
    LIST_FOREACH (conn, &control->conns, link) {
        if (TAILQ_EMPTY(&conn->held))
            continue;
        for (held = TAILQ_FIRST(&conn->held); held != NULL && held->sequence <= upto && !conn->doomed; held = next) {
            next = TAILQ_NEXT(held, link);
            release(conn, held, error);
            drop_held(conn, held);
        }
        conn_flush(conn);
        conn_settle(conn);
    }
}

void control_choke(struct control *control, bool choked)
{
    struct conn *conn;

    if (control->choked == choked)
        return;
    control->choked = choked;
    LIST_FOREACH (conn, &control->conns, link) {
        if (!conn->put_off)
            continue;
        conn->put_off = false;
        conn_settle(conn);
    }
}

void conn_again(struct conn *conn)
{
    conn->wants_room = true;
    conn_settle(conn);
}

size_t conn_room(struct conn *conn)
{
    size_t unsent = unsent_of(conn);

    if (unsent < CONN_OUTPUT_MAX)
        return CONN_OUTPUT_MAX - unsent;
    conn->wants_room = true;
    return 0;
}

bool conn_may_change(struct conn *conn)
{
    conn->put_off = conn->control->choked;
    return !conn->put_off;
}

void conn_done(struct conn *conn)
{
    conn->busy = false;
    conn->subscribed = false;
    conn->wants_room = false;
    if (!conn->handling && buffer_length(&conn->in) > 0)
        conn->backlog = true; // requests that were sent before this reply: no event would bring us back to them
    conn_settle(conn);
}

void conn_finish(struct conn *conn)
{
    conn->finish = true;
    conn_settle(conn);
}

void conn_subscribe(struct conn *conn)
{
    conn->subscribed = true;
    conn_settle(conn);
}
