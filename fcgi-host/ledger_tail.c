#include "fcgi-host/ledger_tail.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/record.h"
#include "fcgi-host/record_read.h"

#define TAIL_SIZE (64u * 1024)

static struct ledger_tail
tail_read(int fd, uint64_t size)
{
	uint64_t from = size > TAIL_SIZE ? size - TAIL_SIZE : 0;
	char *tail = malloc(TAIL_SIZE);
	ssize_t n = tail == NULL ? -1 :
	    pread(fd, tail, TAIL_SIZE, (off_t)from);
	char *end = n > 0 ? memrchr(tail, '\n', (size_t)n) : NULL;
	struct ledger_tail line = { .end = n < 0 ? size : from };

	if (end != NULL) {
		char *start = memrchr(tail, '\n', (size_t)(end - tail));
		size_t line_bytes, covered;

		start = start == NULL ? tail : start + 1;
		line_bytes = (size_t)(end - start);
		line.seq = record_line_seq(start, line_bytes);
		if (!chain_line_read(start, line_bytes, &line.mac, &covered))
			line.mac = (struct chain_mac){ { 0 } };
		line.start = from + (uint64_t)(start - tail);
		line.end = from + (uint64_t)(end - tail) + 1;
	}
	free(tail);
	return line;
}

/* The beginning of one of our lines, or what a power cut leaves of one: a file
 * that was named by mistake is never cut. */
static bool
tail_is_ours(int fd, uint64_t from, uint64_t size)
{
	static const char begin[] = "{\"v\":";
	char head[sizeof(begin) - 1] = { 0 };
	ssize_t n = pread(fd, head, sizeof(head), (off_t)from);

	return n > 0 && size - from <= RECORD_LINE_MAX &&
	    (head[0] == '\0' || memcmp(head, begin, (size_t)n) == 0);
}

int
ledger_tail_mend(int fd, uint64_t *size, struct ledger_tail *line)
{
	*line = tail_read(fd, *size);
	if (line->end >= *size)
		return 0;
	if (!tail_is_ours(fd, line->end, *size)) {
		log_event(LOG_ERROR, "accounting_foreign",
		    "mend=\"the accounting log's last line is no record: name "
		    "another file, or end that line, and run fcgi-host "
		    "reopen\"");
		return -EBADMSG;
	}
	log_event(LOG_WARN, "accounting_torn", "cut_bytes=%llu",
	    (unsigned long long)(*size - line->end));
	if (ftruncate(fd, (off_t)line->end) < 0)
		return -errno;
	*size = line->end;
	return 0;
}
