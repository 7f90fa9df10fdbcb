#include "sink.h"

#include "line.h"
#include "now.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define SYSLOG_SOCKET  "/dev/log"

/* A line with every field around it. */
#define MESSAGE_MAX (SINK_LINE_MAX + 2048)

/* What queued lines may take of memory. */
#define QUEUE_BYTES_MAX (8u << 20)

/* Queued lines that are sent in one turn of the loop. */
#define DRAIN_BATCH 64

/* How soon a receiver that has gone is looked for, at first and at last. */
#define RETRY_MS_FIRST 200
#define RETRY_MS_MAX   5000

/* The same while the sink closes. */
#define RETRY_MS_CLOSING 20

/* More than the default, so that the kernel takes a burst that the receiver is about to read. */
#define SEND_BUFFER (1 << 20)

enum sink_state {
    FLOWING, // lines are sent at once; nothing is queued
    STUCK,   // the receiver takes no more: until it can be written to
    AWAY,    // there is no receiver: it is looked for after retry_ms
};

struct queued_line {
    STAILQ_ENTRY(queued_line) link; // sink::queue
    size_t len;
    size_t done; // so much of it is out
    char bytes[];
};

struct sink {
    enum log_target target;
    int fd;
    bool owned;                 // fd is ours to close
    struct sockaddr_un address; // of the receiver of datagrams
    bool socket;                // stderr is a socket
    bool poll_first;            // stderr could not be opened anew without blocking
    bool levels;                // stderr leads to the journal, which takes sd-daemon(3) levels
    bool torn;                  // the last line on stderr broke off before its end
    enum sink_state state;
    bool waiting; // the watch will call
    int retry_ms;
    struct watch *watch;
    void (*on_ready)(void *ctx);
    void *ctx;
    STAILQ_HEAD(line_queue, queued_line) queue;
    size_t queue_bytes;
    uint32_t queued;
    uint64_t sent;
    uint64_t lost;
    uint64_t untold;  // lost since the last line that told how many
    time_t stamp_sec; // when `stamp` was made
    size_t stamp_len;
    char stamp[sizeof("Jan  1 00:00:00 twistyd[2147483647]: ")];
};

static void add_two_digits(struct line *out, int n)
{
    line_bytes(out, (const char[]){(char)('0' + n / 10 % 10), (char)('0' + n % 10)}, 2);
}

/* "Jan  1 00:00:00 twistyd[1]: ": RFC 3164's time and tag, made once a second. */
static void refresh_stamp(struct sink *s)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = time(NULL);
    struct line out;
    struct tm tm;

    if (now == s->stamp_sec || !localtime_r(&now, &tm))
        return;
    out = line_begin(s->stamp, sizeof s->stamp);
    line_text(&out, months[tm.tm_mon]);
    line_text(&out, tm.tm_mday < 10 ? "  " : " ");
    line_number(&out, (uint64_t)tm.tm_mday);
    line_text(&out, " ");
    add_two_digits(&out, tm.tm_hour);
    line_text(&out, ":");
    add_two_digits(&out, tm.tm_min);
    line_text(&out, ":");
    add_two_digits(&out, tm.tm_sec);
    line_text(&out, " twistyd[");
    line_number(&out, (uint64_t)getpid());
    line_text(&out, "]: ");
    s->stamp_sec = now;
    s->stamp_len = out.len;
}

/* The length of a line that may have to be cut: never within a character. */
static size_t cut_length(const struct sink_record *record)
{
    size_t len = SINK_LINE_MAX;

    if (record->len <= SINK_LINE_MAX)
        return record->len;
    while (len > 0 && ((unsigned char)record->line[len] & 0xc0) == 0x80)
        len--;
    return len;
}

/* A field with a newline in it goes with its length before it; one that does not fit is left out. */
static void add_field(struct line *out, const char *name, const char *value, size_t len)
{
    uint64_t length = htole64(len);

    if (strlen(name) + sizeof("\n") + sizeof length + len + sizeof("\n") > out->size - out->len)
        return;
    line_text(out, name);
    if (memchr(value, '\n', len)) {
        line_text(out, "\n");
        line_bytes(out, &length, sizeof length);
    } else {
        line_text(out, "=");
    }
    line_bytes(out, value, len);
    line_text(out, "\n");
}

static void format_journal(struct line *out, const struct sink_record *record)
{
    line_text(out, "PRIORITY=");
    line_number(out, (uint64_t)record->priority);
    line_text(out, "\nSYSLOG_FACILITY=");
    line_number(out, LOG_FAC(LOG_DAEMON));
    line_text(out, "\nSYSLOG_IDENTIFIER=twistyd\n");
    add_field(out, "MESSAGE", record->line, cut_length(record));
    if (record->message_id != NULL)
        add_field(out, "MESSAGE_ID", record->message_id, strlen(record->message_id));
    for (unsigned i = 0; i < record->n_fields; i++)
        add_field(out, record->fields[i].name, record->fields[i].value, record->fields[i].len);
}

static void format_syslog(struct sink *s, struct line *out, const struct sink_record *record)
{
    refresh_stamp(s);
    line_text(out, "<");
    line_number(out, (uint64_t)(LOG_DAEMON | record->priority));
    line_text(out, ">");
    line_bytes(out, s->stamp, s->stamp_len);
    line_bytes(out, record->line, cut_length(record));
}

static void format_stderr(const struct sink *s, struct line *out, const struct sink_record *record)
{
    if (s->levels) {
        line_text(out, "<");
        line_number(out, (uint64_t)record->priority);
        line_text(out, ">");
    }
    line_bytes(out, record->line, cut_length(record));
    line_text(out, "\n");
}

static size_t format_record(struct sink *s, const struct sink_record *record, char *buf, size_t size)
{
    struct line out = line_begin(buf, size);

    if (s->target == LOG_TARGET_JOURNAL)
        format_journal(&out, record);
    else if (s->target == LOG_TARGET_SYSLOG)
        format_syslog(s, &out, record);
    else
        format_stderr(s, &out, record);
    return out.len;
}

static int connect_receiver(struct sink *s)
{
    return connect(s->fd, (const struct sockaddr *)&s->address, sizeof s->address) < 0 ? -errno : 0;
}

/* 0, -EAGAIN, -ENOTCONN when there is no receiver, or what is wrong with this one message. */
static int send_datagram(struct sink *s, const char *bytes, size_t len)
{
    for (bool found = false;;) {
        if (send(s->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return 0;
        switch (errno) {
        case EINTR:
            break;
        case ECONNREFUSED:
        case ECONNRESET:
        case ENOTCONN:
        case ENOENT:
        case EPIPE:
            if (found || connect_receiver(s) < 0)
                return -ENOTCONN;
            found = true;
            break;
        case ENOBUFS: // the kernel is short of memory, and no descriptor tells when it has some again
        case ENOMEM:
            return -ENOTCONN;
        default:
            return -errno;
        }
    }
}

static bool writable_now(int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLOUT};

    return poll(&pfd, 1, 0) > 0;
}

static int write_rest(struct sink *s, const char *bytes, size_t len, size_t *done)
{
    while (*done < len) {
        ssize_t n;

        if (s->poll_first && !writable_now(s->fd))
            return -EAGAIN;
        if (s->socket)
            n = send(s->fd, bytes + *done, len - *done, MSG_DONTWAIT | MSG_NOSIGNAL);
        else
            n = write(s->fd, bytes + *done, len - *done);
        if (n >= 0)
            *done += (size_t)n;
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

/* A line whose end is missing is ended first, lest the next one be taken for a part of it. */
static int write_stderr(struct sink *s, const char *bytes, size_t len, size_t *done)
{
    size_t ended = 0;
    int r;

    if (s->torn && (r = write_rest(s, "\n", 1, &ended)) < 0)
        return r;
    s->torn = false;
    r = write_rest(s, bytes, len, done);
    s->torn = r < 0 && r != -EAGAIN && *done > 0;
    return r;
}

static void wait_for(struct sink *s, enum sink_state state)
{
    int r;

    if (state == AWAY) {
        r = watch_want(s->watch, 0, s->retry_ms);
        s->retry_ms = MIN(2 * s->retry_ms, RETRY_MS_MAX);
    } else {
        r = watch_want(s->watch, state == STUCK ? WATCH_WRITE : 0, 0);
        s->retry_ms = RETRY_MS_FIRST;
    }
    s->state = state;
    s->waiting = state != FLOWING && r == 0;
}

/* Send from *done on. 0, -EAGAIN when the rest has to wait, or a negative errno: the receiver does not want it. */
static int transmit(struct sink *s, const char *bytes, size_t len, size_t *done)
{
    bool datagram = s->target != LOG_TARGET_STDERR;
    int r = datagram ? send_datagram(s, bytes, len) : write_stderr(s, bytes, len, done);

    if (r == 0)
        s->sent++;
    else if (r == -EAGAIN)
        wait_for(s, STUCK);
    else if (r == -ENOTCONN && datagram) {
        wait_for(s, AWAY);
        r = -EAGAIN;
    }
    return r;
}

static int enqueue(struct sink *s, const char *bytes, size_t len, size_t done)
{
    size_t size = sizeof(struct queued_line) + len;
    struct queued_line *line;

    if (size > QUEUE_BYTES_MAX - s->queue_bytes || (line = malloc(size)) == NULL)
        return -ENOBUFS;
    line->len = len;
    line->done = done;
    memcpy(line->bytes, bytes, len);
    STAILQ_INSERT_TAIL(&s->queue, line, link);
    s->queue_bytes += size;
    s->queued++;
    return 0;
}

static void dequeue(struct sink *s)
{
    struct queued_line *line = STAILQ_FIRST(&s->queue);

    STAILQ_REMOVE_HEAD(&s->queue, link);
    s->queue_bytes -= sizeof *line + line->len;
    s->queued--;
    free(line);
}

static void count_lost(struct sink *s)
{
    s->lost++;
    s->untold++;
}

/* Send a line past the empty queue; what does not go at once of a line that has begun is queued. */
static int send_now(struct sink *s, const char *bytes, size_t len)
{
    size_t done = 0;
    int r = transmit(s, bytes, len, &done);

    if (r != -EAGAIN || done == 0)
        return r;
    r = enqueue(s, bytes, len, done);
    s->torn = r < 0;
    return r;
}

/* The line that tells of lost ones. */
static size_t format_lost(struct sink *s, char *buf, size_t size)
{
    char text[48];
    struct line line = line_begin(text, sizeof text);
    struct sink_record record = {
        .priority = LOG_WARNING,
        .line = text,
        .fields = {{"TWISTY_EVENT", "lost", strlen("lost")}},
        .n_fields = 1,
    };

    line_text(&line, "lost lines=");
    line_number(&line, s->untold);
    record.len = line.len;
    return format_record(s, &record, buf, size);
}

static int tell_lost(struct sink *s)
{
    char bytes[256];
    int r = send_now(s, bytes, format_lost(s, bytes, sizeof bytes));

    if (r == 0)
        s->untold = 0;
    return r;
}

/* Queue a line, after the one that tells of those that did not fit before it. */
static int keep_line(struct sink *s, const char *bytes, size_t len)
{
    if (s->untold > 0) {
        char lost[256];
        size_t lost_len = format_lost(s, lost, sizeof lost);

        if (enqueue(s, lost, lost_len, 0) == 0)
            s->untold = 0;
    }
    if (s->untold == 0 && enqueue(s, bytes, len, 0) == 0)
        return 0;
    count_lost(s);
    return -ENOBUFS;
}

/* Send at most `max` queued lines; with the last of them out, lines flow again. */
static void drain(struct sink *s, unsigned max)
{
    struct queued_line *line;

    while ((line = STAILQ_FIRST(&s->queue)) != NULL) {
        int r;

        if (max-- == 0) {
            wait_for(s, STUCK);
            return;
        }
        r = transmit(s, line->bytes, line->len, &line->done);
        if (r == -EAGAIN)
            return;
        if (r < 0)
            count_lost(s);
        dequeue(s);
    }
    wait_for(s, FLOWING);
    if (s->untold > 0)
        tell_lost(s);
}

static void on_watch(void *ctx, unsigned what)
{
    struct sink *s = ctx;

    (void)what;
    drain(s, DRAIN_BATCH);
    if (s->state == FLOWING)
        s->on_ready(s->ctx);
}

int sink_write(struct sink *s, const struct sink_record *record, bool keep)
{
    char bytes[MESSAGE_MAX];
    size_t len;
    int r = 0;

    if (s->state != FLOWING && !s->waiting)
        drain(s, DRAIN_BATCH);
    if (s->state == FLOWING && s->untold > 0)
        r = tell_lost(s);
    if (s->state != FLOWING && !keep)
        return -EAGAIN;
    len = format_record(s, record, bytes, sizeof bytes);
    if (r == 0)
        r = s->state == FLOWING ? send_now(s, bytes, len) : -EAGAIN;
    if (r == -EAGAIN && keep)
        return keep_line(s, bytes, len);
    if (r < 0 && r != -EAGAIN)
        count_lost(s);
    return r;
}

static int open_datagram(struct sink *s, enum log_target target, const char *path)
{
    int r, size = SEND_BUFFER;

    if (strlen(path) >= sizeof s->address.sun_path)
        return -ENAMETOOLONG;
    s->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(s->address.sun_path, path, strlen(path) + 1);
    s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0)
        return -errno;
    s->target = target;
    s->owned = true;
    (void)setsockopt(s->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size); // a smaller one does too
    r = connect_receiver(s);
    if (r < 0) {
        close(s->fd);
        s->owned = false;
    }
    return r;
}

/* Does this file lead to the journal, as systemd says in "DEVICE:INODE"? */
static bool is_journal_stream(const struct stat *st)
{
    const char *text = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    char *end;

    if (text == NULL)
        return false;
    device = strtoull(text, &end, 10);
    if (end == text || *end != ':')
        return false;
    inode = strtoull(end + 1, &end, 10);
    return *end == '\0' && device == st->st_dev && inode == st->st_ino;
}

bool sink_stderr_is_journal(void)
{
    struct stat st;

    return fstat(STDERR_FILENO, &st) == 0 && is_journal_stream(&st);
}

/*
 * A pipe or terminal is opened anew: O_NONBLOCK on descriptor 2 itself would be seen by everybody who has it, the
 * shell for one. Where that is not allowed, and for all else but sockets, which have MSG_DONTWAIT, it is written to
 * as it is.
 */
static int open_stderr(struct sink *s)
{
    struct stat st;

    if (fstat(STDERR_FILENO, &st) < 0)
        return -errno;
    s->target = LOG_TARGET_STDERR;
    s->fd = STDERR_FILENO;
    s->socket = S_ISSOCK(st.st_mode);
    s->levels = is_journal_stream(&st);
    if (S_ISFIFO(st.st_mode) || isatty(STDERR_FILENO)) {
        int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

        s->owned = fd >= 0;
        s->poll_first = fd < 0;
        s->fd = fd >= 0 ? fd : STDERR_FILENO;
    }
    return 0;
}

static int open_target(struct sink *s, enum log_target target, const struct sink_paths *paths)
{
    const char *journal = paths && paths->journal ? paths->journal : JOURNAL_SOCKET;
    const char *syslog = paths && paths->syslog ? paths->syslog : SYSLOG_SOCKET;

    switch (target) {
    case LOG_TARGET_JOURNAL:
        return open_datagram(s, target, journal);
    case LOG_TARGET_SYSLOG:
        return open_datagram(s, target, syslog);
    case LOG_TARGET_STDERR:
        return open_stderr(s);
    case LOG_TARGET_AUTO:
        break;
    }
    if (open_datagram(s, LOG_TARGET_JOURNAL, journal) == 0)
        return 0;
    if (open_datagram(s, LOG_TARGET_SYSLOG, syslog) == 0)
        return 0;
    return open_stderr(s);
}

int sink_open(enum log_target target, const struct sink_paths *paths, struct watch_set *watches,
              void (*on_ready)(void *ctx), void *ctx, struct sink **out)
{
    struct sink *s = calloc(1, sizeof *s);
    int r;

    if (s == NULL)
        return -ENOMEM;
    STAILQ_INIT(&s->queue);
    s->on_ready = on_ready;
    s->ctx = ctx;
    s->retry_ms = RETRY_MS_FIRST;
    s->stamp_sec = -1;
    r = open_target(s, target, paths);
    if (r == 0) {
        s->watch = watch_new(watches, s->fd, "log", log_target_name(s->target), on_watch, s);
        r = s->watch ? 0 : -ENOMEM;
    }
    if (r < 0) {
        sink_close(s, 0);
        return r;
    }
    *out = s;
    return 0;
}

static int64_t now_ms(void)
{
    return now_by(CLOCK_MONOTONIC) / NSEC_PER_MSEC;
}

/* Send what is queued, waiting for the receiver until `deadline`. */
static void drain_until(struct sink *s, int64_t deadline)
{
    for (;;) {
        struct pollfd pfd = {.fd = s->fd, .events = POLLOUT};
        int left;

        drain(s, UINT32_MAX);
        left = (int)(deadline - now_ms());
        if (s->state == FLOWING || left <= 0)
            return;
        if (s->state == STUCK)
            poll(&pfd, 1, left);
        else
            poll(NULL, 0, MIN(left, RETRY_MS_CLOSING));
    }
}

int64_t sink_deadline(int ms)
{
    return now_ms() + ms;
}

void sink_make_room(struct sink *s, int64_t deadline)
{
    if (s->queue_bytes > QUEUE_BYTES_MAX / 2)
        drain_until(s, deadline);
}

void sink_close(struct sink *s, int wait_ms)
{
    if (s == NULL)
        return;
    if (s->watch != NULL)
        drain_until(s, sink_deadline(wait_ms));
    while (!STAILQ_EMPTY(&s->queue))
        dequeue(s);
    watch_free(s->watch);
    if (s->owned)
        close(s->fd);
    free(s);
}

enum log_target sink_target(const struct sink *s)
{
    return s->target;
}

void sink_stats(const struct sink *s, struct sink_stats *out)
{
    *out = (struct sink_stats){
        .sent = s->sent,
        .lost = s->lost,
        .queued = s->queued,
        .stuck = s->state != FLOWING,
    };
}
