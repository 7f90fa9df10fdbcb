/*
 * places - where the daemon's files are when nobody says: the configuration, the control socket, the state file.
 *
 * A service manager says it by the environment (systemd.exec(5), "RuntimeDirectory="); else it depends on whose daemon
 * this is.
 */
#ifndef TWISTY_PLACES_H
#define TWISTY_PLACES_H

#include <stdbool.h>
#include <stddef.h>

#define CONFIG_NAME      "twistyd.conf"
#define INSTALLED_CONFIG "/etc/twisty/" CONFIG_NAME

/* Where a service manager has the configuration, a user's manager in that user's home, or the usual place: if it is. */
bool places_config(char *buf, size_t size);

/* Root's place, or that of an ordinary user. 0; -ENOENT: $XDG_RUNTIME_DIR is not set; -ENAMETOOLONG. */
int places_socket(char *buf, size_t size);

/* Where a service manager has made a place for state; false: nowhere. */
bool places_state(char *buf, size_t size);

#endif
