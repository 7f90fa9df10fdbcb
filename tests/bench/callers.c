/*
 * Callers of a server on a Unix socket, ours or redis, by the same code: N connections, each with so many requests
 * under way as it is told. Prints what it took, the server's CPU time included, as a line of JSON.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define REQUEST_MAX     256 // bytes, but for its jobs
#define JOB_MAX         128
#define JOB             "{\"name\":\"t%08" PRIu64 "\",\"kind\":\"loop\",\"interval\":\"1h\",\"immediate\":false}"
#define CALL            "{\"method\":\"io.twisty.Control."

enum request { ADD, STOP, STATUS, SET };

static const struct {
    const char *word;
    char end;         // of a reply
    const char *good; // what a good one begins with
} requests[] = {
    [ADD] = {"add", '\0', "{\"parameters\""},
    [STOP] = {"stop", '\0', "{\"parameters\""},
    [STATUS] = {"status", '\0', "{\"parameters\""},
    [SET] = {"set", '\n', "+OK\r"},
};

struct caller {
    int fd;
    uint32_t under_way;
    size_t matched; // bytes of the reply that is coming in, as far as they are looked at
    char *out;      // owned
    size_t len, sent;
};

struct options {
    const char *socket;
    enum request request;
    uint32_t connections, depth, batch;
    uint64_t n;
};

static struct options o = {.connections = 1, .depth = 1, .batch = 1, .n = 10000};
static struct caller callers[CONNECTIONS_MAX];
static uint64_t asked, answered;
static size_t out_size; // of caller::out
static char replies[1u << 18];

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* The text is long enough for every request. */
__attribute__((format(printf, 3, 4))) static size_t put(char *to, size_t len, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int n = vsnprintf(to + len, out_size - len, format, args);
    va_end(args);
    return len + (size_t)n;
}

static size_t put_add(char *to, size_t len)
{
    len = put(to, len, CALL "Add\",\"parameters\":{\"jobs\":[");
    for (uint32_t i = 0; i < o.batch; i++)
        len = put(to, len, "%s" JOB, i > 0 ? "," : "", asked * o.batch + i);
    return put(to, len, "]}}") + 1;
}

static size_t put_request(char *to, size_t len)
{
    switch (o.request) {
    case ADD:
        return put_add(to, len);
    case STOP:
        return put(to, len, CALL "Stop\",\"parameters\":{\"match\":[\"t%08" PRIu64 "\"]}}", asked) + 1;
    case STATUS:
        return put(to, len, CALL "Status\"}") + 1;
    case SET:
        break;
    }
    return put(to, len, "*3\r\n$3\r\nSET\r\n$9\r\nt%08" PRIu64 "\r\n$66\r\n%-66d\r\n", asked, 1);
}

static void ask(struct caller *c)
{
    while (c->under_way < o.depth && asked < o.n) {
        c->len = put_request(c->out, c->len);
        c->under_way++;
        asked++;
    }
    while (c->sent < c->len) {
        ssize_t n = send(c->fd, c->out + c->sent, c->len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return; // there are replies to be read first
        if (n < 0)
            fail("send");
        c->sent += (size_t)n;
    }
    c->sent = c->len = 0;
}

/* Count the replies that end in these bytes, and look at how each begins. */
static void count(struct caller *c, const char *bytes, size_t len)
{
    const char *good = requests[o.request].good, *end = bytes + len;

    while (bytes < end) {
        while (bytes < end && good[c->matched] != '\0') {
            if (*bytes++ != good[c->matched++]) {
                fprintf(stderr, "this is no good reply: %.*s\n", (int)MIN(end - bytes, 200), bytes - 1);
                exit(1);
            }
        }
        const char *last = memchr(bytes, requests[o.request].end, (size_t)(end - bytes));
        if (last == NULL)
            return;
        bytes = last + 1;
        c->matched = 0;
        c->under_way--;
        answered++;
    }
}

static void on_ready(struct caller *c)
{
    ssize_t n = recv(c->fd, replies, sizeof replies, MSG_DONTWAIT);

    if (n == 0) {
        fprintf(stderr, "the server hung up\n");
        exit(1);
    }
    if (n < 0 && errno != EAGAIN)
        fail("recv");
    if (n > 0)
        count(c, replies, (size_t)n);
    if (c->under_way <= o.depth / 2 || c->len > 0)
        ask(c);
}

static void connect_callers(int epoll_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    out_size = o.depth * (REQUEST_MAX + o.batch * JOB_MAX);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", o.socket);
    for (uint32_t i = 0; i < o.connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        struct caller *c = &callers[i];
        c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
        c->out = malloc(out_size);
        if (c->fd < 0 || c->out == NULL || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0 ||
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
            fail(o.socket);
    }
}

/* CPU time of the server so far, in nanoseconds: proc(5), schedstat. */
static uint64_t server_cpu(void)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    char path[64];
    uint64_t ns = 0;

    if (getsockopt(callers[0].fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        fail("SO_PEERCRED");
    snprintf(path, sizeof path, "/proc/%d/schedstat", peer.pid);
    FILE *file = fopen(path, "r");
    if (file == NULL || fscanf(file, "%" SCNu64, &ns) != 1)
        fail(path);
    fclose(file);
    return ns;
}

static int64_t now(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void run(int epoll_fd)
{
    struct epoll_event ready[CONNECTIONS_MAX];

    for (uint32_t i = 0; i < o.connections; i++)
        ask(&callers[i]);
    while (answered < o.n) {
        int n = epoll_wait(epoll_fd, ready, CONNECTIONS_MAX, 10000);
        if (n == 0) {
            fprintf(stderr, "the server is silent\n");
            exit(1);
        }
        for (int i = 0; i < n; i++)
            on_ready(&callers[ready[i].data.u32]);
    }
}

static int parse_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'},
        {"request", required_argument, NULL, 'r'},
        {"connections", required_argument, NULL, 'c'},
        {"depth", required_argument, NULL, 'd'},
        {"batch", required_argument, NULL, 'b'},
        {"requests", required_argument, NULL, 'n'},
        {0},
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 's')
            o.socket = optarg;
        else if (c == 'c')
            o.connections = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'd')
            o.depth = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'b')
            o.batch = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 'n')
            o.n = strtoull(optarg, NULL, 10);
        else if (c != 'r')
            return -1;
        else
            while (strcmp(requests[o.request].word, optarg) != 0)
                if (++o.request > SET)
                    return -1;
    }
    return o.socket == NULL || o.connections < 1 || o.connections > CONNECTIONS_MAX || o.depth < 1 ? -1 : 0;
}

int main(int argc, char **argv)
{
    int epoll_fd = epoll_create1(0);

    if (epoll_fd < 0 || parse_options(argc, argv) < 0) {
        fprintf(stderr, "Usage: callers --socket PATH --request add|stop|status|set [--connections N] [--depth N] "
                        "[--batch JOBS] [--requests N]\n");
        return 2;
    }
    connect_callers(epoll_fd);
    uint64_t server = server_cpu();
    int64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
    run(epoll_fd);
    wall = now(CLOCK_MONOTONIC) - wall;
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    server = server_cpu() - server;
    printf("{\"requests\": %" PRIu64 ", \"wall_ns\": %" PRId64 ", \"server_ns\": %" PRIu64 ", \"caller_ns\": %" PRId64
           "}\n",
           o.n, wall, server, cpu);
    return 0;
}
