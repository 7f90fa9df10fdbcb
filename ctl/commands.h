/*
 * commands - what the verbs do: call the daemon, print its reply, turn its errors into a line and an exit status.
 */
#ifndef TWISTYCTL_COMMANDS_H
#define TWISTYCTL_COMMANDS_H

#include "invocation.h"

/* Connect, run inv->verb, and see that everything was written. What went wrong has been said on stderr. */
enum ctl_status commands_run(const struct invocation *inv);

/* The verbs. */
enum ctl_status command_add(struct session *session);
enum ctl_status command_list(struct session *session);
enum ctl_status command_show(struct session *session);
enum ctl_status command_steer(struct session *session);
enum ctl_status command_remove(struct session *session);
enum ctl_status command_actions(struct session *session);
enum ctl_status command_status(struct session *session);
enum ctl_status command_watch(struct session *session);
enum ctl_status command_reload(struct session *session);
enum ctl_status command_shutdown(struct session *session);

#endif
