#include "sandbox/init_secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sandbox/env_file.h"
#include "sandbox/init_msg.h"

/* As a person knows them, in the order of the descriptors. */
static const char *const places[INIT_SECRETS_MAX] = {
	"its [tenant] section", "its sidecar", "its [function] section",
};

static bool is_given[INIT_SECRETS_MAX];
static char texts[INIT_SECRETS_MAX][ENV_FILE_BYTES_MAX + 2];
static size_t used[INIT_SECRETS_MAX];
static struct env_file parsed;

void
secrets_find(void)
{
	for (int i = 0; i < INIT_SECRETS_MAX; i++)
		is_given[i] = fcntl(INIT_SECRETS_FD + i, F_GETFD) >= 0;
}

void
secrets_forget(void)
{
	for (int i = 0; i < INIT_SECRETS_MAX; i++) {
		explicit_bzero(texts[i], used[i]);
		used[i] = 0;
	}
}

static void
put_text(char *out, size_t size, size_t *n, const char *text)
{
	while (*text != '\0' && *n < size)
		out[(*n)++] = *text++;
}

static void
put_number(char *out, size_t size, size_t *n, unsigned number)
{
	char digits[12];
	size_t at = sizeof(digits) - 1;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	put_text(out, size, n, digits + at);
}

/* One line for the function's log; no byte of the file is in it. */
static int
say(int err_fd, int which, unsigned line, const char *why, int error)
{
	char text[320];
	size_t n = 0, size = sizeof(text) - 1;

	put_text(text, size, &n, "fcgi-host: env_file of ");
	put_text(text, size, &n, places[which]);
	if (line > 0) {
		put_text(text, size, &n, ", line ");
		put_number(text, size, &n, line);
	}
	put_text(text, size, &n, ": ");
	put_text(text, size, &n, why);
	text[n++] = '\n';
	if (write(err_fd, text, n) < 0)
		return error; /* nobody reads it: the request's end says so */
	return error;
}

/* All of the file, whatever a reader before left the offset at.  0 or an errno. */
static int
read_file(int which, int err_fd)
{
	char *text = texts[which];
	ssize_t n = 1;

	while (n != 0 && used[which] <= ENV_FILE_BYTES_MAX) {
		n = pread(INIT_SECRETS_FD + which, text + used[which],
		    ENV_FILE_BYTES_MAX + 1 - used[which], (off_t)used[which]);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return say(err_fd, which, 0, "it cannot be read",
			    errno);
		used[which] += (size_t)n;
	}
	return used[which] <= ENV_FILE_BYTES_MAX ? 0 :
	    say(err_fd, which, 0, "larger than 64 KiB", EBADMSG);
}

/* In the place of one of that name, or behind all. */
static int
put_variable(char **environment, size_t *count, char *variable)
{
	size_t n = (size_t)(strchr(variable, '=') - variable) + 1, i;

	for (i = 0; i < *count; i++)
		if (strncmp(environment[i], variable, n) == 0)
			break;
	if (i == INIT_ENV_COUNT_MAX)
		return E2BIG;
	environment[i] = variable;
	if (i == *count)
		environment[++*count] = NULL;
	return 0;
}

int
secrets_add(char **environment, size_t *count, int err_fd)
{
	int error = 0;

	for (int which = 0; which < INIT_SECRETS_MAX && error == 0; which++) {
		if (!is_given[which])
			continue;
		error = read_file(which, err_fd);
		if (error == 0 && env_file_parse(&parsed, texts[which],
		    used[which]) != 0)
			error = say(err_fd, which, parsed.line, parsed.why,
			    EBADMSG);
		for (size_t i = 0; i < parsed.count && error == 0; i++)
			error = put_variable(environment, count,
			    parsed.variables[i]);
		parsed.count = 0;
	}
	return error;
}
