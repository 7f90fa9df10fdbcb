/*
 * conf_after - jobs of a configuration that start after others: those must be there, and no circle may be.
 */
#ifndef TWISTY_CONF_AFTER_H
#define TWISTY_CONF_AFTER_H

#include "conf_text.h"

/* Note what is wrong with the key `after`, which is `key` among the keys of job sections. Values are names or empty. */
void conf_after_check(const struct conf_text *text, unsigned key);

#endif
