/* The sink against real sockets, pipes and terminals: what is sent, and that nothing ever blocks. */
#include "receiver.h"

#include "daemon/sink.h"

#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>

struct fixture {
    char dir[64];
    struct receiver journal, syslog;
    struct event_base *base;
    struct watch_set *watches;
    struct sink *sink;
    unsigned ready; // calls of on_ready
    int saved_stderr;
};

static void on_ready(void *ctx)
{
    ((struct fixture *)ctx)->ready++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    make_test_dir(f->dir, sizeof f->dir);
    receiver_init(&f->journal, f->dir, "journal");
    receiver_init(&f->syslog, f->dir, "syslog");
    f->base = event_base_new();
    f->watches = watch_set_new(f->base);
    f->saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    *state = f;
    return f->base && f->watches && f->saved_stderr >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    sink_close(f->sink, 0);
    dup2(f->saved_stderr, STDERR_FILENO);
    close(f->saved_stderr);
    unsetenv("JOURNAL_STREAM");
    watch_set_free(f->watches);
    event_base_free(f->base);
    receiver_stop(&f->journal);
    receiver_stop(&f->syslog);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static int open_sink(struct fixture *f, enum log_target target)
{
    struct sink_paths paths = {f->journal.address.sun_path, f->syslog.address.sun_path};

    return sink_open(target, &paths, f->watches, on_ready, f, &f->sink);
}

/* Put `fd` in the place of stderr, and close it. */
static void open_stderr_sink(struct fixture *f, int fd)
{
    int r;

    assert_true(fd >= 0);
    dup2(fd, STDERR_FILENO);
    r = open_sink(f, LOG_TARGET_STDERR);
    if (r < 0)
        dup2(f->saved_stderr, STDERR_FILENO);
    close(fd);
    assert_int_equal(r, 0);
}

static int write_line(struct fixture *f, const char *line, bool keep)
{
    return sink_write(f->sink, &(struct sink_record){.priority = LOG_INFO, .line = line, .len = strlen(line)}, keep);
}

static int write_number(struct fixture *f, unsigned n, bool keep)
{
    char line[32];

    snprintf(line, sizeof line, "line %u", n);
    return write_line(f, line, keep);
}

static struct sink_stats stats(const struct fixture *f)
{
    struct sink_stats out;

    sink_stats(f->sink, &out);
    return out;
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void turn(struct fixture *f)
{
    event_base_loop(f->base, EVLOOP_NONBLOCK);
}

/* Run the loop until a datagram is there, and take it. */
static void await_datagram(struct fixture *f, struct receiver *r)
{
    int64_t deadline = now_ms() + DEADLINE_MS;
    struct pollfd pfd = {.fd = r->fd, .events = POLLIN};

    while (!receiver_take(r)) {
        if (now_ms() > deadline)
            fail_msg("nothing was sent within %d ms", DEADLINE_MS);
        turn(f);
        poll(&pfd, 1, 5);
    }
}

/* A line as it is on syslog, without what stands before it. */
static const char *syslog_text(const struct receiver *r)
{
    const char *colon = strstr(r->bytes, "]: ");

    assert_non_null(colon);
    return colon + 3;
}

static void await_text(struct fixture *f, const char *expected)
{
    await_datagram(f, &f->syslog);
    assert_string_equal(syslog_text(&f->syslog), expected);
}

static void await_number(struct fixture *f, unsigned n)
{
    char line[32];

    snprintf(line, sizeof line, "line %u", n);
    await_text(f, line);
}

/* Write kept lines, numbered from 0, until the receiver takes no more. Returns how many it took. */
static unsigned fill_receiver(struct fixture *f)
{
    unsigned n = 0;

    while (!stats(f).stuck) {
        assert_int_equal(write_number(f, n, true), 0);
        n++;
        assert_true(n < 100000);
    }
    assert_int_equal(stats(f).queued, 1);
    return n - 1;
}

static void journal_entry_byte_for_byte(void **state)
{
    struct fixture *f = *state;
    struct sink_record record = {
        .priority = LOG_NOTICE,
        .line = "start job=tea id=1",
        .len = strlen("start job=tea id=1"),
        .message_id = "0123456789abcdef0123456789abcdef",
        .fields = {{"TWISTY_EVENT", "start", 5}, {"TWISTY_JOB", "tea", 3}},
        .n_fields = 2,
    };
    static const char expected[] = "PRIORITY=5\n"
                                   "SYSLOG_FACILITY=3\n"
                                   "SYSLOG_IDENTIFIER=twistyd\n"
                                   "MESSAGE=start job=tea id=1\n"
                                   "MESSAGE_ID=0123456789abcdef0123456789abcdef\n"
                                   "TWISTY_EVENT=start\n"
                                   "TWISTY_JOB=tea\n";

    assert_int_equal(open_sink(f, LOG_TARGET_JOURNAL), 0);
    assert_int_equal(sink_write(f->sink, &record, false), 0);
    receiver_next(&f->journal);
    assert_string_equal(f->journal.bytes, expected);
    assert_int_equal(f->journal.len, sizeof expected - 1);
}

static void journal_newline_goes_with_its_length(void **state)
{
    struct fixture *f = *state;
    struct sink_record record = {
        .priority = LOG_INFO,
        .line = "one\nMESSAGE=two",
        .len = strlen("one\nMESSAGE=two"),
        .fields = {{"TWISTY_JOB", "\xff\x01=\"\\\n", 6}, {"TWISTY_EVENT", "", 0}},
        .n_fields = 2,
    };
    static const char message[] = "\nMESSAGE\n\x0f\0\0\0\0\0\0\0one\nMESSAGE=two\n";
    struct entry entry;

    assert_int_equal(open_sink(f, LOG_TARGET_JOURNAL), 0);
    assert_int_equal(sink_write(f->sink, &record, false), 0);
    receiver_next(&f->journal);
    assert_non_null(memmem(f->journal.bytes, f->journal.len, message, sizeof message - 1));
    entry_parse(&entry, f->journal.bytes, f->journal.len);
    assert_string_equal(entry_get(&entry, "MESSAGE"), "one\nMESSAGE=two");
    assert_string_equal(entry_get(&entry, "TWISTY_JOB"), "\xff\x01=\"\\\n");
    assert_string_equal(entry_get(&entry, "TWISTY_EVENT"), "");
    assert_int_equal(entry.n, 6);
}

static void syslog_line_as_rfc3164_has_it(void **state)
{
    struct fixture *f = *state;
    char tag[64];
    time_t before = time(NULL), said;
    struct tm tm = *localtime(&before); // the line has no year
    const char *rest;

    assert_int_equal(open_sink(f, LOG_TARGET_SYSLOG), 0);
    assert_int_equal(write_line(f, "tick job=tea id=1 left=4 count=5", false), 0);
    receiver_next(&f->syslog);
    assert_memory_equal(f->syslog.bytes, "<30>", 4);
    rest = strptime(f->syslog.bytes + 4, "%b %e %H:%M:%S", &tm);
    assert_ptr_equal(rest, f->syslog.bytes + 4 + 15);
    said = mktime(&tm);
    assert_in_range(said + 1 - before, 0, 60); // the coarse clock may be a moment behind
    snprintf(tag, sizeof tag, " twistyd[%d]: tick job=tea id=1 left=4 count=5", (int)getpid());
    assert_string_equal(rest, tag);
}

static void syslog_time_goes_on(void **state)
{
    struct fixture *f = *state;
    int64_t deadline = now_ms() + DEADLINE_MS;
    char first[16] = "";

    assert_int_equal(open_sink(f, LOG_TARGET_SYSLOG), 0);
    do {
        assert_int_equal(write_line(f, "tick", false), 0);
        receiver_next(&f->syslog);
        if (first[0] == '\0')
            memcpy(first, f->syslog.bytes + 4, 15);
        assert_true(now_ms() < deadline);
        poll(NULL, 0, 5);
    } while (memcmp(first, f->syslog.bytes + 4, 15) == 0);
}

static void long_line_is_cut_at_a_character(void **state)
{
    struct fixture *f = *state;
    char line[SINK_LINE_MAX + 64];

    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\0';
    memcpy(line + SINK_LINE_MAX - 1, "\xc3\xa4", 2); // would be cut in two
    assert_int_equal(open_sink(f, LOG_TARGET_SYSLOG), 0);
    assert_int_equal(write_line(f, line, false), 0);
    receiver_next(&f->syslog);
    line[SINK_LINE_MAX - 1] = '\0';
    assert_string_equal(syslog_text(&f->syslog), line);
}

static void auto_takes_the_first_that_answers(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(open_sink(f, LOG_TARGET_AUTO), 0);
    assert_int_equal(sink_target(f->sink), LOG_TARGET_JOURNAL);
    sink_close(f->sink, 0);
    f->sink = NULL;
    close(f->journal.fd); // the name stays, as a dead daemon leaves it
    assert_int_equal(open_sink(f, LOG_TARGET_AUTO), 0);
    assert_int_equal(sink_target(f->sink), LOG_TARGET_SYSLOG);
    sink_close(f->sink, 0);
    f->sink = NULL;
    receiver_stop(&f->syslog);
    assert_int_equal(open_sink(f, LOG_TARGET_AUTO), 0);
    assert_int_equal(sink_target(f->sink), LOG_TARGET_STDERR);
}

static void named_target_must_be_there(void **state)
{
    struct fixture *f = *state;
    struct sink_paths too_long = {
        .journal = "/tmp/a-path-that-does-not-fit-into-a-socket-address-because-it-is-much-longer-than-the-108-bytes-"
                   "that-there-are-for-it",
    };

    receiver_stop(&f->journal);
    assert_int_equal(open_sink(f, LOG_TARGET_JOURNAL), -ENOENT);
    close(f->syslog.fd);
    assert_int_equal(open_sink(f, LOG_TARGET_SYSLOG), -ECONNREFUSED);
    assert_int_equal(sink_open(LOG_TARGET_JOURNAL, &too_long, f->watches, on_ready, f, &f->sink), -ENAMETOOLONG);
    close(STDERR_FILENO);
    assert_int_equal(open_sink(f, LOG_TARGET_STDERR), -EBADF);
}

static void stuck_receiver_gets_what_was_kept(void **state)
{
    struct fixture *f = *state;
    unsigned took, total;

    assert_int_equal(open_sink(f, LOG_TARGET_SYSLOG), 0);
    took = fill_receiver(f);
    total = took + 500;
    for (unsigned n = took + 1; n < total; n++)
        assert_int_equal(write_number(f, n, true), 0);
    assert_int_equal(write_line(f, "not kept", false), -EAGAIN);
    turn(f);
    assert_int_equal(f->ready, 0);
    assert_int_equal(stats(f).queued, total - took);
    for (unsigned n = 0; n < total; n++)
        await_number(f, n);
    turn(f);
    assert_int_equal(f->ready, 1);
    assert_false(stats(f).stuck);
    assert_int_equal(stats(f).sent, total);
    assert_int_equal(stats(f).lost, 0);
    assert_int_equal(write_line(f, "flows", false), 0);
    await_text(f, "flows");
}

static void full_queue_counts_and_tells(void **state)
{
    struct fixture *f = *state;
    unsigned queued, took, lost = 0, n;
    char line[64];

    assert_int_equal(open_sink(f, LOG_TARGET_SYSLOG), 0);
    took = fill_receiver(f);
    for (n = took + 1; lost < 100; n++) {
        int r = write_number(f, n, true);
        assert_true(r == 0 || r == -ENOBUFS);
        lost += r < 0;
    }
    assert_int_equal(stats(f).lost, lost);
    queued = stats(f).queued;
    for (unsigned i = 0; i < took; i++)
        await_number(f, i);
    await_number(f, took);
    assert_int_equal(write_line(f, "the next that fits", true), 0);
    assert_true(stats(f).queued < queued);
    for (unsigned i = took + 1; i < n - lost; i++)
        await_number(f, i);
    snprintf(line, sizeof line, "lost lines=%u", lost);
    await_text(f, line);
    assert_memory_equal(f->syslog.bytes, "<28>", 4);
    await_text(f, "the next that fits");
    assert_int_equal(stats(f).lost, lost);
}

static void lost_lines_are_told_when_none_follows(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(open_sink(f, LOG_TARGET_SYSLOG), 0);
    fill_receiver(f);
    while (write_line(f, "x", true) == 0)
        ;
    do
        await_datagram(f, &f->syslog);
    while (strcmp(syslog_text(&f->syslog), "lost lines=1") != 0);
    turn(f);
    assert_false(receiver_take(&f->syslog));
    assert_false(stats(f).stuck);
}

static void restarted_receiver_misses_nothing(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(open_sink(f, LOG_TARGET_SYSLOG), 0);
    receiver_stop(&f->syslog);
    receiver_start(&f->syslog);
    assert_int_equal(write_line(f, "found at once", false), 0);
    await_text(f, "found at once");

    receiver_stop(&f->syslog);
    assert_int_equal(write_line(f, "not kept", false), -EAGAIN);
    assert_int_equal(write_line(f, "kept", true), 0);
    assert_int_equal(write_line(f, "kept too", true), 0);
    assert_true(stats(f).stuck);
    turn(f);
    assert_int_equal(f->ready, 0);
    receiver_start(&f->syslog);
    await_text(f, "kept");
    await_text(f, "kept too");
    assert_int_equal(f->ready, 1);
    assert_int_equal(stats(f).lost, 0);
}

static void stuck_receiver_may_die(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(open_sink(f, LOG_TARGET_SYSLOG), 0);
    fill_receiver(f);
    assert_int_equal(write_line(f, "last", true), 0);
    receiver_stop(&f->syslog);
    receiver_start(&f->syslog);
    await_datagram(f, &f->syslog);
    await_text(f, "last");
    assert_int_equal(f->ready, 1);
}

static void close_waits_no_longer_than_told(void **state)
{
    struct fixture *f = *state;
    int64_t begin;

    assert_int_equal(open_sink(f, LOG_TARGET_SYSLOG), 0);
    fill_receiver(f);
    begin = now_ms();
    sink_close(f->sink, 50);
    f->sink = NULL;
    assert_in_range(now_ms() - begin, 50, DEADLINE_MS);
}

struct slow_reader {
    struct receiver *receiver;
    const char *last; // reads up to this line
    unsigned n;
};

static void *read_slowly(void *arg)
{
    struct slow_reader *reader = arg;
    struct pollfd pfd = {.fd = reader->receiver->fd, .events = POLLIN};

    while (poll(&pfd, 1, DEADLINE_MS) == 1 && receiver_take(reader->receiver)) {
        reader->n++;
        if (strstr(reader->receiver->bytes, reader->last))
            break;
    }
    return NULL;
}

static void close_sends_what_was_kept(void **state)
{
    struct fixture *f = *state;
    struct slow_reader reader = {.receiver = &f->syslog, .last = "]: exit"};
    pthread_t thread;
    unsigned took;

    assert_int_equal(open_sink(f, LOG_TARGET_SYSLOG), 0);
    took = fill_receiver(f);
    assert_int_equal(write_line(f, "exit", true), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_slowly, &reader), 0);
    sink_close(f->sink, DEADLINE_MS);
    f->sink = NULL;
    pthread_join(thread, NULL);
    assert_int_equal(reader.n, took + 2);
}

/* Read all that is in a descriptor now. */
static size_t read_all(int fd, char *buf, size_t size)
{
    size_t len = 0;
    ssize_t n;

    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    while (len < size - 1 && (n = read(fd, buf + len, size - 1 - len)) > 0)
        len += (size_t)n;
    buf[len] = '\0';
    return len;
}

static void stderr_file_is_appended_to(void **state)
{
    struct fixture *f = *state;
    char path[128], text[128];
    int fd;

    snprintf(path, sizeof path, "%s/log", f->dir);
    fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "before\n", 7), 7);
    open_stderr_sink(f, fd);
    assert_int_equal(write_line(f, "one", false), 0);
    fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "between\n", 8), 8);
    assert_int_equal(write_line(f, "two", true), 0);
    lseek(fd, 0, SEEK_SET);
    read_all(fd, text, sizeof text);
    close(fd);
    unlink(path);
    assert_string_equal(text, "before\none\nbetween\ntwo\n");
}

static void stderr_of_the_journal_gets_levels(void **state)
{
    struct fixture *f = *state;
    char stream[64], text[128];
    int fds[2];
    struct stat st;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(fstat(fds[1], &st), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    open_stderr_sink(f, fds[1]);
    assert_int_equal(write_line(f, "tick job=tea", false), 0);
    sink_close(f->sink, 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino + 1);
    setenv("JOURNAL_STREAM", stream, 1);
    assert_int_equal(open_sink(f, LOG_TARGET_STDERR), 0);
    assert_int_equal(write_line(f, "tick job=tea", false), 0);
    read_all(fds[0], text, sizeof text);
    close(fds[0]);
    assert_string_equal(text, "<6>tick job=tea\ntick job=tea\n");
}

/* A reader that comes late to a stderr that is full: everything kept arrives, whole and in order. */
static void read_late(struct fixture *f, int fd)
{
    static char text[4 << 20];
    size_t len = 0;
    int64_t deadline = now_ms() + DEADLINE_MS;
    unsigned total, n = 0;
    char *line, *rest = text;

    for (total = 0; total < 20000; total++)
        assert_int_equal(write_number(f, total, true), 0);
    assert_true(stats(f).stuck);
    assert_int_equal(write_line(f, "not kept", false), -EAGAIN);
    while (f->ready == 0 && now_ms() < deadline) {
        turn(f);
        len += read_all(fd, text + len, sizeof text - len);
    }
    read_all(fd, text + len, sizeof text - len);
    while ((line = strsep(&rest, "\n")) && *line != '\0') {
        char expected[32];

        snprintf(expected, sizeof expected, "line %u%s", n++, strchr(line, '\r') ? "\r" : "");
        assert_string_equal(line, expected);
    }
    assert_int_equal(n, total);
    assert_int_equal(stats(f).lost, 0);
}

static void stderr_pipe_never_blocks(void **state)
{
    struct fixture *f = *state;
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    open_stderr_sink(f, fds[1]);
    read_late(f, fds[0]);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0); // the shell's own description is as it was
    close(fds[0]);
}

static void stderr_socket_never_blocks(void **state)
{
    struct fixture *f = *state;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    open_stderr_sink(f, fds[1]);
    read_late(f, fds[0]);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    close(fds[0]);
}

static void stderr_terminal_never_blocks(void **state)
{
    struct fixture *f = *state;
    int terminal, fd;

    assert_int_equal(openpty(&terminal, &fd, NULL, NULL, NULL), 0);
    open_stderr_sink(f, fd);
    read_late(f, terminal);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    close(terminal);
}

/* Another user's pipe may not be opened: it is asked before each write whether it would block. */
static void stderr_pipe_of_another_user_never_blocks(void **state)
{
    struct fixture *f = *state;
    bool root = geteuid() == 0;
    int fds[2], reopened;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fchmod(fds[1], 0), 0);
    if (root)
        assert_int_equal(seteuid(65534), 0);
    open_stderr_sink(f, fds[1]);
    reopened = open("/proc/self/fd/2", O_WRONLY | O_CLOEXEC);
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(reopened, -1);
    read_late(f, fds[0]);
    close(fds[0]);
}

static void stderr_without_a_reader_loses_lines(void **state)
{
    struct fixture *f = *state;
    char path[128], text[128];
    int reader, fd;

    snprintf(path, sizeof path, "%s/fifo", f->dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    open_stderr_sink(f, fd);
    close(reader);
    assert_int_equal(write_line(f, "tick", false), -EPIPE);
    assert_int_equal(write_line(f, "start", true), -EPIPE);
    assert_int_equal(stats(f).lost, 2);
    assert_int_equal(stats(f).queued, 0);
    assert_false(stats(f).stuck); // nothing is waited for
    reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_int_equal(write_line(f, "finish", true), 0);
    read_all(reader, text, sizeof text);
    close(reader);
    unlink(path);
    assert_string_equal(text, "lost lines=2\nfinish\n");
}

static void stderr_reader_may_leave_a_full_pipe(void **state)
{
    struct fixture *f = *state;
    int64_t deadline = now_ms() + DEADLINE_MS;
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    open_stderr_sink(f, fds[1]);
    fill_receiver(f);
    close(fds[0]);
    while (stats(f).queued > 0 && now_ms() < deadline)
        turn(f);
    assert_int_equal(stats(f).queued, 0);
    assert_int_equal(stats(f).lost, 1);
    assert_int_equal(f->ready, 1);
}

/* A file that may not grow past a limit, as on a full disk, breaks a line off; the next one begins a line. */
static void stderr_line_broken_off_is_ended(void **state)
{
    struct fixture *f = *state;
    struct rlimit limit, small;
    char path[128], text[128];
    int fd;

    snprintf(path, sizeof path, "%s/log", f->dir);
    fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    open_stderr_sink(f, fd);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = (struct rlimit){.rlim_cur = 10, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(write_line(f, "start job=tea", true), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(write_line(f, "finish job=tea", true), 0);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    read_all(fd, text, sizeof text);
    close(fd);
    unlink(path);
    assert_string_equal(text, "start job=\nlost lines=1\nfinish job=tea\n");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(journal_entry_byte_for_byte),
        TEST(journal_newline_goes_with_its_length),
        TEST(syslog_line_as_rfc3164_has_it),
        TEST(syslog_time_goes_on),
        TEST(long_line_is_cut_at_a_character),
        TEST(auto_takes_the_first_that_answers),
        TEST(named_target_must_be_there),
        TEST(stuck_receiver_gets_what_was_kept),
        TEST(full_queue_counts_and_tells),
        TEST(lost_lines_are_told_when_none_follows),
        TEST(restarted_receiver_misses_nothing),
        TEST(stuck_receiver_may_die),
        TEST(close_waits_no_longer_than_told),
        TEST(close_sends_what_was_kept),
        TEST(stderr_file_is_appended_to),
        TEST(stderr_of_the_journal_gets_levels),
        TEST(stderr_pipe_never_blocks),
        TEST(stderr_socket_never_blocks),
        TEST(stderr_terminal_never_blocks),
        TEST(stderr_pipe_of_another_user_never_blocks),
        TEST(stderr_without_a_reader_loses_lines),
        TEST(stderr_reader_may_leave_a_full_pipe),
        TEST(stderr_line_broken_off_is_ended),
    };

    signal(SIGPIPE, SIG_IGN); // as loop.c has it
    signal(SIGXFSZ, SIG_IGN);
    alarm(120); // a write that blocks ends the test
    return cmocka_run_group_tests(tests, NULL, NULL);
}
