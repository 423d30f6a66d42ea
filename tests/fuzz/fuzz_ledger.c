/*
 * A file that somebody calls an accounting log: plain, or gzip or zstd by its
 * first bytes.  Each line is a record whose text lies within what the reader
 * may give, or there is a reason why it is none; lines are numbered without a
 * hole, and what records sum up to is not lost between groups.
 */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fcgi-host/books/groups.h"
#include "fcgi-host/books/json.h"
#include "fcgi-host/books/lines.h"
#include "fcgi-host/sock.h"

#define INPUT_MAX 65536
/* A bomb is read as far as that. */
#define BLOCKS_MAX 8

static const struct keys keys = { .at = { KEY_TENANT, KEY_DAY, KEY_METHOD,
	KEY_STATUS }, .count = 4 };

static void
take_line(struct json *json, struct groups *groups, const char *line, size_t n,
    uint64_t *executions)
{
	char why[JSON_WHY_MAX] = "";
	struct entry entry;

	if (json_read(json, line, n, &entry, why) != 0) {
		CLAIM(why[0] != '\0' && memchr(why, '\0', sizeof(why)) != NULL);
		return;
	}
	CLAIM(entry.type < ENTRY_TYPES);
	CLAIM(entry.request_id.n <= n && entry.method.n <= n);
	*executions += entry.type == ENTRY_EXEC &&
	    !span_is(entry.outcome, "refused") &&
	    !span_is(entry.outcome, "lost");
	CLAIM(groups_add(groups, &entry) == 0);
}

static void
take_block(const struct block *block, struct json *json, struct groups *groups,
    uint64_t *line, uint64_t *executions)
{
	struct place place = { .path = NULL };

	CLAIM(block->n > 0 && block->data[block->n - 1] == '\n');
	/* Lines that were too long are counted between blocks. */
	CLAIM(block->line > *line);
	*line = block->line - 1;
	while (block_next(block, &place)) {
		CLAIM(place.line == ++*line);
		take_line(json, groups, place.text, place.n, executions);
	}
	CLAIM(place.text == block->data + block->n);
}

static void
check_groups(struct groups *groups, uint64_t executions)
{
	struct sums total;
	size_t count, i, j;
	struct group **sorted = groups_sorted(groups, &count);

	CLAIM(sorted != NULL);
	groups_total(groups, &total);
	CLAIM(total.usage.executions == executions);
	for (i = 0; i < count; i++) {
		size_t n = 0;

		for (j = 0; j < keys.count; j++)
			n += 2 + keys_value(sorted[i]->packed, j).n;
		CLAIM(n == sorted[i]->n);
		CLAIM(i == 0 || keys_compare(&keys, sorted[i - 1]->packed,
		    sorted[i]->packed) < 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP_FD int fd = memfd_create("ledger", MFD_CLOEXEC);
	struct block *block = block_new();
	struct json *json = json_new();
	struct groups *groups = groups_new(&keys);
	struct lines *lines;
	uint64_t line = 0, executions = 0;
	unsigned blocks;
	char path[64];

	if (n > INPUT_MAX)
		n = INPUT_MAX;
	CLAIM(fd >= 0 && block != NULL && json != NULL && groups != NULL);
	groups_keep_spreads(groups);
	CLAIM(write(fd, data, n) == (ssize_t)n);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	CLAIM(lines_open(&lines, path, NULL) == 0);
	for (blocks = 0; blocks < BLOCKS_MAX &&
	    lines_fill(lines, block) > 0; blocks++)
		take_block(block, json, groups, &line, &executions);
	check_groups(groups, executions);
	lines_close(lines);
	groups_free(groups);
	json_free(json);
	block_free(block);
	return 0;
}
