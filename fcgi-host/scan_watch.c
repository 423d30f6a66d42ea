#include "fcgi-host/scan_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/scan_list.h"
#include "fcgi-host/scan_name.h"

#define WATCH_MASK (IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_FROM | \
    IN_MOVED_TO | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | \
    IN_ONLYDIR | IN_EXCL_UNLINK)

struct directory {
	int number;
	uint32_t unit;
	enum scan_watch_kind kind;
	uint64_t round;
	int64_t since_ns;
	bool is_known;
	char **writing;
	size_t writing_count;
};

struct scan_watch {
	int fd;
	int parent;                    /* watch number, or -1 */
	struct directory *directories; /* sorted by number */
	size_t count, size;
	bool said_full;
};

struct scan_watch *
scan_watch_new(void)
{
	struct scan_watch *watch = calloc(1, sizeof(*watch));

	if (watch == NULL)
		return NULL;
	watch->parent = -1;
	watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch->fd < 0) {
		free(watch);
		return NULL;
	}
	return watch;
}

static void
forget_marks(struct directory *directory)
{
	for (size_t i = 0; i < directory->writing_count; i++)
		free(directory->writing[i]);
	free(directory->writing);
	directory->writing = NULL;
	directory->writing_count = 0;
}

/* What was changed up to now is judged by its age, as if nobody had watched:
 * one tenant's flood of events makes no other's half-written file whole. */
static void
forget_all(struct scan_watch *watch)
{
	int64_t now_ns = scan_now_ns();

	for (size_t i = 0; i < watch->count; i++) {
		forget_marks(&watch->directories[i]);
		watch->directories[i].since_ns = now_ns;
	}
}

void
scan_watch_free(struct scan_watch *watch)
{
	if (watch == NULL)
		return;
	forget_all(watch);
	free(watch->directories);
	close(watch->fd);
	free(watch);
}

int
scan_watch_fd(const struct scan_watch *watch)
{
	return watch->fd;
}

int
scan_watch_parent(struct scan_watch *watch, int dir_fd)
{
	if (fchdir(dir_fd) != 0)
		return -errno;
	watch->parent = inotify_add_watch(watch->fd, "..",
	    IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_ATTRIB |
	    IN_ONLYDIR);
	return watch->parent >= 0 ? 0 : -errno;
}

bool
scan_watch_has_parent(const struct scan_watch *watch)
{
	return watch->parent >= 0;
}

bool
scan_watch_is_removed(int dir_fd)
{
	struct stat st;

	return fstat(dir_fd, &st) == 0 && st.st_nlink == 0;
}

/* Where the number stands, or would stand. */
static size_t
place_of(const struct scan_watch *watch, int number)
{
	size_t low = 0, high = watch->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (watch->directories[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct directory *
find(const struct scan_watch *watch, int number)
{
	size_t place = place_of(watch, number);

	if (place < watch->count && watch->directories[place].number == number)
		return &watch->directories[place];
	return NULL;
}

static struct directory *
insert(struct scan_watch *watch, int number)
{
	size_t place = place_of(watch, number);
	struct directory *all = watch->directories;

	if (watch->count == watch->size) {
		size_t size = watch->size == 0 ? 16 : watch->size * 2;

		all = reallocarray(all, size, sizeof(*all));
		if (all == NULL)
			return NULL;
		watch->directories = all;
		watch->size = size;
	}
	memmove(&all[place + 1], &all[place],
	    (watch->count - place) * sizeof(*all));
	memset(&all[place], 0, sizeof(all[place]));
	all[place].number = number;
	all[place].since_ns = scan_now_ns();
	watch->count++;
	return &all[place];
}

static void
drop(struct scan_watch *watch, struct directory *directory)
{
	size_t place = (size_t)(directory - watch->directories);

	forget_marks(directory);
	watch->count--;
	memmove(directory, directory + 1,
	    (watch->count - place) * sizeof(*directory));
}

static void
say_full(struct scan_watch *watch, int error)
{
	/* What may not be read is reported for itself. */
	if (watch->said_full || (error != ENOSPC && error != ENOMEM))
		return;
	watch->said_full = true;
	log_event(LOG_WARN, "watch_refused", "error=\"%s\" mend=\"some folders "
	    "are not watched, and looked at every five seconds: raise "
	    "fs.inotify.max_user_watches\"", strerror(error));
}

struct scan_watched
scan_watch_add(struct scan_watch *watch, int dir_fd, uint32_t unit,
    enum scan_watch_kind kind, uint64_t round)
{
	struct scan_watched none = { .number = -1 };
	struct directory *directory;
	int number;

	if (watch == NULL)
		return none;
	number = fchdir(dir_fd) == 0 ?
	    inotify_add_watch(watch->fd, ".", WATCH_MASK) : -1;
	if (number < 0) {
		say_full(watch, errno);
		return none;
	}
	directory = find(watch, number);
	if (directory == NULL)
		directory = insert(watch, number);
	if (directory == NULL) {
		inotify_rm_watch(watch->fd, number);
		return none;
	}
	directory->unit = unit;
	directory->kind = kind;
	directory->round = round;
	return (struct scan_watched){ .number = number,
		.since_ns = directory->since_ns,
		.is_known = directory->is_known };
}

void
scan_watch_know(struct scan_watch *watch, int number)
{
	struct directory *directory =
	    watch == NULL ? NULL : find(watch, number);

	if (directory != NULL)
		directory->is_known = true;
}

void
scan_watch_sweep(struct scan_watch *watch, uint32_t unit, uint64_t round)
{
	size_t i;

	if (watch == NULL)
		return;
	for (i = watch->count; i-- > 0;) {
		struct directory *directory = &watch->directories[i];

		if (directory->unit != unit || directory->round == round)
			continue;
		inotify_rm_watch(watch->fd, directory->number);
		drop(watch, directory);
	}
}

static size_t
find_mark(const struct directory *directory, const char *name)
{
	size_t i;

	for (i = 0; i < directory->writing_count; i++)
		if (strcmp(directory->writing[i], name) == 0)
			break;
	return i;
}

bool
scan_watch_is_writing(const struct scan_watch *watch, int number,
    const char *name)
{
	const struct directory *directory =
	    watch == NULL ? NULL : find(watch, number);

	return directory != NULL &&
	    find_mark(directory, name) < directory->writing_count;
}

/* True when the name was not marked before. */
static bool
mark(struct directory *directory, const char *name)
{
	char **grown;

	if (find_mark(directory, name) < directory->writing_count)
		return false;
	if (directory->writing_count == SCAN_WATCH_MARKS_MAX)
		return true;
	grown = reallocarray(directory->writing, directory->writing_count + 1,
	    sizeof(*grown));
	if (grown == NULL)
		return true;
	directory->writing = grown;
	grown[directory->writing_count] = strdup(name);
	if (grown[directory->writing_count] != NULL)
		directory->writing_count++;
	return true;
}

static void
unmark(struct directory *directory, const char *name)
{
	size_t place = find_mark(directory, name);

	if (place == directory->writing_count)
		return;
	free(directory->writing[place]);
	directory->writing_count--;
	directory->writing[place] =
	    directory->writing[directory->writing_count];
}

/* True when the event on a name tells something new. */
static bool
take_name(struct directory *directory, uint32_t mask, const char *name)
{
	bool is_env = scan_name_is_env(name);

	if (scan_name_is_hidden(name) && !is_env)
		return false;
	if (directory->kind == SCAN_WATCH_FOLDER && !is_env &&
	    !scan_name_is_main_like(name))
		return false;
	if ((mask & IN_MODIFY) != 0)
		return mark(directory, name);
	if ((mask & (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM |
	    IN_DELETE)) != 0)
		unmark(directory, name);
	return true;
}

/* The kernel ended the watch, or says something of the directory itself. */
static void
take_self(struct scan_watch *watch, struct directory *directory, uint32_t mask,
    const struct scan_watch_calls *calls, void *arg)
{
	uint32_t unit = directory->unit;
	bool is_root = directory->kind == SCAN_WATCH_ROOT;

	if ((mask & IN_IGNORED) != 0)
		drop(watch, directory);
	if (is_root && (mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF |
	    IN_UNMOUNT)) != 0)
		calls->root_gone(arg);
	else if (is_root)
		calls->lost(arg);
	else
		calls->changed(arg, unit);
}

static enum scan_watch_beside
beside_of(uint32_t mask)
{
	if ((mask & IN_ATTRIB) != 0)
		return SCAN_WATCH_CHANGED;
	return (mask & (IN_DELETE | IN_MOVED_FROM)) != 0 ? SCAN_WATCH_LEFT :
	    SCAN_WATCH_CAME;
}

static void
take_event(struct scan_watch *watch, const struct inotify_event *event,
    const struct scan_watch_calls *calls, void *arg)
{
	struct directory *directory;

	if ((event->mask & IN_Q_OVERFLOW) != 0) {
		forget_all(watch);
		calls->lost(arg);
		return;
	}
	if (event->wd == watch->parent) {
		if ((event->mask & IN_IGNORED) != 0)
			watch->parent = -1;
		else if ((event->mask & IN_ISDIR) != 0 && event->len > 0)
			calls->beside(arg, event->name,
			    beside_of(event->mask));
		return;
	}
	directory = find(watch, event->wd);
	if (directory == NULL)
		return;
	if (event->len == 0) {
		take_self(watch, directory, event->mask, calls, arg);
		return;
	}
	if (!take_name(directory, event->mask, event->name))
		return;
	if (directory->kind == SCAN_WATCH_ROOT &&
	    (event->mask & IN_ISDIR) != 0)
		calls->folder(arg, event->name);
	/* A tenant's folder becomes a function, or the other way round. */
	if (directory->kind == SCAN_WATCH_TENANT &&
	    scan_name_is_main_like(event->name))
		calls->changed(arg, 0);
	calls->changed(arg, directory->unit);
}

int
scan_watch_drain(struct scan_watch *watch,
    const struct scan_watch_calls *calls, void *arg)
{
	_Alignas(struct inotify_event) char bytes[16384];

	for (;;) {
		ssize_t n = read(watch->fd, bytes, sizeof(bytes));
		const char *at = bytes;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 || errno == EAGAIN ? 0 : -errno;
		while (at < bytes + n) {
			const struct inotify_event *event =
			    (const void *)at;

			take_event(watch, event, calls, arg);
			at += sizeof(*event) + event->len;
		}
	}
}
