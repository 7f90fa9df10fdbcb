/*
 * add_file - `twistyctl add --file FILE`: jobs from a file of [job:NAME] and [defaults] sections, as in
 * twistyd.conf(5).
 *
 * The file is checked whole before anything is sent. Then the jobs go out in calls of some hundred, of which a few are
 * under way at a time, so that both sides always have something to do. Each call is all or nothing; when one is refused
 * no more are sent.
 */
#ifndef TWISTYCTL_ADD_FILE_H
#define TWISTYCTL_ADD_FILE_H

#include "client.h"
#include "invocation.h"
#include "output.h"

/* `path` is that of the socket, for messages. */
enum ctl_status add_file(const struct invocation *inv, struct client *client, const char *path, struct output *out);

#endif
