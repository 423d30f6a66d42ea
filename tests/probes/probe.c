#include "tests/probes/probe.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
	const char *name;
	int (*run)(void);
} probes[] = {
	{ "1", probe_shadow },
	{ "2", probe_walk },
	{ "3", probe_own_folder },
	{ "4", probe_exec_tmp },
	{ "4-memfd", probe_exec_memfd },
	{ "5", probe_setuid },
	{ "6", probe_mknod },
	{ "7", probe_fill_tmp },
	{ "8", probe_flood_inodes },
	{ "9", probe_chroot },
	{ "10", probe_mount },
	{ "11", probe_unshare },
	{ "12", probe_clone3 },
	{ "13", probe_setns },
	{ "14", probe_pivot },
	{ "15", probe_int80 },
	{ "16", probe_x32 },
	{ "17", probe_ptrace },
	{ "18", probe_process_vm },
	{ "19", probe_pidfd_getfd },
	{ "20", probe_kill_all },
	{ "21", probe_list_proc },
	{ "22", probe_proc_sys },
	{ "23", probe_self_exe },
	{ "24", probe_descriptors },
	{ "25", probe_links_out },
	{ "26", probe_tiocsti },
	{ "27", probe_families },
	{ "28", probe_connect },
	{ "29", probe_abstract },
	{ "30", probe_socket },
	{ "32", probe_young_parts },
	{ "33", probe_keys },
	{ "34", probe_splice },
	{ "35", probe_fork_bomb },
	{ "36", probe_memory_bomb },
	{ "37", probe_daemon },
	{ "40", probe_leftovers },
	{ "40-core", probe_core },
	{ "41", probe_init },
	{ "41-limits", probe_init_limits },
	{ "42", probe_init_socket },
	{ "43", probe_pipe_size },
	{ "44", probe_hostname },
	{ "45", probe_cgroup_place },
	{ "46", probe_shared_segment },
	{ "47", probe_handle },
	{ "48", probe_helpers },
	{ "49", probe_release_agent },
	{ "50", probe_memory_file },
	{ "51", probe_self_settings },
	{ "52", probe_terminals },
	{ "53", probe_rare_calls },
	{ "54", probe_own_filter },
	{ "55", probe_prctl },
	{ "56", probe_priority },
	{ "57", probe_raise_limits },
	{ "58", probe_in_flight },
	{ "59", probe_timers },
	{ "60", probe_high_bits },
	{ "61", probe_page_zero },
	{ "62", probe_file_owner },
	{ "63", probe_attributes },
	{ "64", probe_posix_queue },
	{ "65", probe_socket_options },
	{ "66", probe_data_socket },
	{ "67", probe_linger },
	{ "68", probe_huge_pages },
	{ "69", probe_page_cache },
	{ "status", probe_status },
};

int
attempt(const char *what, long result)
{
	if (result < 0)
		printf("denied: %s: %s\n", what, strerror(errno));
	else
		printf("HOLE: %s: %ld\n", what, result);
	fflush(stdout);
	return result >= 0;
}

int
judge(int is_hole, const char *format, ...)
{
	va_list arguments;

	fputs(is_hole ? "HOLE: " : "denied: ", stdout);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	fflush(stdout);
	return is_hole != 0;
}

int
attempt_in_child(const char *what, void (*deed)(void))
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		printf("HOLE: %s: the probe cannot fork\n", what);
		return 1;
	}
	if (pid == 0) {
		deed();
		_exit(errno > 0 && errno < 128 ? errno : 127);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		return judge(0, "%s: killed by %s", what,
		    strsignal(WTERMSIG(status)));
	return judge(WEXITSTATUS(status) == 0, "%s: %s", what,
	    WEXITSTATUS(status) == 0 ? "done" : strerror(WEXITSTATUS(status)));
}

void
absent(const char *what)
{
	printf("absent: %s\n", what);
	fflush(stdout);
	_exit(77);
}

const char *
setting(const char *name, const char *fallback)
{
	const char *value = getenv(name);

	return value != NULL ? value : fallback;
}

int
main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : getenv("QUERY_STRING");
	int holes;

	/* What probe 4 looks for: that a copy of this program was executed. */
	if (name != NULL && strcmp(name, "executed") == 0)
		return 0;
	/* And probe 5: that this one has become somebody else. */
	if (argc == 3 && strcmp(name, "rights") == 0)
		return geteuid() != (uid_t)strtoul(argv[2], NULL, 10);
	if (getenv("GATEWAY_INTERFACE") != NULL)
		printf("Content-Type: text/plain\n\n");
	for (size_t i = 0; name != NULL &&
	     i < sizeof(probes) / sizeof(probes[0]); i++) {
		if (strcmp(name, probes[i].name) != 0)
			continue;
		fflush(stdout);
		holes = probes[i].run();
		printf("probe %s: %s\n", name, holes == 0 ? "denied" : "HOLE");
		return holes == 0 ? 0 : 1;
	}
	fprintf(stderr, "usage: probe NUMBER\n");
	return 2;
}
