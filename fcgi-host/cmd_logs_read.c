/*
 * Where the lines come from: the log, what it was rotated to, compressed or not,
 * and systemd's journal.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/cmd_logs.h"
#include "fcgi-host/sock.h"

#define UNIT "fcgi-host.service"
#define LINE_MAX_BYTES 65536 /* the host's are shorter; the rest is left out */
#define POLL_MS 100
/* A file that was renamed is written to until the host has the new one. */
#define OLD_TURNS 100

static int
feed(struct logs_source *lines, const char *data, size_t n,
    const struct logs_taker *taker)
{
	int result = 0;

	while (n > 0 && result == 0) {
		const char *end = memchr(data, '\n', n);
		size_t part = end == NULL ? n : (size_t)(end - data);

		if (buf_len(&lines->rest) + part > LINE_MAX_BYTES)
			lines->is_too_long = true;
		else if (buf_add(&lines->rest, data, part) != 0)
			return -ENOMEM;
		if (end == NULL)
			return 0;
		if (!lines->is_too_long && buf_len(&lines->rest) > 0)
			result = taker->line(taker->arg,
			    (const char *)buf_head(&lines->rest),
			    buf_len(&lines->rest));
		lines->is_too_long = false;
		buf_consume(&lines->rest, buf_len(&lines->rest));
		data = end + 1;
		n -= part + 1;
	}
	return result;
}

/* All that is there now. */
int
logs_drain(struct logs_source *lines, const struct logs_taker *taker)
{
	char data[65536];
	int result = 0;

	while (result == 0) {
		ssize_t n = read(lines->fd, data, sizeof(data));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		lines->offset += n;
		result = feed(lines, data, (size_t)n, taker);
	}
	return result;
}

void
logs_source_close(struct logs_source *lines)
{
	close_fd(&lines->fd);
	buf_free(&lines->rest);
	*lines = (struct logs_source){ .fd = -1 };
}

void
logs_pause(void)
{
	const struct timespec turn = { 0, POLL_MS * 1000000L };

	(void)nanosleep(&turn, NULL);
}

/* ------------------------------------------------------------ other programs */

/* Not by PATH, which need not be root's own. */
static int
find_program(const char *name, char path[PATH_MAX])
{
	const char *dir = getenv("FCGI_HOST_BIN");

	return snprintf(path, PATH_MAX, "%s/%s", dir != NULL && *dir != '\0' ?
	    dir : "/usr/bin", name) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* Its standard output; in_fd becomes its input.  Or a negative errno. */
static int
begin_program(char *const argv[], int in_fd, pid_t *pid)
{
	char path[PATH_MAX];
	int ends[2];

	if (find_program(argv[0], path) != 0)
		return -ENAMETOOLONG;
	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	*pid = fork();
	if (*pid == 0) {
		/* a journal that is followed ends with who follows */
		if (prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 &&
		    dup2(ends[1], 1) == 1 && (in_fd < 0 || dup2(in_fd, 0) == 0))
			(void)execv(path, argv);
		_exit(127);
	}
	close(ends[1]);
	if (*pid > 0)
		return ends[0];
	close(ends[0]);
	return -errno;
}

/* Reads what a program says to its end. */
static int
read_program(char *const argv[], int in_fd, const struct logs_taker *taker)
{
	struct logs_source lines = { .fd = -1 };
	int status = 0, result;
	pid_t pid = -1;

	lines.fd = begin_program(argv, in_fd, &pid);
	if (lines.fd < 0) {
		(void)cmd_fail("%s cannot be started: %s", argv[0],
		    strerror(-lines.fd));
		return lines.fd;
	}
	result = logs_drain(&lines, taker);
	logs_source_close(&lines);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (result != 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return result;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		(void)cmd_fail("%s is not there: install it", argv[0]);
	else
		(void)cmd_fail("%s has failed%s", argv[0], in_fd >= 0 ? "" :
		    "; the log of a host that was started by hand is its "
		    "standard error, unless `log` or `function_logs` names "
		    "a place");
	return -EIO;
}

/* ------------------------------------------------------------- rotated files */

static const struct {
	const char *extension, *program;
} packed[] = {
	{ ".gz", "gzip" }, { ".zst", "zstd" }, { ".xz", "xz" },
};
#define PACKED (sizeof(packed) / sizeof(packed[0]))

struct old {
	char *path;
	struct timespec when;
	size_t packed; /* PACKED: it is not */
};

static size_t
packed_as(const char *path)
{
	size_t n = strlen(path), i;

	for (i = 0; i < PACKED; i++) {
		size_t m = strlen(packed[i].extension);

		if (n > m && strcmp(path + n - m, packed[i].extension) == 0)
			break;
	}
	return i;
}

/* NAME.1, NAME.2.gz, NAME-20261127.zst: as logrotate names them. */
static bool
is_old_one(const char *name, const char *base)
{
	size_t n = strlen(base), m;

	if (strncmp(name, base, n) != 0 || (name[n] != '.' && name[n] != '-') ||
	    !isdigit((unsigned char)name[n + 1]))
		return false;
	m = strspn(name + n + 1, "0123456789-_.");
	return name[n + 1 + m] == '\0' || packed_as(name) < PACKED;
}

static int
compare_old(const void *a, const void *b)
{
	const struct old *left = a, *right = b;

	if (left->when.tv_sec != right->when.tv_sec)
		return left->when.tv_sec < right->when.tv_sec ? -1 : 1;
	if (left->when.tv_nsec != right->when.tv_nsec)
		return left->when.tv_nsec < right->when.tv_nsec ? -1 : 1;
	return -strcmp(left->path, right->path); /* .2 is older than .1 */
}

static int
add_old(struct old **olds, size_t *count, const char *folder, const char *name)
{
	char path[PATH_MAX];
	struct old *grown;
	struct stat st;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >=
	    (int)sizeof(path) || stat(path, &st) != 0 || !S_ISREG(st.st_mode))
		return 0;
	grown = buf_grow(*olds, *count, sizeof(**olds));
	if (grown == NULL)
		return -ENOMEM;
	*olds = grown;
	grown[*count] = (struct old){ .path = strdup(path),
		.when = st.st_mtim, .packed = packed_as(path) };
	if (grown[*count].path == NULL)
		return -ENOMEM;
	(*count)++;
	return 0;
}

static int
find_old(const char *path, struct old **olds, size_t *count)
{
	const char *slash = strrchr(path, '/');
	char *folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	struct dirent *entry;
	DIR *stream;
	int error = 0;

	if (folder == NULL)
		return -ENOMEM;
	stream = opendir(folder);
	while (stream != NULL && error == 0 &&
	    (entry = readdir(stream)) != NULL)
		if (is_old_one(entry->d_name, slash + 1))
			error = add_old(olds, count, folder, entry->d_name);
	if (stream != NULL)
		(void)closedir(stream);
	free(folder);
	if (*count > 1)
		qsort(*olds, *count, sizeof(**olds), compare_old);
	return error;
}

static int
read_old(const struct old *old, const struct logs_taker *taker)
{
	struct logs_source lines = { .fd = open(old->path, O_RDONLY | O_CLOEXEC) };
	int result;

	if (lines.fd < 0 && errno == ENOENT) /* rotated away meanwhile */
		return 0;
	if (lines.fd < 0) {
		result = -errno;
		(void)cmd_fail("%s: %s", old->path, strerror(errno));
		return result;
	}
	if (old->packed < PACKED) {
		char *const argv[] = { (char *)(uintptr_t)
		    packed[old->packed].program, (char *)(uintptr_t)"-dc",
		    NULL };

		result = read_program(argv, lines.fd, taker);
	} else {
		result = logs_drain(&lines, taker);
	}
	logs_source_close(&lines);
	return result;
}

static int
read_all_old(const char *path, const struct logs_taker *taker)
{
	struct old *olds = NULL;
	size_t count = 0, i;
	int result = find_old(path, &olds, &count);

	for (i = 0; i < count && result == 0; i++)
		result = read_old(&olds[i], taker);
	for (i = 0; i < count; i++)
		free(olds[i].path);
	free(olds);
	return result;
}

/* ----------------------------------------------------------------- following */

/* Another file has the name. */
static bool
was_replaced(const char *path, int fd)
{
	struct stat named, open_one;

	return stat(path, &named) == 0 && fstat(fd, &open_one) == 0 &&
	    (named.st_ino != open_one.st_ino ||
	    named.st_dev != open_one.st_dev);
}

static int
follow(const char *path, struct logs_source *now, const struct logs_taker *taker)
{
	struct logs_source before = { .fd = -1 };
	int result = 0, turns = 0;
	struct stat st;

	while (result == 0) {
		logs_pause();
		if (before.fd >= 0) {
			result = logs_drain(&before, taker);
			if (++turns == OLD_TURNS)
				logs_source_close(&before);
		}
		if (fstat(now->fd, &st) == 0 && st.st_size < now->offset)
			now->offset = lseek(now->fd, 0, SEEK_SET);
		if (result == 0)
			result = logs_drain(now, taker);
		if (result == 0 && was_replaced(path, now->fd)) {
			logs_source_close(&before);
			before = *now;
			turns = 0;
			*now = (struct logs_source){ .fd = open(path,
			    O_RDONLY | O_CLOEXEC) };
			if (now->fd < 0) { /* renamed again */
				*now = before;
				before = (struct logs_source){ .fd = -1 };
			}
		}
		if (result == 0)
			result = taker->end(taker->arg);
	}
	logs_source_close(&before);
	return result;
}

int
logs_read_file(const char *path, bool is_followed,
    const struct logs_taker *taker)
{
	struct logs_source lines = { .fd = open(path, O_RDONLY | O_CLOEXEC) };
	int result;

	if (lines.fd < 0) {
		result = -errno;
		(void)cmd_fail("%s: %s%s", path, strerror(errno),
		    errno == EACCES ? "; root and the service's group may "
		    "read the host's log" : "");
		return result;
	}
	result = read_all_old(path, taker);
	if (result == 0)
		result = logs_drain(&lines, taker);
	if (result == 0)
		result = taker->end(taker->arg);
	if (result == 0 && is_followed)
		result = follow(path, &lines, taker);
	logs_source_close(&lines);
	return result;
}

/* ------------------------------------------------------------------- journal */

/* Where the journal was read to. */
struct cursor {
	const struct logs_taker *taker;
	char text[512];
};

static int
take_journal(void *arg, const char *line, size_t n)
{
	static const char mark[] = "-- cursor: ";
	struct cursor *cursor = arg;
	size_t m = sizeof(mark) - 1;

	if (n <= m || memcmp(line, mark, m) != 0)
		return cursor->taker->line(cursor->taker->arg, line, n);
	if (n - m < sizeof(cursor->text))
		(void)snprintf(cursor->text, sizeof(cursor->text), "%.*s",
		    (int)(n - m), line + m);
	return 0;
}

/* With -f each line is to be seen when it comes. */
static int
take_and_show(void *arg, const char *line, size_t n)
{
	const struct logs_taker *taker = arg;
	int result = taker->line(taker->arg, line, n);

	return result == 0 ? taker->end(taker->arg) : result;
}

#define WORD(text) (char *)(uintptr_t)(text)

int
logs_read_journal(bool is_followed, const struct logs_taker *taker)
{
	struct cursor cursor = { .taker = taker };
	const struct logs_taker all = { take_journal, taker->end, &cursor };
	const struct logs_taker one = { take_and_show, taker->end,
		(void *)(uintptr_t)taker };
	char *const past[] = { WORD("journalctl"), WORD("-q"),
		WORD("--no-pager"), WORD("-u"), WORD(UNIT), WORD("-o"),
		WORD("cat"), WORD("--show-cursor"), NULL };
	char *coming[] = { WORD("journalctl"), WORD("-q"),
		WORD("--no-pager"), WORD("-u"), WORD(UNIT), WORD("-o"),
		WORD("cat"), WORD("--follow"), WORD("--no-tail"), NULL, NULL,
		NULL };
	int result = read_program(past, -1, &all);

	if (result == 0)
		result = taker->end(taker->arg);
	if (result != 0 || !is_followed)
		return result;
	if (cursor.text[0] != '\0') {
		coming[9] = WORD("--after-cursor");
		coming[10] = cursor.text;
	}
	return read_program(coming, -1, &one);
}
