/* What the service manager is told when it does not read at once. */
#include "daemon/service.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Longer than any test takes. */
#define PATIENCE_MS 10000

#define FILLER "FILLER=1"

struct fixture {
    int manager; // its socket
    struct service *service;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[sizeof address.sun_path];

    // An abstract name that the kernel chooses: five bytes behind the NUL.
    f->manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->manager, (struct sockaddr *)&address, sizeof address.sun_family), 0);
    socklen_t len = sizeof address;
    assert_int_equal(getsockname(f->manager, (struct sockaddr *)&address, &len), 0);
    size_t name_len = len - offsetof(struct sockaddr_un, sun_path) - 1;
    snprintf(name, sizeof name, "@%.*s", (int)name_len, address.sun_path + 1);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    f->service = service_new();
    assert_non_null(f->service);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    service_free(f->service);
    close(f->manager);
    free(f);
    return 0;
}

static void fill(const struct fixture *f)
{
    while (service_notify(f->service, FILLER) == 0)
        ;
}

/* What comes next but for fillers; "" when nothing does. */
static const char *next_told(const struct fixture *f, int flags)
{
    static char text[64];
    ssize_t n;

    do {
        n = recv(f->manager, text, sizeof text - 1, flags);
        text[n > 0 ? n : 0] = '\0';
    } while (strcmp(text, FILLER) == 0);
    return text;
}

static void states_are_told_in_their_order(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(service_notify(f->service, "READY=1"), 0);
    assert_int_equal(service_stopping(f->service, PATIENCE_MS), 0);
    assert_string_equal(next_told(f, MSG_DONTWAIT), "READY=1");
    assert_string_equal(next_told(f, MSG_DONTWAIT), "STOPPING=1");
    assert_string_equal(next_told(f, MSG_DONTWAIT), "");
}

/* The manager reads only when the daemon waits for it, or comes to that. */
static void the_end_waits_for_room(void **state)
{
    struct fixture *f = *state;
    int status;

    fill(f);
    assert_int_equal(service_notify(f->service, "READY=1"), -EAGAIN);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(strcmp(next_told(f, 0), "READY=1") != 0 || strcmp(next_told(f, 0), "STOPPING=1") != 0);
    assert_int_equal(service_stopping(f->service, PATIENCE_MS), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void the_end_does_not_wait_for_ever(void **state)
{
    struct fixture *f = *state;

    fill(f);
    assert_int_equal(service_notify(f->service, "READY=1"), -EAGAIN);
    assert_int_equal(service_stopping(f->service, 1), -EAGAIN);
    assert_string_equal(next_told(f, MSG_DONTWAIT), "");
    assert_int_equal(service_stopping(f->service, 1), 0);
    assert_string_equal(next_told(f, MSG_DONTWAIT), "READY=1"); // it was not given up for the other
    assert_string_equal(next_told(f, MSG_DONTWAIT), "STOPPING=1");
}

static void without_a_manager_there_is_nothing_to_tell(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    struct service *service = service_new();
    assert_false(service_managed(service));
    assert_int_equal(service_notify(service, "READY=1"), 0);
    assert_int_equal(service_stopping(service, PATIENCE_MS), 0);
    service_free(service);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(states_are_told_in_their_order),
        TEST(the_end_waits_for_room),
        TEST(the_end_does_not_wait_for_ever),
        cmocka_unit_test(without_a_manager_there_is_nothing_to_tell),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
