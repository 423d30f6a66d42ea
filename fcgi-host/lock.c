#include "fcgi-host/lock.h"

#include <stdio.h>
#include <sys/sysmacros.h>

pid_t
lock_owner(const struct stat *st)
{
	FILE *locks = fopen("/proc/locks", "re");
	char line[256];
	pid_t owner = 0;

	if (locks == NULL)
		return 0;
	while (owner == 0 && fgets(line, sizeof(line), locks) != NULL) {
		unsigned long long inode;
		unsigned major_number, minor_number;
		int pid;

		/* who waits has "->" in place of the kind */
		if (sscanf(line, "%*[^:]: FLOCK %*s %*s %d %x:%x:%llu", &pid,
		    &major_number, &minor_number, &inode) == 4 && pid > 0 &&
		    inode == st->st_ino && major_number == major(st->st_dev) &&
		    minor_number == minor(st->st_dev))
			owner = pid;
	}
	fclose(locks);
	return owner;
}
