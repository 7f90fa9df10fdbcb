/*
 * init - the duties of a container's first process, when nobody else is there for them.
 *
 * The kernel gives it every process that has lost its parent, to be waited for, and drops signals that it does not
 * catch. The daemon itself is then the second process, and waits for nobody but its own children.
 */
#ifndef TWISTY_INIT_H
#define TWISTY_INIT_H

/*
 * If this is process 1, fork, and let the other one go on: pass TERM, INT and HUP on to it, and wait for whatever ends,
 * until it has ended too. 0 in the process that goes on; 1 in the first one, with what it has to exit with in *status
 * (128 and the signal's number, if one killed the other); negative errno. To be called before there are threads.
 */
int init_fork(int *status);

#endif
