/* Instances of /proc: what each shows, and how long the host's own is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/procfs.h"

static bool
shows(int proc_fd, const char *path)
{
	return faccessat(proc_fd, path, F_OK, 0) == 0;
}

static dev_t
device_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_dev;
}

static void
a_sandboxs_two_show_processes_alone(void **state)
{
	static const enum procfs_use uses[] = { PROCFS_OF_PROGRAM,
		PROCFS_OF_INIT };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		CLEANUP_FD int fd = procfs_new(uses[i]);

		assert_true(fd >= 0);
		assert_true(shows(fd, "self/status"));
		assert_false(shows(fd, "sys"));
		assert_false(shows(fd, "sysrq-trigger"));
		assert_false(shows(fd, "kcore"));
	}
}

static void
only_the_programs_cannot_be_written(void **state)
{
	CLEANUP_FD int program = procfs_new(PROCFS_OF_PROGRAM);
	CLEANUP_FD int init = procfs_new(PROCFS_OF_INIT);
	CLEANUP_FD int file = -1;

	(void)state;
	assert_true(program >= 0 && init >= 0);
	errno = 0;
	assert_int_equal(openat(program, "self/comm", O_WRONLY | O_CLOEXEC),
	    -1);
	assert_int_equal(errno, EROFS);
	file = openat(init, "self/comm", O_WRONLY | O_CLOEXEC);
	assert_true(file >= 0);
}

static void
the_hosts_own_has_sysctls_and_is_made_anew_now_and_then(void **state)
{
	struct procfs_host host = { .fd = -1 };
	dev_t machines;
	int renewals = 0;
	struct stat st;

	(void)state;
	assert_int_equal(stat("/proc", &st), 0);
	machines = st.st_dev;
	assert_true(procfs_host_fd(&host) >= 0);
	for (int i = 0; i < 200; i++) {
		dev_t before = device_of(host.fd);
		int fd = procfs_host_fd(&host);

		assert_true(shows(fd, "sys/kernel/shmall"));
		assert_int_not_equal(device_of(fd), machines);
		renewals += device_of(fd) != before;
	}
	assert_in_range(renewals, 5, 20);
	close_fd(&host.fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sandboxs_two_show_processes_alone),
		cmocka_unit_test(only_the_programs_cannot_be_written),
		cmocka_unit_test(
		    the_hosts_own_has_sysctls_and_is_made_anew_now_and_then),
	};

	if (geteuid() != 0) {
		fprintf(stderr, "NOT RUN: file systems are mounted by root\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
