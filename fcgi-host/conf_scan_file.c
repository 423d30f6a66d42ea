#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if __has_include(<iniparser/iniparser.h>)
#include <iniparser/iniparser.h>
#else
#include <iniparser.h>
#endif

#include "fcgi-host/conf_scan.h"

/* The file's bytes from its start.  0, -EFBIG, -EINVAL (no regular file),
 * -ENOMEM, or what read gives.  *out is to be freed. */
static int
read_all(int fd, size_t max, char **out, size_t *n)
{
	struct stat st;
	size_t have = 0, size;
	char *text;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (st.st_size > (off_t)max)
		return -EFBIG;
	size = (size_t)st.st_size;
	text = malloc(size + 1);
	if (text == NULL)
		return -ENOMEM;
	/* What is appended meanwhile belongs to the next reading. */
	while (have < size) {
		ssize_t got = pread(fd, text + have, size - have,
		    (off_t)have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int error = -errno;

			free(text);
			return error;
		}
		if (got == 0)
			break;
		have += (size_t)got;
	}
	*out = text;
	*n = have;
	return 0;
}

static void
tell_read_error(struct conf_errors *errors, const char *path, int error, size_t max)
{
	if (error == -EFBIG)
		conf_error(errors, path, 0, "longer than %zu KiB; shorten it",
		    max / 1024);
	else if (error == -EINVAL)
		conf_error(errors, path, 0, "no regular file; name a file");
	else
		conf_error(errors, path, 0, "cannot be read: %s",
		    strerror(-error));
}

int
conf_scan_read(int fd, const char *path, size_t max, char **text, size_t *n,
    struct conf_errors *errors)
{
	int error = read_all(fd, max, text, n);

	if (error != 0)
		tell_read_error(errors, path, error, max);
	return error;
}

/* iniparser's own sentences lack the file's name; the scan has said it. */
static int
be_quiet(const char *fmt, ...)
{
	(void)fmt;
	return 0;
}

static int
agree_part(const char *path, const struct conf_part *part,
    const dictionary *dict, struct conf_errors *errors)
{
	int error = 0;
	size_t j;

	for (j = 0; j < part->count; j++) {
		struct conf_entry *entry = &part->entries[j];
		char name[2 * CONF_LINE_MAX + 2], *copy;
		const char *value;

		(void)snprintf(name, sizeof(name), "%s:%s", part->name,
		    entry->key);
		value = iniparser_getstring(dict, name, NULL);
		if (value == NULL || strcmp(value, entry->value) != 0) {
			conf_error(errors, path, entry->line, "%.60s: the "
			    "value can be read in two ways; put it into "
			    "quotes", entry->key);
			error = -EINVAL;
			continue;
		}
		copy = strdup(value);
		if (copy == NULL)
			return -ENOMEM;
		free(entry->value);
		entry->value = copy;
	}
	return error;
}

int
conf_scan_agree(int fd, const char *path, struct conf_scan *scan,
    struct conf_errors *errors)
{
	char name[64];
	dictionary *dict;
	int error = 0, try_fd;
	size_t i;

	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	/* Opened, not asked for: access(2) knows nothing of Landlock. */
	try_fd = open(name, O_RDONLY | O_CLOEXEC);
	if (try_fd < 0)
		return 0;
	(void)close(try_fd);
	iniparser_set_error_callback(be_quiet);
	dict = iniparser_load(name);
	if (dict == NULL) {
		conf_error(errors, path, 0, "iniparser cannot read the file; "
		    "write only [section], key = value and ; comment lines");
		return -EINVAL;
	}
	for (i = 0; i < scan->count && error != -ENOMEM; i++) {
		int result = agree_part(path, &scan->parts[i], dict, errors);

		if (result != 0)
			error = result;
	}
	iniparser_freedict(dict);
	return error;
}
