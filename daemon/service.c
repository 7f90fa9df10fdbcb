#include "service.h"

#include "now.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define MESSAGE_MAX 512

struct service {
    struct sockaddr_un manager;
    socklen_t manager_len;    // 0: no manager
    int fd;                   // to send from; -1 until then
    char unsent[MESSAGE_MAX]; // the last change of state, while the manager has not got it
    int n_listen_fds;
    int64_t watchdog_ns;
};

/* $NOTIFY_SOCKET: a path, or "@" and an abstract name. */
static void find_manager(struct service *service)
{
    const char *address = getenv("NOTIFY_SOCKET");
    size_t len = address == NULL ? 0 : strlen(address);

    if (len < 2 || len >= sizeof service->manager.sun_path || (address[0] != '/' && address[0] != '@'))
        return;
    service->manager.sun_family = AF_UNIX;
    memcpy(service->manager.sun_path, address, len);
    if (address[0] == '@')
        service->manager.sun_path[0] = '\0';
    service->manager_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

struct service *service_new(void)
{
    struct service *service = calloc(1, sizeof *service);
    uint64_t watchdog_usec = 0;

    if (service == NULL)
        return NULL;
    service->fd = -1;
    find_manager(service);
    if (sd_watchdog_enabled(1, &watchdog_usec) > 0)
        service->watchdog_ns = (int64_t)watchdog_usec * 1000 / 2;
    service->n_listen_fds = sd_listen_fds(1);
    unsetenv("NOTIFY_SOCKET");
    return service;
}

void service_free(struct service *service)
{
    if (service == NULL)
        return;
    if (service->fd >= 0)
        close(service->fd);
    free(service);
}

int service_listen_fd(const struct service *service)
{
    if (service->n_listen_fds < 0)
        return service->n_listen_fds;
    if (service->n_listen_fds == 0)
        return -ENOENT;
    if (service->n_listen_fds > 1)
        return -EINVAL;
    int r = sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_STREAM, 1, NULL, 0);
    return r < 0 ? r : r == 0 ? -EINVAL : SD_LISTEN_FDS_START;
}

/* Does this change the unit's state for the manager? Everything else is told anew before long. */
static bool changes_state(const char *message)
{
    static const char *const keys[] = {"READY=", "RELOADING="};

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strncmp(message, keys[i], strlen(keys[i])) == 0)
            return true;
    return false;
}

/* wait_ms: for room in the manager's queue. */
static int send_message(struct service *service, const char *message, int wait_ms)
{
    const struct timeval wait = {wait_ms / 1000, wait_ms % 1000 * 1000L};
    int flags = MSG_NOSIGNAL | (wait_ms > 0 ? 0 : MSG_DONTWAIT);

    if (service->fd < 0)
        service->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (service->fd < 0 || (wait_ms > 0 && setsockopt(service->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) < 0))
        return -errno;
    ssize_t sent = sendto(service->fd, message, strlen(message), flags, (const struct sockaddr *)&service->manager,
                          service->manager_len);
    return sent < 0 ? -errno : 0;
}

int service_notify(struct service *service, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    int r = 0;

    if (service->manager_len == 0)
        return 0;
    va_start(args, format);
    int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof message)
        return -EMSGSIZE;
    if (service->unsent[0] != '\0')
        r = send_message(service, service->unsent, 0);
    if (r != -EAGAIN) {
        service->unsent[0] = '\0';
        r = send_message(service, message, 0);
    }
    if (r == -EAGAIN && changes_state(message))
        memcpy(service->unsent, message, (size_t)n + 1);
    return r;
}

int service_stopping(struct service *service, int wait_ms)
{
    int r = 0;

    if (service->manager_len == 0)
        return 0;
    if (service->unsent[0] != '\0')
        r = send_message(service, service->unsent, wait_ms);
    if (r != -EAGAIN) {
        snprintf(service->unsent, sizeof service->unsent, "STOPPING=1");
        r = send_message(service, service->unsent, wait_ms);
    }
    if (r != -EAGAIN)
        service->unsent[0] = '\0';
    return r;
}

bool service_managed(const struct service *service)
{
    return service->manager_len != 0;
}

int64_t service_monotonic_usec(void)
{
    return now_by(CLOCK_MONOTONIC) / NSEC_PER_USEC;
}

int64_t service_watchdog_interval(const struct service *service)
{
    return service->watchdog_ns;
}
