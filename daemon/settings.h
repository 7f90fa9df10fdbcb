/*
 * settings - what the [daemon] section says: its keys, their values and what is built in.
 *
 * Pure. The loop, the log and the command line take their choices from here; jobs and actions are spec.c's and
 * action.c's.
 */
#ifndef TWISTY_SETTINGS_H
#define TWISTY_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_target { LOG_TARGET_AUTO, LOG_TARGET_JOURNAL, LOG_TARGET_SYSLOG, LOG_TARGET_STDERR };
enum loop_backend { BACKEND_AUTO, BACKEND_EPOLL, BACKEND_POLL, BACKEND_SELECT };
enum loop_clock { CLOCK_KIND_MONOTONIC, CLOCK_KIND_BOOTTIME };

/* The longest path of the state file, with its NUL. */
#define STATE_PATH_MAX 256

/* Instead of a path: no state file. */
#define STATE_NONE "none"

enum settings_key {
    SETTING_EXIT_WHEN_DONE,
    SETTING_LOG_TARGET,
    SETTING_LOG_LEVEL,
    SETTING_BACKEND,
    SETTING_CLOCK,
    SETTING_ACCURACY,
    SETTING_MAX_JOBS,
    SETTING_KEEP_ENDED,
    SETTING_REPORT_LIMIT,
    SETTING_MAX_CONNECTIONS,
    SETTING_STATE,
    SETTING_MAX_ACTIONS,
    SETTING_MAX_QUEUED,
    SETTING_STOP_TIMEOUT,
    SETTINGS_KEYS,
};

/* Their words in the INI file. */
extern const char *const settings_keys[SETTINGS_KEYS];

struct daemon_settings {
    bool exit_when_done;
    enum log_target log_target;
    int log_level; // syslog priority, LOG_EMERG .. LOG_DEBUG; lines above it are not written
    enum loop_backend backend;
    enum loop_clock clock;
    int64_t accuracy; // ns; how much later than due a tick may come for the sake of fewer wake-ups
    uint32_t max_jobs;
    uint32_t keep_ended;
    uint32_t report_limit;      // tick lines a second; 0: no limit
    uint32_t max_connections;   // to the control socket, of one user
    uint32_t max_actions;       // commands that run at a time
    uint32_t max_queued;        // actions that wait for their turn
    int64_t stop_timeout;       // ns; from the SIGTERM to a command until its SIGKILL
    char state[STATE_PATH_MAX]; // an absolute path, or STATE_NONE; "": not said
};

/* The built-in settings, as without a file. */
void settings_default(struct daemon_settings *out);

/* Set a key from its text. 0; -EINVAL or -ERANGE with a phrase in `why` that completes "'TEXT' ...". */
int settings_set(struct daemon_settings *s, enum settings_key key, const char *value, char *why, size_t size);

/* The words of the settings, for options, status and messages; the parsers return false on an unknown word. */
const char *log_target_name(enum log_target target);
bool log_target_parse(const char *text, enum log_target *out);
bool log_level_parse(const char *text, int *out);
const char *loop_backend_name(enum loop_backend backend);
bool loop_backend_parse(const char *text, enum loop_backend *out);
const char *loop_clock_name(enum loop_clock clock);

#endif
