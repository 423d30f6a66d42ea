#include "fcgi-host/logfiles.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/sock.h"

#define PLACES 256
#define SHARES 64
/* Of the memory of one that has been written. */
#define KEEP_SIZE 4096
/* How far the oldest are looked at for one that may go. */
#define LOOK_MAX 16
#define TOLD_WINDOW_MS 10000

enum file_state {
	FILE_WAITING, /* to be asked for */
	FILE_ASKED, /* a descriptor will come, or an error */
	FILE_OPEN,
	FILE_FAILED /* until retry_us */
};

struct logfile {
	TAILQ_ENTRY(logfile) in;     /* the one used last at the end */
	TAILQ_ENTRY(logfile) in_due; /* open, with lines; or waiting */
	struct logfile *next;        /* of the same place */
	enum file_state state;
	bool is_due;
	struct share *share;
	int fd;
	uint64_t room, retry_us;
	uint64_t dropped; /* lines, of which its file is to tell */
	struct buf lines;
	char name[CTL_NAME_MAX + 1];
};

TAILQ_HEAD(logfile_list, logfile);

/* What one tenant has; or a few together, if their names fall so. */
struct share {
	size_t count, held;
};

struct logfiles {
	bool is_on;
	size_t open_max, open_count, count;
	size_t held; /* bytes in all `lines` */
	logfiles_ask_fn *ask;
	void *arg;
	struct logfile_list all, due, waiting;
	struct share shares[SHARES];
	uint64_t window_us; /* began then */
	unsigned asked;     /* in it */
	struct logfile *places[PLACES];
	uint64_t untold; /* lines dropped that the host's log knows nothing of */
	struct log_limit failed_limit, again_limit;
};

struct logfiles *
logfiles_new(size_t open_max, logfiles_ask_fn *ask, void *arg)
{
	struct logfiles *files = calloc(1, sizeof(*files));

	if (files == NULL)
		return NULL;
	files->open_max = open_max;
	files->ask = ask;
	files->arg = arg;
	TAILQ_INIT(&files->all);
	TAILQ_INIT(&files->due);
	TAILQ_INIT(&files->waiting);
	return files;
}

bool
logfiles_is_on(const struct logfiles *files)
{
	return files != NULL && files->is_on;
}

/* ----------------------------------------------------------------- one file */

/* FNV-1a, of the name up to a sign or its end. */
static uint32_t
sum_of(const char *name, char end)
{
	uint32_t sum = 2166136261u;

	for (; *name != '\0' && *name != end; name++)
		sum = (sum ^ (uint8_t)*name) * 16777619u;
	return sum;
}

/* All that stand at the top have one tenant. */
static struct share *
share_of(struct logfiles *files, const char *name)
{
	return &files->shares[strchr(name, '/') == NULL ? 0 :
	    sum_of(name, '/') % SHARES];
}

static struct logfile **
place_of(struct logfiles *files, const char *name)
{
	struct logfile **place = &files->places[sum_of(name, '\0') % PLACES];

	while (*place != NULL && strcmp((*place)->name, name) != 0)
		place = &(*place)->next;
	return place;
}

static void
due_set(struct logfiles *files, struct logfile *file, bool is_due)
{
	if (file->is_due == is_due)
		return;
	file->is_due = is_due;
	if (is_due)
		TAILQ_INSERT_TAIL(&files->due, file, in_due);
	else
		TAILQ_REMOVE(&files->due, file, in_due);
}

static void
file_close(struct logfiles *files, struct logfile *file)
{
	if (file->fd >= 0)
		files->open_count--;
	close_fd(&file->fd);
	file->room = 0;
	due_set(files, file, false);
	if (file->state == FILE_WAITING)
		TAILQ_REMOVE(&files->waiting, file, in_due);
}

static void
held_add(struct logfiles *files, struct logfile *file, size_t n)
{
	files->held += n;
	file->share->held += n;
}

static void
held_drop(struct logfiles *files, struct logfile *file, size_t n)
{
	files->held -= n;
	file->share->held -= n;
}

static void
file_free(struct logfiles *files, struct logfile *file)
{
	struct logfile **place = place_of(files, file->name);

	file_close(files, file);
	*place = file->next;
	TAILQ_REMOVE(&files->all, file, in);
	files->count--;
	file->share->count--;
	held_drop(files, file, buf_len(&file->lines));
	buf_free(&file->lines);
	free(file);
}

/* Whether one more may be asked for. */
static bool
may_ask(struct logfiles *files, uint64_t now_us)
{
	if (now_us - files->window_us >= LOGFILES_ASKS_US) {
		files->window_us = now_us;
		files->asked = 0;
	}
	return files->asked < LOGFILES_ASKS;
}

static void
file_ask(struct logfiles *files, struct logfile *file, uint64_t now_us)
{
	file_close(files, file);
	if (may_ask(files, now_us)) {
		files->asked++;
		file->state = FILE_ASKED;
		files->ask(files->arg, file->name);
	} else {
		file->state = FILE_WAITING;
		TAILQ_INSERT_TAIL(&files->waiting, file, in_due);
	}
}

static uint64_t
count_lines(struct buf *lines)
{
	const char *at = (const char *)buf_head(lines);
	size_t left = buf_len(lines);
	uint64_t count = 0;

	while (left > 0) {
		const char *end = memchr(at, '\n', left);

		if (end == NULL)
			break;
		left -= (size_t)(end + 1 - at);
		at = end + 1;
		count++;
	}
	return count;
}

static void
lines_consume(struct logfiles *files, struct logfile *file, size_t n)
{
	held_drop(files, file, n);
	buf_consume(&file->lines, n);
}

static const char *
mend_of(int error)
{
	switch (error) {
	case EDQUOT:
		return "raise function_log_total, or remove old logs of that "
		    "tenant";
	case ENOSPC:
		return "make room where function_logs lies";
	case ELOOP:
	case EPERM:
	case EMLINK:
		return "in function_logs stands what the host did not make: "
		    "remove it";
	case EMFILE:
	case ENFILE:
		return "raise LimitNOFILE";
	default:
		return "fcgi-host check looks at function_logs";
	}
}

/* Its lines are lost.  The host's log is told of the first, and of how many when it
 * is the next one's turn. */
static void
file_fail(struct logfiles *files, struct logfile *file, int error,
    uint64_t now_us)
{
	uint64_t lines = count_lines(&file->lines);
	uint32_t suppressed;

	file->dropped += lines;
	files->untold += lines;
	held_drop(files, file, buf_len(&file->lines));
	buf_free(&file->lines);
	file_close(files, file);
	file->state = FILE_FAILED;
	file->retry_us = now_us + LOGFILES_RETRY_US;
	if (!log_limit_pass(&files->failed_limit, 1, TOLD_WINDOW_MS, now_us,
	    &suppressed))
		return;
	log_event(LOG_WARN, "function_log", "function=%s error=\"%s\" "
	    "dropped=%" PRIu64 " suppressed=%u mend=\"%s\"", file->name,
	    strerror(error), files->untold, suppressed, mend_of(error));
	files->untold = 0;
}

/* ------------------------------------------------------------------ writing */

/* Only part of a line could be written: it is taken back, so that what comes next
 * does not stand behind it. */
static size_t
take_back(const struct logfile *file, const uint8_t *data, size_t n)
{
	const uint8_t *end = memrchr(data, '\n', n);
	size_t whole = end == NULL ? 0 : (size_t)(end + 1 - data);
	struct stat st;

	if (whole < n && (fstat(file->fd, &st) != 0 ||
	    st.st_size < (off_t)(n - whole) ||
	    ftruncate(file->fd, st.st_size - (off_t)(n - whole)) != 0))
		return n; /* it stays as it is, without its rest */
	return whole;
}

/* n bytes, whole lines.  How many are there now; *error: why not all. */
static size_t
write_lines(const struct logfile *file, const uint8_t *data, size_t n,
    int *error)
{
	ssize_t done;

	do
		done = write(file->fd, data, n);
	while (done < 0 && errno == EINTR);
	*error = done < 0 ? errno : (size_t)done < n ? ENOSPC : 0;
	if (done <= 0)
		return 0;
	return (size_t)done < n ? take_back(file, data, (size_t)done) : n;
}

/* The file says how many lines it lacks. */
static int
write_dropped(struct logfiles *files, struct logfile *file, uint64_t now_us)
{
	char line[LOG_LINE_MAX];
	uint32_t suppressed;
	size_t n = log_text(line, LOG_WARN, "lines_dropped",
	    "request= function=%s lines=%" PRIu64, file->name, file->dropped);
	int error;

	if (n > file->room)
		return 0;
	if (write_lines(file, (const uint8_t *)line, n, &error) < n)
		return error;
	file->room -= n;
	if (log_limit_pass(&files->again_limit, 10, TOLD_WINDOW_MS, now_us,
	    &suppressed))
		log_event(LOG_WARN, "function_log_again", "function=%s "
		    "dropped=%" PRIu64 " suppressed=%u", file->name,
		    file->dropped, suppressed);
	files->untold -= files->untold < file->dropped ? files->untold :
	    file->dropped;
	file->dropped = 0;
	return 0;
}

/* As many whole lines as there is room for. */
static size_t
fitting(struct logfile *file)
{
	const uint8_t *head = buf_head(&file->lines), *end;
	size_t n = buf_len(&file->lines);

	if (n <= file->room)
		return n;
	end = file->room == 0 ? NULL :
	    memrchr(head, '\n', (size_t)file->room);
	return end == NULL ? 0 : (size_t)(end + 1 - head);
}

/* Asks for a successor where there is no room for all. */
static void
file_write(struct logfiles *files, struct logfile *file, uint64_t now_us)
{
	int error = file->dropped > 0 ? write_dropped(files, file, now_us) : 0;
	size_t n, done;

	due_set(files, file, false);
	n = error == 0 ? fitting(file) : 0;
	if (n > 0) {
		done = write_lines(file, buf_head(&file->lines), n, &error);
		file->room -= done;
		lines_consume(files, file, done);
	}
	if (error != 0)
		file_fail(files, file, error, now_us);
	else if (buf_len(&file->lines) > 0)
		file_ask(files, file, now_us);
	else
		buf_reset(&file->lines, KEEP_SIZE);
}

bool
logfiles_flush(struct logfiles *files, uint64_t now_us)
{
	struct logfile *file;

	while ((file = TAILQ_FIRST(&files->waiting)) != NULL &&
	    may_ask(files, now_us))
		file_ask(files, file, now_us);
	while ((file = TAILQ_FIRST(&files->due)) != NULL)
		file_write(files, file, now_us);
	return !TAILQ_EMPTY(&files->waiting);
}

/* ------------------------------------------------------------------ the host's */

/* One write for each, as the host's lines are. */
static void
write_to_host(struct logfile *file)
{
	while (buf_len(&file->lines) > 0) {
		const uint8_t *head = buf_head(&file->lines);
		const uint8_t *end = memchr(head, '\n', buf_len(&file->lines));
		size_t n = end == NULL ? buf_len(&file->lines) :
		    (size_t)(end + 1 - head);

		while (write(STDERR_FILENO, head, n) < 0 && errno == EINTR)
			continue;
		buf_consume(&file->lines, n);
	}
}

/* ------------------------------------------------------------------ giving way */

/* One that nothing is waited for; of a tenant who has his share, his own. */
static bool
make_place(struct logfiles *files, const struct share *share, uint64_t now_us)
{
	bool is_own = share->count >= LOGFILES_MAX / LOGFILES_SHARE;
	struct logfile *file = TAILQ_FIRST(&files->all);

	for (int i = 0; i < LOOK_MAX && file != NULL; i++) {
		if (file->state == FILE_OPEN && file->is_due)
			file_write(files, file, now_us);
		if ((file->state == FILE_OPEN || file->state == FILE_FAILED) &&
		    (!is_own || file->share == share)) {
			file_free(files, file);
			return true;
		}
		file = TAILQ_NEXT(file, in);
	}
	return false;
}

bool
logfiles_give_way(struct logfiles *files, uint64_t now_us)
{
	struct logfile *file = files == NULL ? NULL : TAILQ_FIRST(&files->all);

	while (file != NULL && file->state != FILE_OPEN)
		file = TAILQ_NEXT(file, in);
	if (file == NULL)
		return false;
	if (file->is_due)
		file_write(files, file, now_us);
	if (file->state == FILE_OPEN)
		file_free(files, file);
	return true;
}

void
logfiles_close(struct logfiles *files, uint64_t now_us)
{
	while (files != NULL && files->open_count > 0)
		(void)logfiles_give_way(files, now_us);
}

void
logfiles_set(struct logfiles *files, bool is_on, uint64_t now_us)
{
	logfiles_close(files, now_us);
	files->is_on = is_on;
}

void
logfiles_free(struct logfiles *files)
{
	struct logfile *file;

	if (files == NULL)
		return;
	while ((file = TAILQ_FIRST(&files->all)) != NULL)
		file_free(files, file);
	free(files);
}

/* ------------------------------------------------------------------ lines */

/* NULL: there is no place for it. */
static struct logfile *
file_get(struct logfiles *files, const char *name, uint64_t now_us)
{
	struct logfile *file = *place_of(files, name), **place;
	struct share *share = share_of(files, name);

	if (file != NULL) {
		TAILQ_REMOVE(&files->all, file, in);
		TAILQ_INSERT_TAIL(&files->all, file, in);
		return file;
	}
	if (share->count >= LOGFILES_MAX / LOGFILES_SHARE ||
	    files->count >= LOGFILES_MAX)
		if (!make_place(files, share, now_us))
			return NULL;
	file = calloc(1, sizeof(*file));
	if (file == NULL)
		return NULL;
	(void)snprintf(file->name, sizeof(file->name), "%s", name);
	file->fd = -1;
	file->state = FILE_FAILED; /* and may be tried at once */
	place = place_of(files, name);
	file->next = NULL;
	*place = file;
	TAILQ_INSERT_TAIL(&files->all, file, in);
	file->share = share;
	share->count++;
	files->count++;
	return file;
}

static void
drop(struct logfiles *files, struct logfile *file)
{
	files->untold++;
	if (file != NULL)
		file->dropped++;
}

void
logfiles_line(struct logfiles *files, const char *function, const char *line,
    size_t n, uint64_t now_us)
{
	struct logfile *file = file_get(files, function, now_us);

	if (file == NULL || (file->state == FILE_FAILED &&
	    now_us < file->retry_us)) {
		drop(files, file);
		return;
	}
	if (file->state == FILE_FAILED)
		file_ask(files, file, now_us);
	if (file->state == FILE_OPEN &&
	    buf_len(&file->lines) + n > LOGFILES_HELD_MAX)
		file_write(files, file, now_us);
	if (file->state == FILE_FAILED ||
	    buf_len(&file->lines) + n > LOGFILES_HELD_MAX ||
	    files->held + n > LOGFILES_HELD_ALL ||
	    file->share->held + n > LOGFILES_HELD_ALL / LOGFILES_SHARE ||
	    buf_add(&file->lines, line, n) != 0) {
		drop(files, file);
		return;
	}
	held_add(files, file, n);
	if (file->state == FILE_OPEN)
		due_set(files, file, true);
}

void
logfiles_event(struct logfiles *files, const char *function, uint64_t now_us,
    enum log_level level, const char *event, const char *fmt, ...)
{
	char text[LOG_LINE_MAX], line[LOG_LINE_MAX];
	va_list args;
	size_t n;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_event(level, event, "%s", text);
	if (!logfiles_is_on(files) || level > LOG_INFO)
		return;
	n = log_text(line, level, event, "%s", text);
	logfiles_line(files, function, line, n, now_us);
}

void
logfiles_give(struct logfiles *files, const char *function, int fd,
    uint64_t room, int error, uint64_t now_us)
{
	struct logfile *file = *place_of(files, function);

	if (file == NULL || file->state != FILE_ASKED) {
		close_fd(&fd);
		return;
	}
	if (error == EOPNOTSUPP) {
		held_drop(files, file, buf_len(&file->lines));
		write_to_host(file);
		file->state = FILE_FAILED;
		file_free(files, file);
		return;
	}
	if (error != 0) {
		file_fail(files, file, error, now_us);
		return;
	}
	if (files->open_count >= files->open_max)
		(void)logfiles_give_way(files, now_us);
	file->fd = fd;
	file->room = room;
	file->state = FILE_OPEN;
	files->open_count++;
	file_write(files, file, now_us);
	/* of a configuration that holds no longer */
	if (!files->is_on && file->state == FILE_OPEN)
		file_free(files, file);
}
