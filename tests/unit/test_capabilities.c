/*
 * The spawner keeps no capability that it does not use: for each there is
 * something that it does, which works with all nine, and not without that one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/privileges.h"
#include "fcgi-host/resolve.h"
#include "fcgi-host/tenants.h"
#include "sandbox/confine.h"
#include "tests/unit/box.h"

#define NONE (-1)

static struct box_host host;
static pid_t other; /* of another uid */
static int functions_fd;

/* ---------------------------------------------------------- what it does */

static int
start_a_sandbox(void)
{
	static char *const argv[] = { "/bin/true", NULL };
	struct sandbox_plan plan;
	struct box_result result;
	int error;

	box_plan(&host, &plan, argv);
	error = box_try(&host, &plan, NULL, &result);
	box_plan_release(&plan);
	return error;
}

static int
confine_the_gateway(void)
{
	const struct confine confine = { .uid = box_uid, .gid = box_uid,
		.root_fd = functions_fd, .read_fd = -1,
		.spool_fd = functions_fd };
	const char *step = "";

	return confine_gateway(&confine, &step);
}

static int
give_a_tenant_his_data(void)
{
	const struct tenants_id id = { .uid = box_uid, .gid = box_uid };
	int fd = tenants_data_open(functions_fd, "data", &id);

	(void)unlinkat(functions_fd, "data", AT_REMOVEDIR);
	return fd < 0 ? fd : 0;
}

static int
end_what_has_another_uid(void)
{
	int fd = (int)syscall(SYS_pidfd_open, other, 0);

	return syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) != 0 ? -errno : 0;
}

static int
find_a_function_that_only_its_tenant_may_enter(void)
{
	struct ctl_function function = { .name = "closed/hello",
		.path = "closed/hello.cgi", .tenant = "closed" };
	struct resolve_file file = { .fd = -1 };
	int error = resolve_find(functions_fd, &function, &file);

	resolve_free(&file);
	return error;
}

static const struct {
	int capability;
	const char *about;
	int (*act)(void); /* 0 or negative errno */
} uses[] = {
	{ CAP_SYS_ADMIN, "start a sandbox", start_a_sandbox },
	{ CAP_SETUID, "start a sandbox", start_a_sandbox },
	{ CAP_SETGID, "start a sandbox", start_a_sandbox },
	{ CAP_SETPCAP, "start a sandbox", start_a_sandbox },
	{ CAP_MKNOD, "start a sandbox", start_a_sandbox },
	{ CAP_SYS_CHROOT, "confine the gateway", confine_the_gateway },
	{ CAP_CHOWN, "give a tenant his /data", give_a_tenant_his_data },
	{ CAP_KILL, "end what has another uid", end_what_has_another_uid },
	{ CAP_DAC_OVERRIDE, "find a function in a folder of mode 0700",
	    find_a_function_that_only_its_tenant_may_enter },
};

/* ---------------------------------------------------------------------- test */

static int
drop(cap_value_t value)
{
	cap_t caps = cap_get_proc();
	int result = caps == NULL ||
	    cap_set_flag(caps, CAP_EFFECTIVE, 1, &value, CAP_CLEAR) != 0 ||
	    cap_set_flag(caps, CAP_PERMITTED, 1, &value, CAP_CLEAR) != 0 ||
	    cap_set_flag(caps, CAP_INHERITABLE, 1, &value, CAP_CLEAR) != 0 ||
	    cap_set_proc(caps) != 0 ? -EPERM : 0;

	cap_free(caps);
	return result;
}

/* The errno of the act, by a process with the spawner's rights less one. */
static int
try_without(int capability, int (*act)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		char problem[512] = "";

		if (privileges_shrink(problem, sizeof(problem)) != 0 ||
		    privileges_filter(problem, sizeof(problem)) != 0 ||
		    (capability != NONE && drop(capability) != 0)) {
			fprintf(stderr, "%s\n", problem);
			_exit(200);
		}
		_exit(-act());
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 199;
}

static void
each_capability_of_the_spawner_is_used(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++) {
		int with = try_without(NONE, uses[i].act);
		int without = try_without(uses[i].capability, uses[i].act);

		if (with != 0)
			fail_msg("%s does not work with all: %s",
			    uses[i].about, strerror(with));
		if (without != EPERM && without != EACCES)
			fail_msg("%s without capability %d: %s",
			    uses[i].about, uses[i].capability,
			    strerror(without));
	}
}

static void
make_functions(void)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/closed", host.folder);
	functions_fd = open(host.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (functions_fd < 0 || mkdir(path, 0700) != 0)
		exit(1);
	strcat(path, "/hello.cgi");
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
	if (fd < 0 || fchown(fd, box_uid, box_uid) != 0)
		exit(1);
	close(fd);
	*strrchr(path, '/') = '\0';
	if (chown(path, box_uid, box_uid) != 0)
		exit(1);
	other = fork();
	if (other != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (setresuid(box_uid, box_uid, box_uid) != 0)
		_exit(1);
	poll(NULL, 0, -1);
	_exit(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_capability_of_the_spawner_is_used),
	};
	int failed = box_setup(&host);

	if (failed != 0)
		return failed;
	make_functions();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	kill(other, SIGKILL);
	waitpid(other, NULL, 0);
	unlinkat(functions_fd, "closed/hello.cgi", 0);
	unlinkat(functions_fd, "closed", AT_REMOVEDIR);
	box_teardown(&host);
	return failed;
}
