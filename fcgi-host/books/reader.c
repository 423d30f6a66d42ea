#include "fcgi-host/books/reader.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/civil.h"
#include "fcgi-host/cmd.h"

#define FAULTS_SHOWN 20
#define PATH_SHOWN 1024
#define DAY_US UINT64_C(86400000000)

void
reader_fault(struct reader *reader, const char *path, uint64_t line,
    const char *fmt, ...)
{
	char text[256], shown[PATH_SHOWN];
	va_list args;

	if (__atomic_fetch_add(&reader->faults, 1, __ATOMIC_RELAXED) >=
	    FAULTS_SHOWN)
		return;
	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	flockfile(stderr);
	/* The progress stands there. */
	if (isatty(STDERR_FILENO) == 1)
		(void)fputs("\r\033[K", stderr);
	(void)cmd_fail("%s:%" PRIu64 ": %s",
	    log_value(shown, sizeof(shown), path, strlen(path)), line, text);
	funlockfile(stderr);
}

bool
reader_faults(const struct reader *reader)
{
	if (reader->faults > FAULTS_SHOWN)
		(void)cmd_fail("%" PRIu64 " more such faults",
		    reader->faults - FAULTS_SHOWN);
	return reader->faults > 0;
}

bool
reader_begins_late(const struct reader *reader, uint64_t from_us)
{
	char text[CIVIL_TIME_MAX];

	if (reader->begins_us / DAY_US <= from_us / DAY_US)
		return false;
	(void)cmd_fail("warning: the log begins at %s, in the midst of a run: "
	    "what an older file has of the days that are asked for is not in "
	    "the sums",
	    civil_time_text(reader->begins_us, text));
	return true;
}
