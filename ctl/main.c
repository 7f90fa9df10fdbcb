#include "commands.h"
#include "complete.h"
#include "say.h"
#include "verbs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static enum ctl_status run(int argc, char *argv[])
{
    struct invocation inv;
    char why[USAGE_ERROR_MAX];
    enum ctl_status status = CTL_DONE;

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
    if (inv.value[OPTION_VERSION] != NULL)
        puts("twistyctl " TWISTY_VERSION);
    else if (inv.value[OPTION_HELP] != NULL)
        verbs_help(inv.verb);
    else
        status = commands_run(&inv);
    invocation_clear(&inv);
    return status;
}

int main(int argc, char *argv[])
{
    exit((int)run(argc > 0 ? argc - 1 : 0, argv + (argc > 0)));
}
