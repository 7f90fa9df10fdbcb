/*
 * complete - what may stand next on a command line, for the shell: from the tables of verbs.c and from the daemon.
 */
#ifndef TWISTYCTL_COMPLETE_H
#define TWISTYCTL_COMPLETE_H

/*
 * Print the words that the last of `words` may become, one a line; ":files" asks the shell for file names. The words
 * are those of the command line without the program's name, split at "=" as bash does.
 */
void complete(int n, char *words[]);

#endif
