#include "fcgi-host/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/civil.h"

static const char *log_role = "fcgi-host";
static enum log_level log_threshold = LOG_INFO;
static int log_also_fd = -1;

static const char *const level_names[] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

#define LEVEL_COUNT (sizeof(level_names) / sizeof(level_names[0]))

void
log_init(const char *role, enum log_level level)
{
	log_role = role;
	log_threshold = level;
}

void
log_set_level(enum log_level level)
{
	log_threshold = level;
}

void
log_set_also(int fd)
{
	log_also_fd = fd;
}

int
log_level_parse(const char *text, enum log_level *level)
{
	for (size_t i = 0; i < LEVEL_COUNT; i++)
		if (strcmp(text, level_names[i]) == 0) {
			*level = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

static size_t
put_hex(char *out, unsigned char byte)
{
	static const char digits[] = "0123456789abcdef";

	out[0] = '\\';
	out[1] = 'x';
	out[2] = digits[byte >> 4];
	out[3] = digits[byte & 15];
	return 4;
}

static int
is_printable(unsigned char byte)
{
	return byte >= 0x20 && byte < 0x7f;
}

/* Escapes raw as one line, with its newline. */
static size_t
put_line(char line[LOG_LINE_MAX], const char *raw, size_t n)
{
	size_t used = 0;

	for (size_t i = 0; i < n && used + 5 <= LOG_LINE_MAX; i++) {
		unsigned char byte = (unsigned char)raw[i];

		if (is_printable(byte))
			line[used++] = (char)byte;
		else
			used += put_hex(line + used, byte);
	}
	line[used++] = '\n';
	return used;
}

/* A line that cannot be written is lost: a log that blocks or fails must not
 * stop the service. */
static void
write_line(const char *line, size_t n, int also_fd)
{
	while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
		continue;
	while (also_fd >= 0 && write(also_fd, line, n) < 0 && errno == EINTR)
		continue;
}

/* The length of what snprintf stored, of what it would have liked to. */
static size_t
stored(int wanted, size_t size)
{
	if (wanted < 0)
		return 0;
	return (size_t)wanted < size ? (size_t)wanted : size - 1;
}

static size_t
log_textv(char out[LOG_LINE_MAX], enum log_level level, const char *event,
    const char *fmt, va_list args) __attribute__((format(printf, 4, 0)));

static size_t
log_textv(char out[LOG_LINE_MAX], enum log_level level, const char *event,
    const char *fmt, va_list args)
{
	char raw[LOG_LINE_MAX], when[CIVIL_TIME_MAX];
	struct timespec now;
	size_t used;

	clock_gettime(CLOCK_REALTIME, &now);
	used = stored(snprintf(raw, sizeof(raw),
	    "time=%s level=%s role=%s event=%s ",
	    civil_time_text((uint64_t)now.tv_sec * 1000000 +
	    (uint64_t)now.tv_nsec / 1000, when), level_names[level], log_role,
	    event), sizeof(raw));
	if (fmt[0] == '\0')
		used--;
	else
		used += stored(vsnprintf(raw + used, sizeof(raw) - used, fmt,
		    args), sizeof(raw) - used);
	return put_line(out, raw, used);
}

size_t
log_text(char out[LOG_LINE_MAX], enum log_level level, const char *event,
    const char *fmt, ...)
{
	va_list args;
	size_t n;

	va_start(args, fmt);
	n = log_textv(out, level, event, fmt, args);
	va_end(args);
	return n;
}

static void
log_eventv(enum log_level level, const char *event, const char *fmt,
    va_list args) __attribute__((format(printf, 3, 0)));

static void
log_eventv(enum log_level level, const char *event, const char *fmt,
    va_list args)
{
	int saved_errno = errno;
	char line[LOG_LINE_MAX];
	size_t n = log_textv(line, level, event, fmt, args);

	write_line(line, n, level == LOG_ERROR ? log_also_fd : -1);
	errno = saved_errno;
}

void
log_output(const char *event, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_eventv(LOG_INFO, event, fmt, args);
	va_end(args);
}

void
log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	va_list args;

	if (level > log_threshold)
		return;
	va_start(args, fmt);
	log_eventv(level, event, fmt, args);
	va_end(args);
}

const char *
log_value(char *out, size_t size, const char *text, size_t n)
{
	size_t used = 0;

	if (size == 0)
		return out;
	for (size_t i = 0; i < n && used + 5 <= size; i++) {
		unsigned char byte = (unsigned char)text[i];

		if (!is_printable(byte)) {
			used += put_hex(out + used, byte);
			continue;
		}
		if (byte == '"' || byte == '\\')
			out[used++] = '\\';
		out[used++] = (char)byte;
	}
	out[used] = '\0';
	return out;
}

int
log_limit_pass(struct log_limit *limit, uint32_t burst, uint32_t window_ms,
    uint64_t now_us, uint32_t *suppressed)
{
	uint64_t window_us = (uint64_t)window_ms * 1000;

	if (now_us - limit->window_start_us >= window_us) {
		limit->window_start_us = now_us;
		limit->passed = 0;
	}
	if (limit->passed >= burst) {
		if (limit->suppressed < UINT32_MAX)
			limit->suppressed++;
		return 0;
	}
	limit->passed++;
	*suppressed = limit->suppressed;
	limit->suppressed = 0;
	return 1;
}

_Noreturn void
log_fatal(const char *event, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_eventv(LOG_ERROR, event, fmt, args);
	va_end(args);
	exit(1);
}

_Noreturn void
log_panic(const char *file, int line, const char *claim)
{
	char text[512];

	log_event(LOG_ERROR, "panic", "at=%s:%d claim=\"%s\"", file, line,
	    log_value(text, sizeof(text), claim, strlen(claim)));
	abort();
}
