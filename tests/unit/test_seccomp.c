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
	seccomp_function_groups, seccomp_unix_groups, seccomp_internet_groups,
	seccomp_memfd_groups, seccomp_sysv_groups, seccomp_terminal_groups,
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

typedef void looker(const struct seccomp_data *data, const void *arg);

static size_t
count_of(const struct seccomp_entry *entry)
{
	size_t count = 0;

	while (count < SECCOMP_CONDITIONS_MAX &&
	    entry->conditions[count].test != SECCOMP_TEST_NONE)
		count++;
	return count;
}

/* A call that meets all conditions, as far as they speak of a value. */
static struct seccomp_data
meeting(const struct seccomp_entry *entry, int number)
{
	struct seccomp_data data = data_of(number, 0, 0);

	for (size_t i = 0; i < count_of(entry); i++) {
		const struct seccomp_condition *condition =
		    &entry->conditions[i];

		data.args[condition->argument] = condition->value +
		    (condition->test == SECCOMP_TEST_ABOVE) -
		    (condition->test == SECCOMP_TEST_BELOW);
	}
	return data;
}

static void
look_around(const struct seccomp_entry *entry, int number, looker *look,
    const void *arg)
{
	const uint64_t high = UINT64_C(1) << 32;
	struct seccomp_data data = meeting(entry, number);

	look(&data, arg);
	for (size_t i = 0; i < count_of(entry); i++) {
		const struct seccomp_condition *one = &entry->conditions[i];
		const uint64_t values[] = { one->value, one->value ^ 1,
			one->value + 1, one->value - 1, one->value | high,
			~one->value, one->mask, one->value | ~one->mask, 0,
			UINT64_MAX };

		data = meeting(entry, number);
		for (size_t j = 0; j < sizeof(values) / sizeof(values[0]);
		    j++) {
			data.args[one->argument] = values[j];
			look(&data, arg);
		}
	}
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
			struct seccomp_data data = data_of(number, argument, 0);

			look(&data, arg);
			data = data_of(number, argument, UINT64_MAX);
			look(&data, arg);
		}
	for (size_t i = 0; i < LISTS; i++)
		look_at_list(lists[i], look, arg);
}

/* -------------------------------------------------------------------- tests */

static const char *
words_of(const struct seccomp_data *data)
{
	static char words[128];

	snprintf(words, sizeof(words), "call %d(%#llx, %#llx, %#llx, %#llx)",
	    data->nr, (unsigned long long)data->args[0],
	    (unsigned long long)data->args[1],
	    (unsigned long long)data->args[2],
	    (unsigned long long)data->args[3]);
	return words;
}

static void
is_as_before(const struct seccomp_data *data, const void *child)
{
	if (run(child, data) == SECCOMP_RET_ALLOW &&
	    run(&spawner, data) != SECCOMP_RET_ALLOW)
		fail_msg("%s: a child may, and the spawner's filter refuses",
		    words_of(data));
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
		{ SECCOMP_FUNCTION, { .has_internet = true } },
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
is_met(const struct seccomp_condition *condition, uint64_t asked)
{
	switch (condition->test) {
	case SECCOMP_TEST_NONE:
		return true;
	case SECCOMP_TEST_IS:
		return asked == condition->value;
	case SECCOMP_TEST_IS_NOT:
		return asked != condition->value;
	case SECCOMP_TEST_ABOVE:
		return asked > condition->value;
	case SECCOMP_TEST_BELOW:
		return asked < condition->value;
	case SECCOMP_TEST_MASKED:
	default:
		return (asked & condition->mask) == condition->value;
	}
}

static bool
is_of(const struct seccomp_entry *entry, const struct seccomp_data *data)
{
	bool is_so = data->nr == seccomp_syscall_resolve_name(entry->name);

	for (size_t i = 0; i < count_of(entry) && is_so; i++)
		is_so = is_met(&entry->conditions[i],
		    data->args[entry->conditions[i].argument]);
	return is_so;
}

static bool
is_in(const struct seccomp_group *group, const struct seccomp_data *data)
{
	for (; group->count > 0; group++)
		for (size_t i = 0; i < group->count; i++)
			if (group->entries[i].error == 0 &&
			    is_of(&group->entries[i], data))
				return true;
	return false;
}

static void
is_named(const struct seccomp_data *data, const void *arg)
{
	bool is_allowed = run(&spawner, data) == SECCOMP_RET_ALLOW;
	bool is_listed = false;

	(void)arg;
	for (size_t i = 0; i < LISTS && !is_listed; i++)
		is_listed = is_in(lists[i], data);
	if (is_allowed != is_listed)
		fail_msg("%s is %s", words_of(data), is_allowed ?
		    "allowed, and in no list" : "in a list, and refused");
}

static void
the_spawners_filter_allows_what_a_list_names_and_nothing_else(void **state)
{
	(void)state;
	look_everywhere(is_named, NULL);
}

/* Of a function's lists the entries must not contradict each other, whatever
 * libseccomp makes of several conditions. */
static void
is_answered(const struct seccomp_data *data, const void *filter)
{
	static const struct seccomp_group *const own[] = {
		seccomp_function_groups, seccomp_internet_groups };
	uint32_t wanted = SECCOMP_RET_ERRNO | ENOSYS;

	for (size_t i = 0; i < 2; i++)
		for (const struct seccomp_group *group = own[i];
		    group->count > 0; group++)
			for (size_t j = 0; j < group->count; j++)
				if (is_of(&group->entries[j], data))
					wanted = group->entries[j].error == 0 ?
					    SECCOMP_RET_ALLOW :
					    SECCOMP_RET_ERRNO |
					    (uint32_t)group->entries[j].error;
	if (run(filter, data) != wanted)
		fail_msg("%s is answered %#x, not %#x", words_of(data),
		    run(filter, data), wanted);
}

static void
a_function_with_a_network_is_answered_as_its_lists_say(void **state)
{
	const struct seccomp_options options = { .has_internet = true };
	struct seccomp_program function;

	(void)state;
	assert_int_equal(seccomp_compile(&function, SECCOMP_FUNCTION, &options),
	    0);
	look_everywhere(is_answered, &function);
	seccomp_free(&function);
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
		cmocka_unit_test(
		    a_function_with_a_network_is_answered_as_its_lists_say),
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
