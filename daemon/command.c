#include "command.h"

#include "capture.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is read in one go: all that a pipe holds unless it was made larger. */
#define READ_SIZE ((size_t)64 << 10)

/* How often a pipe is read after the process has ended: as much as a pipe can be made to hold by anybody. */
#define LAST_READS 16

/* One of the pipes. */
struct stream {
    struct command *command;
    int fd; // -1: closed
    struct watch *watch;
    struct capture capture;
};

struct command {
    struct spawn_request request; // first, so that a request is its command's
    struct watch_set *watches;
    struct command_hooks hooks;
    char *detail;      // owned; for the watches
    int signal_nr;     // what it was sent last; 0: nothing
    struct watch *end; // of the process; NULL: it does not run
    struct stream streams[COMMAND_STREAMS];
};

/* To the group, and to its leader even if that has gone to another; but to nobody twice, who might count. */
static void send_signal(const struct command *c, int signal_nr)
{
    pid_t leader = c->request.process.pid;

    if (kill(-leader, signal_nr) < 0 || getpgid(leader) != leader)
        kill(leader, signal_nr);
}

static void on_line(void *ctx, const char *line)
{
    const struct stream *stream = ctx;
    const struct command *c = stream->command;
    enum command_stream which = stream == &c->streams[COMMAND_STDERR] ? COMMAND_STDERR : COMMAND_STDOUT;

    c->hooks.line(c->hooks.ctx, which, line);
}

/* Whole lines are told as far as there is room for them. n 0: it was the end. */
static void take(struct stream *stream, const char *bytes, size_t n)
{
    const struct command_hooks *hooks = &stream->command->hooks;
    size_t room = hooks->room(hooks->ctx);
    size_t skipped = n > 0 ? capture_feed(&stream->capture, bytes, n, room, on_line, stream)
                           : capture_end(&stream->capture, room, on_line, stream);

    if (skipped > 0)
        hooks->skipped(hooks->ctx, skipped);
}

static void stream_close(struct stream *stream)
{
    watch_free(stream->watch);
    stream->watch = NULL;
    if (stream->fd >= 0)
        close(stream->fd);
    stream->fd = -1;
}

/* One read. False when there is nothing more for now, or for ever. */
static bool stream_read(struct stream *stream)
{
    char bytes[READ_SIZE];
    ssize_t n = read(stream->fd, bytes, sizeof bytes);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        take(stream, NULL, 0);
        stream_close(stream);
        return false;
    }
    take(stream, bytes, (size_t)n);
    return true;
}

static void on_output(void *ctx, unsigned what)
{
    (void)what;
    stream_read(ctx);
}

/* What the process has left in its pipes, but not what others go on writing there for ever. */
static void drain(struct stream *stream)
{
    for (unsigned n = 0; n < LAST_READS && stream->fd >= 0; n++)
        if (!stream_read(stream))
            break;
    take(stream, NULL, 0);
    stream_close(stream);
}

/* Everything of the process goes, but for the command's memory. */
static void close_process(struct command *c)
{
    for (size_t i = 0; i < COMMAND_STREAMS; i++)
        drain(&c->streams[i]);
    watch_free(c->end);
    c->end = NULL;
    close(c->request.process.pid_fd);
}

/* The leader is a zombie until it is waited for: so long its group cannot be anybody else's. */
static void on_end(void *ctx, unsigned what)
{
    struct command *c = ctx;
    siginfo_t info = {0};

    (void)what;
    if (waitid(P_PIDFD, (id_t)c->request.process.pid_fd, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0)
        return;
    if (c->signal_nr != 0)
        send_signal(c, SIGKILL);
    int error = waitid(P_PIDFD, (id_t)c->request.process.pid_fd, &info, WEXITED | WNOHANG) < 0 ? -errno : 0;
    close_process(c);
    c->hooks.ended(c->hooks.ctx, error, info.si_code, info.si_status);
}

static int stream_open(struct command *c, enum command_stream which)
{
    struct stream *stream = &c->streams[which];

    stream->watch = watch_new(c->watches, stream->fd, which == COMMAND_STDOUT ? "output" : "error output", c->detail,
                              on_output, stream);
    return stream->watch == NULL ? -ENOMEM : watch_want(stream->watch, WATCH_READ, 0);
}

static int open_process(struct command *c)
{
    int r = 0;

    for (unsigned i = 0; i < COMMAND_STREAMS; i++)
        c->streams[i].fd = c->request.process.fds[i];
    for (unsigned i = 0; r == 0 && i < COMMAND_STREAMS; i++)
        r = stream_open(c, (enum command_stream)i);
    if (r < 0)
        return r;
    c->end = watch_new(c->watches, c->request.process.pid_fd, "command", c->detail, on_end, c);
    return c->end == NULL ? -ENOMEM : watch_want(c->end, WATCH_READ, 0);
}

/* One that cannot be looked after must not run. */
static void give_up(struct command *c, int error)
{
    siginfo_t info;

    send_signal(c, SIGKILL);
    waitid(P_PIDFD, (id_t)c->request.process.pid_fd, &info, WEXITED);
    close_process(c);
    c->hooks.ended(c->hooks.ctx, error, 0, 0);
}

static void on_started(struct spawn_request *request)
{
    struct command *c = (struct command *)request;

    if (request->error < 0) {
        c->hooks.ended(c->hooks.ctx, request->error, 0, 0);
        return;
    }
    int r = open_process(c);
    if (r < 0) {
        give_up(c, r);
        return;
    }
    if (c->signal_nr != 0)
        command_signal(c, c->signal_nr);
    c->hooks.started(c->hooks.ctx);
}

struct command *command_start(struct spawner *spawner, struct watch_set *watches, char *const argv[],
                              char *const envp[], const char *detail, const struct command_hooks *hooks)
{
    struct command *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->watches = watches;
    c->hooks = *hooks;
    c->request.argv = argv;
    c->request.envp = envp;
    c->request.done = on_started;
    for (size_t i = 0; i < COMMAND_STREAMS; i++)
        c->streams[i] = (struct stream){.command = c, .fd = -1};
    c->detail = strdup(detail);
    if (c->detail == NULL) {
        command_free(c);
        return NULL;
    }
    spawner_ask(spawner, &c->request);
    return c;
}

void command_free(struct command *c)
{
    if (c == NULL)
        return;
    if (c->end != NULL) {
        send_signal(c, SIGKILL);
        watch_free(c->end);
        close(c->request.process.pid_fd);
    }
    for (size_t i = 0; i < COMMAND_STREAMS; i++)
        stream_close(&c->streams[i]);
    free(c->detail);
    free(c);
}

void command_signal(struct command *c, int signal_nr)
{
    c->signal_nr = signal_nr;
    if (c->end == NULL)
        return;
    send_signal(c, signal_nr);
    if (signal_nr != SIGKILL)
        send_signal(c, SIGCONT); // one that is stopped shall see it
}

const char *command_last_line(const struct command *c)
{
    const char *last = c->streams[COMMAND_STDERR].capture.last;

    return last[0] != '\0' ? last : NULL;
}
