#include "sandbox/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/seccomp_list.h"

/* One more than the highest number of a call that is told apart. */
#define CALLS_MAX 1024

static struct scmp_arg_cmp
comparison(const struct seccomp_condition *condition)
{
	struct scmp_arg_cmp compare = { .arg = condition->argument,
		.datum_a = condition->value };

	switch (condition->test) {
	case SECCOMP_TEST_NONE:
	case SECCOMP_TEST_IS:
		compare.op = SCMP_CMP_EQ;
		break;
	case SECCOMP_TEST_IS_NOT:
		compare.op = SCMP_CMP_NE;
		break;
	case SECCOMP_TEST_ABOVE:
		compare.op = SCMP_CMP_GT;
		break;
	case SECCOMP_TEST_BELOW:
		compare.op = SCMP_CMP_LT;
		break;
	case SECCOMP_TEST_MASKED:
		compare.op = SCMP_CMP_MASKED_EQ;
		compare.datum_a = condition->mask;
		compare.datum_b = condition->value;
		break;
	}
	return compare;
}

static int
add_entry(scmp_filter_ctx filter, const struct seccomp_entry *entry)
{
	uint32_t action = entry->error == 0 ? SCMP_ACT_ALLOW :
	    SCMP_ACT_ERRNO((uint32_t)entry->error);
	int number = seccomp_syscall_resolve_name(entry->name);
	struct scmp_arg_cmp compare[SECCOMP_CONDITIONS_MAX];
	unsigned count = 0;

	/* Unknown to this libseccomp, or not of this architecture: what is
	 * not named is refused anyway. */
	if (number < 0)
		return 0;
	while (count < SECCOMP_CONDITIONS_MAX &&
	    entry->conditions[count].test != SECCOMP_TEST_NONE) {
		compare[count] = comparison(&entry->conditions[count]);
		count++;
	}
	return seccomp_rule_add_exact_array(filter, action, number, count,
	    compare);
}

static int
add_groups(scmp_filter_ctx filter, const struct seccomp_group *groups)
{
	for (; groups->count > 0; groups++) {
		for (size_t i = 0; i < groups->count; i++) {
			int error = add_entry(filter, &groups->entries[i]);

			if (error != 0)
				return error;
		}
	}
	return 0;
}

/*
 * The spawner's: what it needs, and what any of its children may, for they
 * inherit it.  Only what is allowed: what a child's own filter answers with an
 * error never comes to be decided here, since of two filters that refuse the
 * younger one gives the errno.  A call that one list allows without a condition
 * needs none of another's; nor do the sockets of functions with a network, whose
 * families the spawner's own list has whole.
 */
static const struct seccomp_group *const united[] = {
	seccomp_spawner_groups, seccomp_gateway_groups, seccomp_scanner_groups,
	seccomp_function_groups, seccomp_unix_groups, seccomp_memfd_groups,
	seccomp_sysv_groups, seccomp_terminal_groups,
};

static int
unite_entry(scmp_filter_ctx filter, const struct seccomp_entry *entry,
    bool is_whole[CALLS_MAX], bool is_for_whole)
{
	int number = seccomp_syscall_resolve_name(entry->name);
	int error;

	if (number < 0 || number >= CALLS_MAX || entry->error != 0 ||
	    is_whole[number] || (entry->conditions[0].test == SECCOMP_TEST_NONE) !=
	    is_for_whole)
		return 0;
	is_whole[number] = is_for_whole;
	error = add_entry(filter, entry);
	/* the same condition in another list */
	return error == -EEXIST ? 0 : error;
}

static int
unite(scmp_filter_ctx filter, bool is_whole[CALLS_MAX], bool is_for_whole)
{
	const size_t count = sizeof(united) / sizeof(united[0]);
	int error = 0;

	for (size_t i = 0; i < count; i++) {
		const struct seccomp_group *group = united[i];

		for (; group->count > 0; group++)
			for (size_t j = 0; j < group->count && error == 0; j++)
				error = unite_entry(filter, &group->entries[j],
				    is_whole, is_for_whole);
	}
	return error;
}

static int
add_union(scmp_filter_ctx filter)
{
	bool is_whole[CALLS_MAX] = { false };
	int error = unite(filter, is_whole, true);

	return error != 0 ? error : unite(filter, is_whole, false);
}

/* Through a memfd, because Debian 12's libseccomp exports to files only. */
static int
export_code(scmp_filter_ctx filter, struct sock_fprog *code)
{
	CLEANUP_FD int fd = memfd_create("seccomp", MFD_CLOEXEC);
	struct stat st;
	int error;

	if (fd < 0)
		return -errno;
	error = seccomp_export_bpf(filter, fd);
	if (error != 0)
		return error;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (st.st_size <= 0 || st.st_size % (off_t)sizeof(*code->filter) != 0 ||
	    st.st_size / (off_t)sizeof(*code->filter) > BPF_MAXINSNS)
		return -E2BIG;
	code->filter = malloc((size_t)st.st_size);
	if (code->filter == NULL)
		return -ENOMEM;
	if (pread(fd, code->filter, (size_t)st.st_size, 0) != st.st_size) {
		free(code->filter);
		code->filter = NULL;
		return -EIO;
	}
	code->len = (unsigned short)((size_t)st.st_size /
	    sizeof(*code->filter));
	return 0;
}

/* abort raises its signal so: a panic with a core.  Its own number, which no list
 * can have: the other role, and whatever else the service's user runs, has the
 * same uid. */
static int
add_own_signals(scmp_filter_ctx filter)
{
	const struct seccomp_entry own = CALL_IF("tgkill", 0, getpid());

	return add_entry(filter, &own);
}

static const struct seccomp_group *
groups_of(enum seccomp_role role)
{
	switch (role) {
	case SECCOMP_GATEWAY:
		return seccomp_gateway_groups;
	case SECCOMP_SCANNER:
		return seccomp_scanner_groups;
	case SECCOMP_FUNCTION:
	case SECCOMP_SPAWNER:
		break;
	}
	return seccomp_function_groups;
}

int
seccomp_compile(struct seccomp_program *program, enum seccomp_role role,
    const struct seccomp_options *options)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int error;

	program->code.filter = NULL;
	program->code.len = 0;
	if (filter == NULL)
		return -ENOMEM;
	/* int 0x80 and x32 reach calls under numbers that no list speaks of. */
	error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH,
	    SCMP_ACT_KILL_PROCESS);
	/* A binary tree: some three hundred calls are tested on each call. */
	if (error == 0)
		error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (error == 0)
		error = role == SECCOMP_SPAWNER ? add_union(filter) :
		    add_groups(filter, groups_of(role));
	if (error == 0 && (role == SECCOMP_GATEWAY || role == SECCOMP_SCANNER))
		error = add_own_signals(filter);
	if (error == 0 && role == SECCOMP_SPAWNER && options->is_ordinary)
		error = add_groups(filter, seccomp_ordinary_groups);
	if (error == 0 && role == SECCOMP_FUNCTION)
		error = add_groups(filter, options->has_internet ?
		    seccomp_internet_groups : seccomp_unix_groups);
	if (error == 0 && role == SECCOMP_FUNCTION && options->has_memfd)
		error = add_groups(filter, seccomp_memfd_groups);
	if (error == 0 && role == SECCOMP_FUNCTION && options->has_sysv)
		error = add_groups(filter, seccomp_sysv_groups);
	if (error == 0 && role == SECCOMP_FUNCTION && options->has_terminal)
		error = add_groups(filter, seccomp_terminal_groups);
	if (error == 0)
		error = export_code(filter, &program->code);
	seccomp_release(filter);
	return error;
}

void
seccomp_free(struct seccomp_program *program)
{
	free(program->code.filter);
	program->code.filter = NULL;
	program->code.len = 0;
}

int
seccomp_enter(const struct seccomp_program *program)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0,
	           &program->code) != 0 ? -errno : 0;
}

bool
seccomp_is_there(void)
{
	unsigned action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}
