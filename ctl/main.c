#include "commands.h"
#include "complete.h"
#include "say.h"
#include "verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A standard descriptor that is closed would become the control socket, and what is printed would go there. In its
 * place comes one that cannot be written to, so that output which nobody gets is told as what it is.
 */
static int fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
            return -errno;
    return 0;
}

static enum ctl_status print(const struct invocation *inv)
{
    if (inv->value[OPTION_VERSION] != NULL)
        puts("twistyctl " TWISTY_VERSION);
    else
        verbs_help(inv->verb);
    int r = say_all();
    return r == 0 || r == -EPIPE ? CTL_DONE : CTL_FAILED;
}

static enum ctl_status run(int argc, char *argv[])
{
    struct invocation inv;
    char why[USAGE_ERROR_MAX];
    enum ctl_status status;

    // For the shell alone; its words are not a command line to be parsed.
    if (argc > 0 && strcmp(argv[0], "complete") == 0) {
        complete(argc - 1, argv + 1);
        return CTL_DONE;
    }
    int r = verbs_parse(argc, argv, &inv, why, sizeof why);
    if (r < 0) {
        say_error("%s", r == -ENOMEM ? "out of memory" : why);
        return r == -ENOMEM ? CTL_FAILED : CTL_USAGE;
    }
    if (inv.value[OPTION_VERSION] != NULL || inv.value[OPTION_HELP] != NULL)
        status = print(&inv);
    else
        status = commands_run(&inv);
    invocation_clear(&inv);
    return status;
}

int main(int argc, char *argv[])
{
    if (fill_standard_descriptors() < 0)
        exit(CTL_FAILED);
    exit((int)run(argc > 0 ? argc - 1 : 0, argv + (argc > 0)));
}
