/*
 * Descriptors that the host was started with, from 3 on, as systemd hands them
 * over (sd_listen_fds(3)): their number in LISTEN_FDS, for the process
 * LISTEN_PID, their names in LISTEN_FDNAMES.  Who sets the environment of root's
 * programs is root, but may err; so nothing in it is believed unseen.  Spawner
 * only.
 */
#ifndef FCGI_HOST_GIVEN_H
#define FCGI_HOST_GIVEN_H

#include <stdbool.h>
#include <stddef.h>

#define GIVEN_FIRST 3
#define GIVEN_MAX 64
#define GIVEN_NAME_MAX 255

struct given_fd {
	int fd; /* -1: taken by somebody */
	int number; /* what it was, for messages */
	char name[GIVEN_NAME_MAX + 1]; /* printable */
};

struct given {
	struct given_fd at[GIVEN_MAX];
	size_t count;
	bool is_anothers; /* there are some, for another process */
};

/*
 * Takes what was given, CLOEXEC from now on, and takes the variables out of the
 * environment.  To be called before anything is opened; logs nothing.  0, or
 * -EINVAL with a sentence: none is taken.
 */
int given_take(struct given *given, char *problem, size_t size);
/* Closes those that nobody took. */
void given_close(struct given *given);

#endif
