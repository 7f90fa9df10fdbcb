/*
 * receiver - the other end of a sink: a datagram socket in a directory of its own, as journald and syslogd have one,
 * and a reader of the journal's native protocol. What does not hold fails the test that runs.
 */
#ifndef TWISTY_TEST_RECEIVER_H
#define TWISTY_TEST_RECEIVER_H

// cmocka.h needs these before it
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Long enough for a busy machine; nothing waits for it but a test that fails. */
#define DEADLINE_MS 10000

struct receiver {
    struct sockaddr_un address;
    int fd; // -1: not there
    size_t len;
    char bytes[16384]; // the last datagram, with a NUL behind it
};

static inline void make_test_dir(char *dir, size_t size)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(dir, size, "%s/twisty-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(dir));
}

static inline void receiver_start(struct receiver *r)
{
    r->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(r->fd >= 0);
    assert_int_equal(bind(r->fd, (const struct sockaddr *)&r->address, sizeof r->address), 0);
}

static inline void receiver_init(struct receiver *r, const char *dir, const char *name)
{
    int n = snprintf(r->address.sun_path, sizeof r->address.sun_path, "%s/%s", dir, name);

    assert_in_range(n, 1, sizeof r->address.sun_path - 1);
    r->address.sun_family = AF_UNIX;
    receiver_start(r);
}

static inline void receiver_stop(struct receiver *r)
{
    if (r->fd < 0)
        return;
    close(r->fd);
    unlink(r->address.sun_path);
    r->fd = -1;
}

/* Take the next datagram, if there is one. */
static inline bool receiver_take(struct receiver *r)
{
    ssize_t n = recv(r->fd, r->bytes, sizeof r->bytes - 1, MSG_DONTWAIT);

    if (n < 0) {
        assert_int_equal(errno, EAGAIN);
        return false;
    }
    r->len = (size_t)n;
    r->bytes[n] = '\0';
    return true;
}

/* Take the next datagram, which must be there. */
static inline void receiver_next(struct receiver *r)
{
    if (!receiver_take(r))
        fail_msg("nothing was sent");
}

struct entry_field {
    char name[64];
    const char *value; // in the receiver's bytes
    size_t len;
};

struct entry {
    struct entry_field fields[32];
    size_t n;
};

/* Read an entry of the journal's native protocol to the last byte. */
static inline void entry_parse(struct entry *entry, const char *bytes, size_t len)
{
    const char *p = bytes, *end = bytes + len;

    entry->n = 0;
    while (p < end) {
        struct entry_field *field = &entry->fields[entry->n];
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        const char *equals = eol ? memchr(p, '=', (size_t)(eol - p)) : NULL;
        const char *name_end = equals ? equals : eol;

        assert_true(entry->n < sizeof entry->fields / sizeof entry->fields[0]);
        if (!eol) {
            fail_msg("an entry's last line has no end");
            return;
        }
        assert_in_range(name_end - p, 1, sizeof field->name - 1);
        memcpy(field->name, p, (size_t)(name_end - p));
        field->name[name_end - p] = '\0';
        if (equals) {
            field->value = equals + 1;
            field->len = (size_t)(eol - field->value);
        } else {
            uint64_t length;

            assert_true((size_t)(end - eol) > sizeof length);
            memcpy(&length, eol + 1, sizeof length);
            field->value = eol + 1 + sizeof length;
            field->len = le64toh(length);
            assert_true(field->len < (size_t)(end - field->value));
            assert_int_equal(field->value[field->len], '\n');
        }
        p = field->value + field->len + 1;
        entry->n++;
    }
}

/* A field's value, copied to a static buffer; NULL when there is none. It must not be there twice. */
static inline const char *entry_get(const struct entry *entry, const char *name)
{
    static char values[8][4096];
    static unsigned next;
    char *value = NULL;

    for (size_t i = 0; i < entry->n; i++) {
        if (strcmp(entry->fields[i].name, name) != 0)
            continue;
        assert_null(value);
        assert_true(entry->fields[i].len < sizeof values[0]);
        value = values[next++ % 8];
        memcpy(value, entry->fields[i].value, entry->fields[i].len);
        value[entry->fields[i].len] = '\0';
    }
    return value;
}

#endif
