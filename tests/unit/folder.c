#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/folder.h"

#define TEMPLATE "/tmp/fcgi-host-test.XXXXXX"

static char folder[] = TEMPLATE;

int
folder_make(void)
{
	strcpy(folder, TEMPLATE);
	return mkdtemp(folder) == NULL ? -1 : 0;
}

int
folder_remove(void)
{
	DIR *files = opendir(folder);
	struct dirent *file;

	if (files == NULL)
		return -1;
	while ((file = readdir(files)) != NULL) {
		if (file->d_name[0] != '.')
			unlinkat(dirfd(files), file->d_name, 0);
	}
	closedir(files);
	return rmdir(folder);
}

const char *
folder_name(void)
{
	return folder;
}

const char *
folder_path(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

int
folder_open(const char *name, int flags)
{
	int fd = open(folder_path(name), flags | O_CREAT | O_RDWR | O_CLOEXEC,
	    0600);

	assert_true(fd >= 0);
	return fd;
}

int
folder_append(const char *name)
{
	return folder_open(name, O_APPEND);
}

char *
folder_text(const char *name, size_t *n)
{
	int fd = open(folder_path(name), O_RDONLY | O_CLOEXEC);
	struct stat status;
	char *text;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &status), 0);
	text = calloc(1, (size_t)status.st_size + 1);
	assert_non_null(text);
	assert_int_equal(read(fd, text, (size_t)status.st_size),
	    status.st_size);
	close(fd);
	if (n != NULL)
		*n = (size_t)status.st_size;
	return text;
}
