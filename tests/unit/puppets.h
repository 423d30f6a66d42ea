/*
 * A real spawner whose gateway and scanner are puppets: programs that hand
 * their socket to the test and then only wait to be killed.  So the test
 * speaks as each of the two, honestly or not, to a host with real
 * configuration, functions, sandboxes and cgroups.  Needs root and the built
 * programs (BUILDDIR, or beside the test).
 *
 * The puppet is the test's own program under another name: a test's main
 * begins with puppets_main.
 */
#ifndef TESTS_UNIT_PUPPETS_H
#define TESTS_UNIT_PUPPETS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "fcgi-host/ctl_msg.h"

#define PUPPET_FDS_MAX 4

struct puppet {
	char name[16]; /* "gateway", "scanner" */
	int line;      /* its end shows that the puppet's process has ended */
	int sock;      /* its socket to the spawner */
	int fds[2];    /* its descriptors 4 and 5, or -1 */
	pid_t pid;
};

struct world {
	char dir[64];
	pid_t spawner;
	int meet_fd; /* where puppets introduce themselves */
	int notify_fd;
	struct puppet gateway, scanner;
};

/* Returns, if the program is called as a test; else it is a puppet for good. */
void puppets_main(int argc, char **argv);

/* True when the worlds below can be made; else it has said why not. */
bool puppets_possible(void);

/* Makes directories, functions/hello.cgi and the configuration ([host] as
 * needed and `more`), starts the spawner and waits for both puppets. */
void world_start(struct world *world, const char *more);
/* Ends it by a drain, unless it was waited for, and removes everything; that
 * it lived until then and ended well is part of the test. */
void world_end(struct world *world);
/* The same for cmocka, of the world that the set-up left in *state. */
int world_tear_down(void **state);
bool world_lives(const struct world *world);
/* Waits for the spawner's exit; its status. */
int world_wait(struct world *world);

/* DIR/NAME; static. */
const char *world_path(const struct world *world, const char *name);
void world_write(const struct world *world, const char *name, const char *text,
    mode_t mode);
/* The configuration anew. */
void world_configure(const struct world *world, const char *more);
/* How many processes the spawner has below it, and how many descriptors. */
unsigned world_children(const struct world *world);
unsigned world_fds(const struct world *world);
/* What systemd was told next. */
void world_expect_notice(const struct world *world, const char *text);

/* Waits for the next puppet of the name, in place of *puppet, which must have
 * been killed. */
void puppet_await_successor(struct world *world, struct puppet *puppet);

/* Sends a message as the puppet. */
void puppet_send(const struct puppet *puppet, const struct ctl_msg *msg,
    const int *fds, size_t fd_count);
/* One that has nothing but its type. */
void puppet_say(const struct puppet *puppet, enum ctl_type type);
void puppet_send_raw(const struct puppet *puppet, const void *data, size_t n);
/* Receives the next message, which must be of the type and pass the check of
 * one from the spawner; the rest of fds is -1. */
void puppet_expect(const struct puppet *puppet, enum ctl_type type,
    struct ctl_msg *msg, int fds[PUPPET_FDS_MAX]);
/* The same, and closes its descriptors. */
void puppet_expect_only(const struct puppet *puppet, enum ctl_type type,
    struct ctl_msg *msg);
/* A message of that type comes, whatever stands before it. */
void puppet_pass(const struct puppet *puppet, enum ctl_type type);
/* The scanner has said all, and the gateway has taken it. */
void world_sync(const struct world *world);
/* Nothing comes within a moment. */
void puppet_expect_silence(const struct puppet *puppet);

/* The whole first conversation with both, until systemd is told that the host is
 * ready: hello.cgi is reported and served. */
void world_serve(struct world *world);
/* An honest report of a function. */
struct ctl_msg report_of(const char *name, const char *path,
    const char *tenant);
struct ctl_msg start_of(uint64_t id, const char *name);

/* Sends a message to the control socket (fd -1: none); the connection. */
int command_send_msg(const struct world *world, const struct ctl_msg *msg,
    int fd);
/* The same of a command. */
int command_send(const struct world *world, enum ctl_verb verb, int fd);
/* No reply comes within a moment. */
void command_expect_silence(int connection);
/* Waits for the reply: its code, text in text[CTL_TEXT_MAX + 1]. */
int command_reply(int connection, char *text);

#endif
