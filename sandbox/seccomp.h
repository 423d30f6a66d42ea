/*
 * System call filters.  They are compiled once, with libseccomp, into raw BPF
 * programs; the child of a start only loads one.  An entry stands in a list
 * with its reason; what is in none is answered as if the kernel did not know
 * it, so that a C library falls back.
 */
#ifndef SANDBOX_SECCOMP_H
#define SANDBOX_SECCOMP_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

struct seccomp_program {
	struct sock_fprog code; /* code.filter is allocated */
};

enum seccomp_role {
	SECCOMP_FUNCTION,
	SECCOMP_GATEWAY,
	SECCOMP_SCANNER,
	/* All of the above and what the spawner needs: children inherit it. */
	SECCOMP_SPAWNER
};

struct seccomp_options {
	/* memfd_create may be had: the kernel keeps its files from being
	 * executed.  Where it cannot (before 6.3), the call is refused. */
	bool has_memfd;
	/* System V objects may be had: their ceilings are set.  Before Linux
	 * 6.8 only root can. */
	bool has_sysv;
	/* For a person at a shell: what sets a terminal is allowed. */
	bool has_terminal;
	/* Of a spawner: an ordinary user started it. */
	bool is_ordinary;
	/* TCP and UDP: what they reach is the network namespace's to say. */
	bool has_internet;
};

/* 0, or a negative errno.  Of gateway and scanner by who is to enter it: a signal
 * may go to that process only. */
int seccomp_compile(struct seccomp_program *program, enum seccomp_role role,
    const struct seccomp_options *options);
void seccomp_free(struct seccomp_program *program);

/* Async-signal-safe; final; needs no_new_privs.  0 or negative errno. */
int seccomp_enter(const struct seccomp_program *program);

/* Whether the kernel has filters at all. */
bool seccomp_is_there(void);

#endif
