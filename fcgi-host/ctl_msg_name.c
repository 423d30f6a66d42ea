/* The strict names that messages carry. */
#include <string.h>

#include "fcgi-host/ctl_msg.h"

static bool
is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool
ctl_segment_ok(const char *segment, size_t length)
{
	size_t i;

	if (length == 0 || length > CTL_TENANT_MAX)
		return false;
	if (!is_lower(segment[0]) && !is_digit(segment[0]))
		return false;
	for (i = 1; i < length; i++) {
		char c = segment[i];

		if (!is_lower(c) && !is_digit(c) && c != '.' && c != '_' &&
		    c != '-')
			return false;
	}
	return segment[length - 1] != '.';
}

bool
ctl_name_ok(const char *name)
{
	size_t length = strnlen(name, CTL_NAME_MAX + 1);
	const char *segment = name;
	int count;

	if (length == 0 || length > CTL_NAME_MAX)
		return false;
	for (count = 1; count <= CTL_SEGMENTS_MAX; count++) {
		size_t n = strcspn(segment, "/");

		if (!ctl_segment_ok(segment, n))
			return false;
		if (segment[n] == '\0')
			return true;
		segment += n + 1;
	}
	return false;
}

bool
ctl_env_file_ok(const char *name)
{
	static const char end[] = ".env";
	size_t n = strnlen(name, CTL_ENV_FILE_MAX + 1), i;

	for (i = 0; i < n; i++)
		if (!is_lower(name[i]) && !is_digit(name[i]) &&
		    (name[i] < 'A' || name[i] > 'Z') && name[i] != '.' &&
		    name[i] != '_' && name[i] != '-')
			return false;
	return n >= sizeof(end) - 1 && n <= CTL_ENV_FILE_MAX &&
	    strcmp(name + n - (sizeof(end) - 1), end) == 0;
}

static bool
is_extension(const char *text)
{
	size_t i;

	if (text[0] != '.' || text[1] == '\0')
		return false;
	for (i = 1; text[i] != '\0'; i++)
		if (!is_lower(text[i]) && !is_digit(text[i]))
			return false;
	return true;
}

bool
ctl_path_ok(const char *path, const char *name, bool is_folder)
{
	static const char *const mains[] = { "/main", "/index" };
	size_t length = strlen(name), i;

	if (strnlen(path, CTL_PATH_MAX + 1) > CTL_PATH_MAX ||
	    !ctl_name_ok(name) || strncmp(path, name, length) != 0)
		return false;
	path += length;
	if (!is_folder)
		return *path == '\0' || is_extension(path);
	for (i = 0; i < sizeof(mains) / sizeof(mains[0]); i++) {
		size_t n = strlen(mains[i]);

		if (strncmp(path, mains[i], n) == 0 &&
		    (path[n] == '\0' || is_extension(path + n)))
			return true;
	}
	return false;
}
