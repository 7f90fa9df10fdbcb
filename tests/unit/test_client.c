/* The connection to the daemon: frames in any pieces, silence, hang-ups and junk. */
#include "ctl/client.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Short, because the tests wait for it; nothing else depends on it. */
#define TIMEOUT_MS 20

/* Longer than any test takes. */
#define PATIENCE_MS 10000

struct fixture {
    char dir[64];
    char path[CLIENT_PATH_MAX];
    int listen_fd;
    int peer_fd; // the daemon's end
    struct client *client;
};

static void open_client(struct fixture *f, int timeout_ms)
{
    assert_int_equal(client_open(f->path, timeout_ms, &f->client), 0);
    assert_int_equal(client_connect(f->client), 0);
    f->peer_fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(f->peer_fd >= 0);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(f->dir, sizeof f->dir, "/tmp/twisty-client.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/s", f->dir);
    memcpy(address.sun_path, f->path, strlen(f->path) + 1);
    f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    f->peer_fd = -1;
    assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(f->listen_fd, 0), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    client_close(f->client);
    close(f->listen_fd);
    if (f->peer_fd >= 0)
        close(f->peer_fd);
    unlink(f->path);
    rmdir(f->dir);
    free(f);
    return 0;
}

static void tell(const struct fixture *f, const char *bytes, size_t len)
{
    assert_int_equal(send(f->peer_fd, bytes, len, MSG_NOSIGNAL), len);
}

/* One without parameters. */
static int call(struct client *client, const char *method, bool more)
{
    struct emit e = {0};

    client_begin_call(&e, method, more);
    int r = client_call(client, &e);
    assert_null(e.text); // it was taken over
    return r;
}

/* The "n" of a reply; -1 if it has none. */
static int64_t number_in(const struct varlink_reply *reply)
{
    int64_t n = -1;
    skim_int(skim_member(reply->parameters, "n"), &n);
    return n;
}

static void calls_are_sent_whole(void **state)
{
    struct fixture *f = *state;
    static const char expected[] =
        "{\"method\":\"io.twisty.Control.List\",\"more\":true,\"parameters\":{\"all\":true}}";
    struct emit e = {0};
    char got[256];

    open_client(f, PATIENCE_MS);
    client_begin_call(&e, "List", true);
    emit_bool(&e, "all", true);
    assert_int_equal(client_call(f->client, &e), 0);
    assert_int_equal(recv(f->peer_fd, got, sizeof got, 0), sizeof expected);
    assert_memory_equal(got, expected, sizeof expected);
}

static void replies_come_in_any_pieces(void **state)
{
    struct fixture *f = *state;
    static const char stream[] = "{\"parameters\":{\"n\":1},\"continues\":true}\0{\"parameters\":{\"n\":2}}";
    struct varlink_reply reply;

    open_client(f, TIMEOUT_MS);
    for (size_t cut = 0; cut <= sizeof stream; cut++) {
        tell(f, stream, cut);
        tell(f, stream + cut, sizeof stream - cut);
        for (int n = 1; n <= 2; n++) {
            assert_int_equal(client_receive(f->client, &reply), 0);
            assert_int_equal(number_in(&reply), n);
            assert_int_equal(reply.continues, n == 1);
        }
    }
    assert_int_equal(client_receive(f->client, &reply), -ETIMEDOUT);
    tell(f, "{\"par", 5);
    assert_int_equal(client_receive(f->client, &reply), -ETIMEDOUT);
    tell(f, "ameters\":{\"n\":3}}", 18);
    assert_int_equal(client_receive(f->client, &reply), 0);
    assert_int_equal(number_in(&reply), 3);
}

/* Larger than every buffer, so that it has to grow, and written while it is read. */
static void long_replies_are_received(void **state)
{
    struct fixture *f = *state;
    const size_t size = 1u << 20;
    struct varlink_reply reply;

    open_client(f, PATIENCE_MS);
    pid_t child = fork();
    if (child == 0) {
        char *text = calloc(1, size + 1);
        struct emit e = {0};
        memset(text, 'x', size);
        varlink_begin_reply(&e);
        emit_text(&e, "t", text);
        varlink_end(&e, false);
        for (size_t sent = 0; sent < e.len;)
            sent += (size_t)send(f->peer_fd, e.text + sent, e.len - sent, MSG_NOSIGNAL);
        _exit(0);
    }
    assert_true(child > 0);
    assert_int_equal(client_receive(f->client, &reply), 0);
    assert_int_equal(skim_member(reply.parameters, "t").len, size + 2);
}

static void junk_is_told_from_replies(void **state)
{
    struct fixture *f = *state;
    static const char junk[] = "SSH-2.0-OpenSSH_9.2\r\n";
    struct varlink_reply reply;

    open_client(f, PATIENCE_MS);
    tell(f, junk, sizeof junk);
    assert_int_equal(client_receive(f->client, &reply), -EBADMSG);
}

static void a_hang_up_is_told(void **state)
{
    struct fixture *f = *state;
    struct varlink_reply reply;

    open_client(f, PATIENCE_MS);
    tell(f, "{\"parameters\":{}", 16);
    close(f->peer_fd);
    f->peer_fd = -1;
    assert_int_equal(client_receive(f->client, &reply), -ECONNRESET);
}

/* A daemon that takes no more connections says so first: its words must not be lost with the call. */
static void last_words_are_heard(void **state)
{
    struct fixture *f = *state;
    static const char words[] = "{\"error\":\"io.twisty.Control.LimitReached\"}";
    struct varlink_reply reply;

    open_client(f, PATIENCE_MS);
    tell(f, words, sizeof words);
    close(f->peer_fd);
    f->peer_fd = -1;
    assert_int_equal(call(f->client, "Status", false), 0);
    assert_int_equal(client_receive(f->client, &reply), 0);
    assert_true(skim_is_text(reply.error, "io.twisty.Control.LimitReached"));
}

/* In a child: take the call so many times and hang up, then answer once. It is content if it got the same call each
 * time. */
static pid_t start_daemon_that_dies(const struct fixture *f, int deaths)
{
    static const char reply[] = "{\"parameters\":{\"n\":1}}";
    char first[256], call[256];
    ssize_t first_len = 0;

    pid_t child = fork();
    if (child != 0)
        return child;
    for (int i = 0; i <= deaths; i++) {
        int fd = i == 0 ? f->peer_fd : accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        ssize_t len = recv(fd, call, sizeof call, 0);
        if (i == 0)
            memcpy(first, call, (size_t)(first_len = len));
        if (len <= 0 || len != first_len || memcmp(call, first, (size_t)len) != 0)
            _exit(1);
        if (i == deaths)
            send(fd, reply, sizeof reply, MSG_NOSIGNAL);
        close(fd);
    }
    _exit(0);
}

static int call_one_that_dies(struct fixture *f, bool insist, int deaths, pid_t *child)
{
    struct varlink_reply reply = {0};

    open_client(f, PATIENCE_MS);
    if (insist)
        client_insist(f->client);
    assert_int_equal(call(f->client, "Status", false), 0);
    *child = start_daemon_that_dies(f, deaths);
    assert_true(*child > 0);
    close(f->peer_fd);
    f->peer_fd = -1;
    int r = client_receive(f->client, &reply);
    return r;
}

static void who_insists_asks_again(void **state)
{
    int status;
    pid_t child;

    assert_int_equal(call_one_that_dies(*state, true, 4, &child), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void who_insists_gives_up(void **state)
{
    pid_t child;

    assert_int_equal(call_one_that_dies(*state, true, 5, &child), -ECONNRESET);
    assert_int_equal(kill(child, SIGKILL), 0); // it waits for one more
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void nobody_else_asks_again(void **state)
{
    pid_t child;

    assert_int_equal(call_one_that_dies(*state, false, 1, &child), -ECONNRESET);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* What has been heard of a reply may have been printed, and to ask again would print it twice. */
static void after_a_byte_nobody_asks_again(void **state)
{
    struct fixture *f = *state;
    struct varlink_reply reply;
    char got[256];

    open_client(f, PATIENCE_MS);
    client_insist(f->client);
    assert_int_equal(call(f->client, "List", true), 0);
    tell(f, "{", 1);
    assert_true(recv(f->peer_fd, got, sizeof got, 0) > 0);
    close(f->peer_fd);
    f->peer_fd = -1;
    assert_int_equal(client_receive(f->client, &reply), -ECONNRESET);
    assert_int_equal(fcntl(f->listen_fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC), -1);
}

/* No new daemon: what is told is that the old one hung up. */
static void nobody_comes_back(void **state)
{
    struct fixture *f = *state;
    struct varlink_reply reply;

    open_client(f, PATIENCE_MS);
    client_insist(f->client);
    assert_int_equal(call(f->client, "Status", false), 0);
    close(f->peer_fd);
    f->peer_fd = -1;
    unlink(f->path);
    assert_int_equal(client_receive(f->client, &reply), -ECONNRESET);
}

static void a_call_that_is_too_long_is_not_sent(void **state)
{
    struct fixture *f = *state;
    char *text = calloc(1, VARLINK_MESSAGE_MAX + 1);
    struct emit e = {0};
    char byte;

    open_client(f, PATIENCE_MS);
    memset(text, 'x', VARLINK_MESSAGE_MAX);
    client_begin_call(&e, "Stop", false);
    emit_text(&e, "t", text);
    free(text);
    assert_int_equal(client_send(f->client, &e), -EMSGSIZE);
    assert_int_equal(recv(f->peer_fd, &byte, 1, MSG_DONTWAIT), -1);
    emit_free(&e);
}

static void a_full_backlog_times_out(void **state)
{
    struct fixture *f = *state;
    struct client *extra = NULL;
    int r;

    assert_int_equal(client_open(f->path, TIMEOUT_MS, &f->client), 0);
    assert_int_equal(client_connect(f->client), 0);
    assert_int_equal(client_open(f->path, TIMEOUT_MS, &extra), 0);
    r = client_connect(extra);
    client_close(extra);
    assert_int_equal(r, -ETIMEDOUT);
}

/* While it follows a stream, nobody at the other end of our output is a reason to stop. */
static void a_closed_output_ends_the_stream(void **state)
{
    struct fixture *f = *state;
    struct varlink_reply reply;
    int fds[2];

    open_client(f, TIMEOUT_MS);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    client_follow(f->client, fds[1]);
    tell(f, "{}", 3);
    assert_int_equal(client_receive(f->client, &reply), 0);
    close(fds[0]);
    assert_int_equal(client_receive(f->client, &reply), -EPIPE);
    close(fds[1]);
}

static void nobody_there_is_told(void **state)
{
    struct fixture *f = *state;
    char path[CLIENT_PATH_MAX + 8];
    struct client *client;

    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(client_open(path, TIMEOUT_MS, &client), -ENAMETOOLONG);
    assert_int_equal(client_open("/nowhere/at/all", TIMEOUT_MS, &client), 0);
    assert_int_equal(call(client, "Status", false), -ENOENT);
    client_close(client);
    close(f->listen_fd);
    assert_int_equal(client_open(f->path, TIMEOUT_MS, &f->client), 0);
    assert_int_equal(call(f->client, "Status", false), -ECONNREFUSED);
    assert_int_equal(client_connect(f->client), -ECONNREFUSED); // not taken for connected
}

/* Who takes the connection finds the call in it. */
static void a_call_comes_with_the_connection(void **state)
{
    struct fixture *f = *state;
    char got[256];

    assert_int_equal(client_open(f->path, PATIENCE_MS, &f->client), 0);
    assert_int_equal(fcntl(f->listen_fd, F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC), -1);
    assert_int_equal(call(f->client, "Status", false), 0);
    f->peer_fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(f->peer_fd >= 0);
    assert_true(recv(f->peer_fd, got, sizeof got, MSG_DONTWAIT) > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(calls_are_sent_whole),      TEST(replies_come_in_any_pieces),
        TEST(long_replies_are_received), TEST(junk_is_told_from_replies),
        TEST(a_hang_up_is_told),         TEST(last_words_are_heard),
        TEST(who_insists_asks_again),    TEST(who_insists_gives_up),
        TEST(nobody_else_asks_again),    TEST(after_a_byte_nobody_asks_again),
        TEST(nobody_comes_back),         TEST(a_call_that_is_too_long_is_not_sent),
        TEST(a_full_backlog_times_out),  TEST(a_closed_output_ends_the_stream),
        TEST(nobody_there_is_told),      TEST(a_call_comes_with_the_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
