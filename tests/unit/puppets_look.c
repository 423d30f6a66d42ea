/* What the spawner has, seen from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/puppets.h"

unsigned
world_children(const struct world *world)
{
	char path[64], text[4096] = "";
	const char *at = text;
	unsigned count = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children",
	    (int)world->spawner, (int)world->spawner);
	file = fopen(path, "r");
	assert_non_null(file);
	(void)!fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	while ((at = strchr(at, ' ')) != NULL) {
		at++;
		count++;
	}
	return count;
}

unsigned
world_fds(const struct world *world)
{
	char path[64];
	unsigned count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)world->spawner);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}
