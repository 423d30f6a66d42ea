#include "fcgi-host/scan_name.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/log.h"

static const char sidecar_extension[] = ".ini";

struct scan_stem
scan_stem(const struct conf *conf, const char *file)
{
	const char *dot = strrchr(file, '.');
	struct scan_stem stem = { .length = strlen(file) };

	if (dot != NULL && dot != file && conf_extension_known(conf, dot + 1)) {
		stem.length = (size_t)(dot - file);
		stem.extension = dot + 1;
	}
	return stem;
}

bool
scan_name_is_hidden(const char *file)
{
	return file[0] == '.';
}

bool
scan_name_is_sidecar(const char *file, size_t *stem_length)
{
	const char *dot = strrchr(file, '.');

	if (dot == NULL || dot == file || strcmp(dot, sidecar_extension) != 0)
		return false;
	*stem_length = (size_t)(dot - file);
	return true;
}

bool
scan_name_is_env(const char *file)
{
	return ctl_env_file_ok(file);
}

/* The rest of a name behind "main" or "index", or NULL. */
static const char *
behind_main(const char *file)
{
	if (strncmp(file, "main", 4) == 0)
		return file + 4;
	if (strncmp(file, "index", 5) == 0)
		return file + 5;
	return NULL;
}

bool
scan_name_is_main(const char *file)
{
	const char *rest = behind_main(file);

	if (rest == NULL || (rest[0] != '\0' && rest[0] != '.'))
		return false;
	return rest[0] == '\0' ||
	    (rest[1] != '\0' && strchr(rest + 1, '.') == NULL);
}

bool
scan_name_is_main_like(const char *file)
{
	return behind_main(file) != NULL;
}

int
scan_join(char *out, size_t size, const char *prefix, const char *segment,
    size_t length)
{
	int n = snprintf(out, size, "%s%s%.*s", prefix,
	    prefix[0] == '\0' ? "" : "/", (int)length, segment);

	if (n >= 0 && (size_t)n < size)
		return 0;
	memset(out, 0, size);
	return -ENAMETOOLONG;
}

void
scan_set_text(char *out, size_t size, const char *text)
{
	size_t length = strnlen(text, size - 1);

	memmove(out, text, length);
	memset(out + length, 0, size - length);
}

/* FNV-1a: tells long names apart, protects nothing. */
static uint32_t
short_hash(const char *text)
{
	uint32_t hash = 2166136261u;

	for (; *text != '\0'; text++)
		hash = (hash ^ (uint8_t)*text) * 16777619u;
	return hash;
}

void
scan_name_escape(char out[CTL_NAME_MAX + 1], const char *prefix,
    const char *file)
{
	/* Every byte of a file's name can become four. */
	char raw[CTL_NAME_MAX + 1 + 256], escaped[4 * sizeof(raw)];
	size_t length;

	snprintf(raw, sizeof(raw), "%s%s%s", prefix,
	    prefix[0] == '\0' ? "" : "/", file);
	log_value(escaped, sizeof(escaped), raw, strlen(raw));
	length = strlen(escaped);
	memset(out, 0, CTL_NAME_MAX + 1);
	if (length <= CTL_NAME_MAX)
		memcpy(out, escaped, length);
	else
		snprintf(out, CTL_NAME_MAX + 1, "%.*s~%08x", CTL_NAME_MAX - 9,
		    escaped, short_hash(raw));
}
