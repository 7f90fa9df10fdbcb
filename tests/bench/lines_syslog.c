/* syslog(3), with the text that our line has. */
#include "lines.h"

#include <stddef.h>
#include <syslog.h>

static int start(const char *receiver)
{
    (void)receiver;
    openlog("twistyd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
    return 0;
}

static void burst(unsigned millisecond)
{
    unsigned first = lines_first(millisecond), left = LINES_COUNT - lines_ticked(millisecond);

    for (unsigned i = first; i < first + LINES_BURST; i++)
        syslog(LOG_INFO, "tick job=" LINES_NAME " id=%u left=%u count=%u", i, i + 1, left, LINES_COUNT);
}

const struct lines_driver lines_driver = {.name = "syslog(3)", .place = "/dev/log", .start = start, .burst = burst};
