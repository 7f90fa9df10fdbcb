/*
 * sink - log lines to the journal, to syslog or to stderr, without ever blocking.
 *
 * Formats and sends by itself over a connected, non-blocking datagram socket: syslog(3) and sd_journal_send() block
 * for ever once a stuck receiver's queue is full. A line that matters is queued (bounded) until the receiver takes
 * it; for the others the caller hears -EAGAIN and keeps what it wants to say later. A receiver that has gone (a
 * syslogd that restarts) is looked for until it is back. The process ignores SIGPIPE (loop.c sees to it).
 *
 * Protocols: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/ and, for /dev/log, RFC 3164 as Debian's rsyslogd takes it.
 */
#ifndef TWISTY_SINK_H
#define TWISTY_SINK_H

#include "settings.h"
#include "watch.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest line, in bytes; what is longer is cut. */
#define SINK_LINE_MAX 2048

/* Extra fields of a record on the journal. */
#define SINK_FIELDS_MAX 12

/*
 * Line and values have their lengths, in bytes, with them: who wrote them knows, and to look for the end of what was
 * only just written takes time.
 */
struct sink_field {
    const char *name; // "TWISTY_JOB"
    const char *value;
    size_t len; // of the value
};

struct sink_record {
    int priority; // LOG_ERR ... LOG_DEBUG
    const char *line;
    size_t len;             // of the line
    const char *message_id; // 32 hex digits, or NULL
    struct sink_field fields[SINK_FIELDS_MAX];
    unsigned n_fields;
};

/* Where the receivers are; the tests have their own. NULL members mean the usual places. */
struct sink_paths {
    const char *journal; // "/run/systemd/journal/socket"
    const char *syslog;  // "/dev/log"
};

struct sink;

/*
 * Open the target; `auto` takes the first of journal, syslog, stderr that answers. `on_ready` is called from the
 * loop when lines can be sent again after -EAGAIN. 0 or negative errno: of a target that was named and cannot be
 * reached, or of stderr when there is none.
 */
int sink_open(enum log_target target, const struct sink_paths *paths, struct watch_set *watches,
              void (*on_ready)(void *ctx), void *ctx, struct sink **out);

/* Sends what is queued for at most `wait_ms` (the one place that may wait: after the loop has ended), and closes. */
void sink_close(struct sink *sink, int wait_ms);

/*
 * After the loop has ended, when nobody else drains the queue: wait until there is room for more lines, but not beyond
 * `deadline`, which is from sink_deadline().
 */
void sink_make_room(struct sink *sink, int64_t deadline);

/* The point in time `ms` milliseconds from now. */
int64_t sink_deadline(int ms);

/*
 * Write a line. With `keep`, it is queued if it cannot be sent now: 0, or -ENOBUFS when the bounded queue is full
 * (counted, and told in a line of its own once lines flow again). Without, -EAGAIN when it cannot be sent now; lines
 * that are queued come first. Any other negative errno: the receiver does not want this line; it is counted as lost.
 */
int sink_write(struct sink *sink, const struct sink_record *record, bool keep);

/* Does stderr lead to the journal? Then a line may begin with its priority, as "<3>": see sd-daemon(3). */
bool sink_stderr_is_journal(void);

/* Where lines go: never LOG_TARGET_AUTO. */
enum log_target sink_target(const struct sink *sink);

struct sink_stats {
    uint64_t sent;
    uint64_t lost;   // did not fit into the queue, or were refused
    uint32_t queued; // wait now
    bool stuck;      // the receiver does not take lines
};

void sink_stats(const struct sink *sink, struct sink_stats *out);

#endif
