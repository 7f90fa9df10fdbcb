/*
 * faults - what went wrong between twistyctl and the daemon: a line on stderr with cause and remedy, and an exit
 * status.
 */
#ifndef TWISTYCTL_FAULTS_H
#define TWISTYCTL_FAULTS_H

#include "daemon/varlink.h"
#include "invocation.h"

/* Of client_connect(), client_call() and client_receive(). */
enum ctl_status fault_call(const char *path, int error);

/* An error that the daemon replied. */
enum ctl_status fault_reply(const struct varlink_reply *reply);

#endif
