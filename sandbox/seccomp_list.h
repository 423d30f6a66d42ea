/*
 * The shape of the lists of system calls.  An entry with no condition stands for
 * the call whatever its arguments; one with several for the calls that fulfil all
 * of them; several entries of one call for the union.  No two may be true of the
 * same call and answer it differently.
 */
#ifndef SANDBOX_SECCOMP_LIST_H
#define SANDBOX_SECCOMP_LIST_H

#include <stddef.h>
#include <stdint.h>

enum seccomp_test {
	SECCOMP_TEST_NONE,
	SECCOMP_TEST_IS,     /* all 64 bits equal value */
	SECCOMP_TEST_IS_NOT,
	SECCOMP_TEST_ABOVE,  /* all 64 bits, as a number without a sign */
	SECCOMP_TEST_BELOW,
	/*
	 * value under mask; a mask of 32 bits looks at what the kernel looks at
	 * when the parameter is an int, so that high bits hide nothing.
	 */
	SECCOMP_TEST_MASKED
};

struct seccomp_condition {
	enum seccomp_test test;
	unsigned argument; /* from 0 */
	uint64_t mask, value;
};

#define SECCOMP_CONDITIONS_MAX 3

struct seccomp_entry {
	const char *name;
	int error; /* 0: allowed; else this errno and nothing happens */
	/* up to the first SECCOMP_TEST_NONE; each of another argument */
	struct seccomp_condition conditions[SECCOMP_CONDITIONS_MAX];
};

struct seccomp_group {
	const struct seccomp_entry *entries;
	size_t count;
};

#define SECCOMP_LOW 0xffffffffu
#define SECCOMP_GROUP(array) { (array), sizeof(array) / sizeof((array)[0]) }

#define IS(arg, value) { SECCOMP_TEST_IS, (arg), 0, (uint64_t)(value) }
#define IS_NOT(arg, value) { SECCOMP_TEST_IS_NOT, (arg), 0, (uint64_t)(value) }
#define ABOVE(arg, value) { SECCOMP_TEST_ABOVE, (arg), 0, (uint64_t)(value) }
#define BELOW(arg, value) { SECCOMP_TEST_BELOW, (arg), 0, (uint64_t)(value) }
#define MASKED(arg, mask, value) \
	{ SECCOMP_TEST_MASKED, (arg), (mask), (uint64_t)(value) }

#define CALL(name) { (name), 0, { { SECCOMP_TEST_NONE, 0, 0, 0 } } }
#define CALL_WHEN(name, ...) { (name), 0, { __VA_ARGS__ } }
#define CALL_IF(name, arg, value) CALL_WHEN(name, IS(arg, value))
#define CALL_IF_MASKED(name, arg, mask, value) \
	CALL_WHEN(name, MASKED(arg, mask, value))
#define DENY_WITH(name, error) \
	{ (name), (error), { { SECCOMP_TEST_NONE, 0, 0, 0 } } }
#define DENY(name) DENY_WITH(name, EPERM)
#define DENY_WHEN(name, error, ...) { (name), (error), { __VA_ARGS__ } }
#define DENY_UNLESS(name, error, arg, value) \
	DENY_WHEN(name, error, IS_NOT(arg, value))
#define DENY_IF_MASKED(name, arg, mask, value) \
	DENY_WHEN(name, EPERM, MASKED(arg, mask, value))

/* Each ends with a group of no entries. */
extern const struct seccomp_group seccomp_function_groups[];
extern const struct seccomp_group seccomp_gateway_groups[];
extern const struct seccomp_group seccomp_scanner_groups[];
/* The spawner's, beyond all of the others. */
extern const struct seccomp_group seccomp_spawner_groups[];
/* The same, only for a host that an ordinary user has started. */
extern const struct seccomp_group seccomp_ordinary_groups[];
/* What functions may make of sockets: one of these two is added to their list. */
extern const struct seccomp_group seccomp_unix_groups[];
extern const struct seccomp_group seccomp_internet_groups[];
/* memfd_create for functions, where the kernel makes it harmless. */
extern const struct seccomp_group seccomp_memfd_groups[];
/* System V objects, where they are bounded. */
extern const struct seccomp_group seccomp_sysv_groups[];
/* What sets a terminal, for a sandbox that has one. */
extern const struct seccomp_group seccomp_terminal_groups[];

#endif
