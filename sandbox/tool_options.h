/*
 * What is said to fcgi-host-sandbox on its command line: the command and the
 * profile's numbers and places.  The administrator's words; every one that
 * cannot be right is refused with a sentence.
 */
#ifndef SANDBOX_TOOL_OPTIONS_H
#define SANDBOX_TOOL_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sandbox/init_msg.h"
#include "sandbox/plan.h"

#define TOOL_NAME "fcgi-host-sandbox"

struct tool_bind {
	char path[256];
	bool is_writable;
};

/* Strings are borrowed of argv. */
struct tool_options {
	/* NULL: none was named */
	const char *function, *data, *rootfs, *cgroup;
	struct tool_bind binds[SANDBOX_BINDS_MAX];
	size_t bind_count;
	uint64_t memory_bytes, tmp_bytes, processes;
	uint64_t cpu_milli; /* 0: no ceiling */
	uid_t uid;
	gid_t gid;
	enum sandbox_network network;
	const char *egress; /* a namespace's path, or NULL */
	unsigned without; /* LAYER_ bits */
	bool is_layers, is_quiet;
	char env[INIT_ENV_MAX]; /* "NAME=VALUE\0"… */
	size_t env_length;
	char **command; /* empty: none was given */
};

enum tool_parsed { TOOL_GO_ON, TOOL_DONE, TOOL_WRONG };

/* TOOL_DONE: help or version was printed.  TOOL_WRONG: a sentence is on
 * standard error. */
enum tool_parsed tool_options_parse(struct tool_options *options, int argc,
    char **argv);

/* "fcgi-host-sandbox: SENTENCE" on standard error. */
void tool_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
