/*
 * environment - what a command finds in its environment: PATH, LANG and HOME as the daemon has them, what its action
 * lists, and TWISTY_JOB, TWISTY_ID, TWISTY_EVENT, TWISTY_LEFT, TWISTY_COUNT and TWISTY_MISSED. Nothing else.
 */
#ifndef TWISTY_ENVIRONMENT_H
#define TWISTY_ENVIRONMENT_H

#include "action.h"

/* Append "NAME=VALUE" texts, each name once. 0 or -ENOMEM. */
int environment_fill(const struct action *action, const struct occasion *occasion, struct text_list *out);

#endif
