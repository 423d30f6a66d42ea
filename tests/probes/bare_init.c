/*
 * Init for a sandbox without a pid namespace: sandbox/init.c as it is, compiled
 * with -Dgetpid=bare_getpid -Dkill=bare_kill.  It takes itself for pid 1, takes
 * orphans like it, and where pid 1 would kill all that there is, it kills what
 * descends from it.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/init_msg.h"

/* The macros have renamed what <unistd.h> and <signal.h> declare. */

static __attribute__((constructor)) void
take_orphans(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

pid_t
bare_getpid(void)
{
	return 1;
}

/* "PID (NAME) S PPID …": its parent, unless it has ended already. */
static long
living_parent(int proc, const char *pid)
{
	char path[32], text[256] = "", *at;
	int fd;

	snprintf(path, sizeof(path), "%.15s/stat", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (read(fd, text, sizeof(text) - 1) <= 0)
		text[0] = '\0';
	close(fd);
	at = strrchr(text, ')');
	if (at == NULL || at[1] == '\0' || at[2] == 'Z' || at[2] == 'X')
		return -1;
	return strtol(at + 3, NULL, 10);
}

static bool
kill_children(int signal_number)
{
	long self = syscall(SYS_getpid);
	int fd = openat(INIT_PROC_FD, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	bool is_any = false;

	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		long pid = strtol(entry->d_name, NULL, 10);

		if (pid <= 0 || living_parent(INIT_PROC_FD, entry->d_name) != self)
			continue;
		is_any = true;
		syscall(SYS_kill, pid, signal_number);
	}
	if (dir != NULL)
		closedir(dir);
	return is_any;
}

/* The children of who was killed become its own. */
int
bare_kill(pid_t pid, int signal_number)
{
	if (pid != -1)
		return (int)syscall(SYS_kill, pid, signal_number);
	for (int i = 0; i < 1000 && kill_children(signal_number); i++)
		usleep(1000);
	return 0;
}
