/*
 * The spawner's filter holds for all that is started from it, so it must allow
 * whatever a child's own filter allows.  Both are run here as the kernel runs
 * them, on every call of every list, with arguments on and around each bound.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox/seccomp.h"
#include "sandbox/seccomp_list.h"

#define NUMBERS 512 /* the kernel's calls lie below */

static struct seccomp_program spawner;

static const struct seccomp_group *const lists[] = {
	seccomp_spawner_groups, seccomp_gateway_groups, seccomp_scanner_groups,
	seccomp_function_groups, seccomp_memfd_groups, seccomp_sysv_groups,
	seccomp_terminal_groups,
};
#define LISTS (sizeof(lists) / sizeof(lists[0]))

/* -------------------------------------------------- the kernel's interpreter */

static bool
jumps(const struct sock_filter *op, uint32_t a)
{
	switch (BPF_OP(op->code)) {
	case BPF_JEQ:
		return a == op->k;
	case BPF_JGT:
		return a > op->k;
	case BPF_JGE:
		return a >= op->k;
	case BPF_JSET:
		return (a & op->k) != 0;
	default:
		fail_msg("a jump of another kind: %#x", op->code);
		return false;
	}
}

static uint32_t
run(const struct seccomp_program *program, const struct seccomp_data *data)
{
	const struct sock_filter *op = program->code.filter;
	const struct sock_filter *end = op + program->code.len;
	uint32_t a = 0;

	for (; op < end; op++) {
		switch (BPF_CLASS(op->code)) {
		case BPF_LD:
			assert_int_equal(BPF_MODE(op->code), BPF_ABS);
			assert_true(op->k + 4 <= sizeof(*data));
			memcpy(&a, (const char *)data + op->k, 4);
			break;
		case BPF_ALU:
			assert_int_equal(BPF_OP(op->code), BPF_AND);
			a &= op->k;
			break;
		case BPF_JMP:
			if (BPF_OP(op->code) == BPF_JA)
				op += op->k;
			else
				op += jumps(op, a) ? op->jt : op->jf;
			break;
		case BPF_RET:
			return op->k;
		default:
			fail_msg("an operation of another kind: %#x", op->code);
		}
	}
	fail_msg("the program has no end");
	return 0;
}

static struct seccomp_data
data_of(int number, unsigned argument, uint64_t value)
{
	struct seccomp_data data = { .nr = number,
		.arch = seccomp_arch_native() };

	data.args[argument] = value;
	return data;
}

/* ------------------------------------------------------ what is to be looked at */

typedef void looker(int number, unsigned argument, uint64_t value,
    const void *arg);

static void
look_around(const struct seccomp_entry *entry, int number, looker *look,
    const void *arg)
{
	const uint64_t high = UINT64_C(1) << 32;
	const uint64_t values[] = { entry->value, entry->value ^ 1,
		entry->value | high, ~entry->value, entry->mask,
		entry->value | ~entry->mask, 0, UINT64_MAX };

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		look(number, entry->argument, values[i], arg);
}

static void
look_at_list(const struct seccomp_group *group, looker *look, const void *arg)
{
	for (; group->count > 0; group++)
		for (size_t i = 0; i < group->count; i++) {
			int number = seccomp_syscall_resolve_name(
			    group->entries[i].name);

			if (number >= 0)
				look_around(&group->entries[i], number, look,
				    arg);
		}
}

static void
look_everywhere(looker *look, const void *arg)
{
	for (int number = 0; number < NUMBERS; number++)
		for (unsigned argument = 0; argument < 6; argument++) {
			look(number, argument, 0, arg);
			look(number, argument, UINT64_MAX, arg);
		}
	for (size_t i = 0; i < LISTS; i++)
		look_at_list(lists[i], look, arg);
}

/* -------------------------------------------------------------------- tests */

static void
is_as_before(int number, unsigned argument, uint64_t value, const void *child)
{
	struct seccomp_data data = data_of(number, argument, value);

	if (run(child, &data) != SECCOMP_RET_ALLOW)
		return;
	if (run(&spawner, &data) != SECCOMP_RET_ALLOW)
		fail_msg("call %d, argument %u = %#llx: a child may, and the "
		    "spawner's filter refuses", number, argument,
		    (unsigned long long)value);
}

static void
the_spawners_filter_takes_nothing_from_any_child(void **state)
{
	static const struct {
		enum seccomp_role role;
		struct seccomp_options options;
	} children[] = {
		{ SECCOMP_GATEWAY, { .has_memfd = false } },
		{ SECCOMP_SCANNER, { .has_memfd = false } },
		{ SECCOMP_FUNCTION, { .has_memfd = false } },
		{ SECCOMP_FUNCTION, { .has_memfd = true } },
		{ SECCOMP_FUNCTION, { .has_memfd = true, .has_sysv = true } },
		{ SECCOMP_FUNCTION, { .has_memfd = true, .has_sysv = true,
		    .has_terminal = true } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(children) / sizeof(children[0]); i++) {
		struct seccomp_program child;

		assert_int_equal(seccomp_compile(&child, children[i].role,
		    &children[i].options), 0);
		look_everywhere(is_as_before, &child);
		seccomp_free(&child);
	}
}

static bool
is_met(const struct seccomp_entry *entry, unsigned argument, uint64_t value)
{
	uint64_t asked = entry->argument == argument ? value : 0;

	switch (entry->test) {
	case SECCOMP_TEST_NONE:
		return true;
	case SECCOMP_TEST_IS:
		return asked == entry->value;
	case SECCOMP_TEST_IS_NOT:
		return asked != entry->value;
	default:
		return (asked & entry->mask) == entry->value;
	}
}

static bool
is_listed(int number, unsigned argument, uint64_t value)
{
	for (size_t i = 0; i < LISTS; i++)
		for (const struct seccomp_group *group = lists[i];
		    group->count > 0; group++)
			for (size_t j = 0; j < group->count; j++) {
				const struct seccomp_entry *entry =
				    &group->entries[j];

				if (entry->error == 0 && number ==
				    seccomp_syscall_resolve_name(entry->name) &&
				    is_met(entry, argument, value))
					return true;
			}
	return false;
}

static void
is_named(int number, unsigned argument, uint64_t value, const void *arg)
{
	struct seccomp_data data = data_of(number, argument, value);
	bool is_allowed = run(&spawner, &data) == SECCOMP_RET_ALLOW;

	(void)arg;
	if (is_allowed != is_listed(number, argument, value))
		fail_msg("call %d, argument %u = %#llx is %s", number, argument,
		    (unsigned long long)value, is_allowed ?
		    "allowed, and in no list" : "in a list, and refused");
}

static void
the_spawners_filter_allows_what_a_list_names_and_nothing_else(void **state)
{
	(void)state;
	look_everywhere(is_named, NULL);
}

static void
another_architecture_kills(void **state)
{
	struct seccomp_data data = data_of(SYS_getpid, 0, 0);

	(void)state;
	data.arch = AUDIT_ARCH_I386;
	assert_int_equal(run(&spawner, &data), SECCOMP_RET_KILL_PROCESS);
#if defined(__x86_64__)
	data = data_of(0x40000000 | SYS_getpid, 0, 0); /* x32 */
	assert_int_equal(run(&spawner, &data), SECCOMP_RET_KILL_PROCESS);
#endif
}

/* The errno of a call that both refuse is what C libraries fall back by. */
static void
a_function_gets_its_own_filters_errno_below_the_spawners(void **state)
{
	const struct seccomp_options options = { .has_memfd = false };
	struct seccomp_program function;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(seccomp_compile(&function, SECCOMP_FUNCTION, &options),
	    0);
	pid = fork();
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		    seccomp_enter(&spawner) != 0)
			_exit(1);
		if (splice(0, NULL, 1, NULL, 1, 0) >= 0 || errno != ENOSYS)
			_exit(2);
		if (seccomp_enter(&function) != 0)
			_exit(3);
		if (splice(0, NULL, 1, NULL, 1, 0) >= 0 || errno != EINVAL)
			_exit(4);
		if (syscall(SYS_bpf, 0, NULL, 0) >= 0 || errno != EPERM)
			_exit(5);
		if (syscall(SYS_clone3, NULL, 0) >= 0 || errno != ENOSYS)
			_exit(6);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	seccomp_free(&function);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    the_spawners_filter_takes_nothing_from_any_child),
		cmocka_unit_test(
		    the_spawners_filter_allows_what_a_list_names_and_nothing_else),
		cmocka_unit_test(another_architecture_kills),
		cmocka_unit_test(
		    a_function_gets_its_own_filters_errno_below_the_spawners),
	};
	const struct seccomp_options options = { .is_ordinary = false };
	int failed;

	if (!seccomp_is_there()) {
		fprintf(stderr, "SKIPPED: no seccomp filters in this kernel\n");
		return 77;
	}
	if (seccomp_compile(&spawner, SECCOMP_SPAWNER, &options) != 0)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	seccomp_free(&spawner);
	return failed;
}
