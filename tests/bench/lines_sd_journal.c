/* sd_journal_send(), with the fields that our record has. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include "lines.h"

#include <stddef.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

static int start(const char *receiver)
{
    (void)receiver;
    return 0;
}

static void burst(unsigned millisecond)
{
    unsigned first = lines_first(millisecond), left = LINES_COUNT - lines_ticked(millisecond);

    for (unsigned i = first; i < first + LINES_BURST; i++)
        sd_journal_send("PRIORITY=%i", LOG_INFO, "SYSLOG_FACILITY=%i", LOG_FAC(LOG_DAEMON),
                        "MESSAGE=tick job=" LINES_NAME " id=%u left=%u count=%u", i, i + 1, left, LINES_COUNT,
                        "MESSAGE_ID=544b28eafb9643578f9997fcf74f132e", "TWISTY_EVENT=tick", "TWISTY_JOB=" LINES_NAME, i,
                        "TWISTY_ID=%u", i + 1, "TWISTY_KIND=countdown", "TWISTY_LEFT=%u", left, "TWISTY_COUNT=%u",
                        LINES_COUNT, "TWISTY_MISSED=%u", 0, "TWISTY_LATE_USEC=%u", 0, NULL);
}

const struct lines_driver lines_driver = {
    .name = "sd_journal_send", .place = "/run/systemd/journal/socket", .start = start, .burst = burst};
