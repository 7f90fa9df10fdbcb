#include "places.h"

#include "varlink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_NAME "state.db"

bool places_config(char *buf, size_t size)
{
    const char *directory = getenv("CONFIGURATION_DIRECTORY");
    int n = snprintf(buf, size, "%s", INSTALLED_CONFIG);

    if (directory != NULL && directory[0] == '/')
        n = snprintf(buf, size, "%s/" CONFIG_NAME, directory);
    return n > 0 && (size_t)n < size && access(buf, F_OK) == 0;
}

int places_socket(char *buf, size_t size)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int n;

    if (geteuid() == 0)
        n = snprintf(buf, size, "%s", SYSTEM_SOCKET);
    else if (runtime != NULL && runtime[0] == '/')
        n = snprintf(buf, size, "%s/" USER_SOCKET, runtime);
    else
        return -ENOENT;
    return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

bool places_state(char *buf, size_t size)
{
    const char *directory = getenv("STATE_DIRECTORY"); // may name several, between colons

    if (directory == NULL || directory[0] != '/')
        return false;
    int n = snprintf(buf, size, "%.*s/" STATE_NAME, (int)strcspn(directory, ":"), directory);
    return n > 0 && (size_t)n < size;
}
