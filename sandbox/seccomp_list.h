/*
 * The shape of the lists of system calls.  An entry with no argument stands for
 * the call whatever its arguments; several entries of one call stand for the
 * union of their conditions.
 */
#ifndef SANDBOX_SECCOMP_LIST_H
#define SANDBOX_SECCOMP_LIST_H

#include <stddef.h>
#include <stdint.h>

enum seccomp_test {
	SECCOMP_TEST_NONE,
	SECCOMP_TEST_IS,     /* all 64 bits equal value */
	SECCOMP_TEST_IS_NOT,
	/*
	 * value under mask; a mask of 32 bits looks at what the kernel looks at
	 * when the parameter is an int, so that high bits hide nothing.
	 */
	SECCOMP_TEST_MASKED
};

struct seccomp_entry {
	const char *name;
	int error; /* 0: allowed; else this errno and nothing happens */
	enum seccomp_test test;
	unsigned argument; /* from 0 */
	uint64_t mask, value;
};

struct seccomp_group {
	const struct seccomp_entry *entries;
	size_t count;
};

#define SECCOMP_LOW 0xffffffffu
#define SECCOMP_GROUP(array) { (array), sizeof(array) / sizeof((array)[0]) }

#define CALL(name) { (name), 0, SECCOMP_TEST_NONE, 0, 0, 0 }
#define CALL_IF(name, arg, value) \
	{ (name), 0, SECCOMP_TEST_IS, (arg), 0, (uint64_t)(value) }
#define CALL_IF_MASKED(name, arg, mask, value) \
	{ (name), 0, SECCOMP_TEST_MASKED, (arg), (mask), (uint64_t)(value) }
#define DENY(name) { (name), EPERM, SECCOMP_TEST_NONE, 0, 0, 0 }
#define DENY_WITH(name, error) { (name), (error), SECCOMP_TEST_NONE, 0, 0, 0 }
#define DENY_UNLESS(name, error, arg, value) \
	{ (name), (error), SECCOMP_TEST_IS_NOT, (arg), 0, (uint64_t)(value) }
#define DENY_IF_MASKED(name, arg, mask, value) \
	{ (name), EPERM, SECCOMP_TEST_MASKED, (arg), (mask), (uint64_t)(value) }

/* Each ends with a group of no entries. */
extern const struct seccomp_group seccomp_function_groups[];
extern const struct seccomp_group seccomp_gateway_groups[];
extern const struct seccomp_group seccomp_scanner_groups[];
/* The spawner's, beyond all of the others. */
extern const struct seccomp_group seccomp_spawner_groups[];
/* The same, only for a host that an ordinary user has started. */
extern const struct seccomp_group seccomp_ordinary_groups[];
/* memfd_create for functions, where the kernel makes it harmless. */
extern const struct seccomp_group seccomp_memfd_groups[];
/* System V objects, where they are bounded. */
extern const struct seccomp_group seccomp_sysv_groups[];
/* What sets a terminal, for a sandbox that has one. */
extern const struct seccomp_group seccomp_terminal_groups[];

#endif
