#include "fcgi-host/scan_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/scan_name.h"

static int64_t
to_ns(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void
scan_id_set(struct scan_id *id, const struct stat *st)
{
	id->dev = st->st_dev;
	id->ino = st->st_ino;
	id->size = (uint64_t)st->st_size;
	id->mtime_ns = to_ns(st->st_mtim);
	id->ctime_ns = to_ns(st->st_ctim);
}

bool
scan_id_same(const struct scan_id *a, const struct scan_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int64_t
scan_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return to_ns(now);
}

int
scan_open(int dir_fd, const char *name, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(O_RDONLY | O_CLOEXEC | O_NOCTTY |
		    flags),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
		    RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	if ((flags & O_PATH) == 0)
		how.flags |= O_NONBLOCK;
	/* EAGAIN: somebody renamed meanwhile, and the walk was not sure. */
	for (int tries = 0; tries < 16; tries++) {
		fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd >= 0 ? (int)fd : -errno;
}

/* A stream of its own offset, so that a directory can be read again. */
static DIR *
open_stream(int dir_fd)
{
	int fd = scan_open(dir_fd, ".", O_DIRECTORY);
	DIR *stream;

	if (fd < 0) {
		errno = -fd;
		return NULL;
	}
	stream = fdopendir(fd);
	if (stream == NULL)
		close(fd);
	return stream;
}

int
scan_item_read(int dir_fd, char *name, struct scan_item *item)
{
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	memset(item, 0, sizeof(*item));
	item->name = name;
	item->mode = st.st_mode;
	item->uid = st.st_uid;
	scan_id_set(&item->id, &st);
	return 0;
}

static int
list_add(struct scan_list *list, int dir_fd, char *name)
{
	struct scan_item item;
	int err = scan_item_read(dir_fd, name, &item);

	if (err != 0)
		return err == -ENOENT ? 0 : err;
	if (list->count == list->size) {
		size_t size = list->size == 0 ? 32 : list->size * 2;
		void *items = reallocarray(list->items, size, sizeof(item));

		if (items == NULL)
			return -ENOMEM;
		list->items = items;
		list->size = size;
	}
	item.name = strdup(name);
	if (item.name == NULL)
		return -ENOMEM;
	list->items[list->count++] = item;
	return 0;
}

static int
compare_items(const void *a, const void *b)
{
	const struct scan_item *left = a, *right = b;

	return strcmp(left->name, right->name);
}

int
scan_list_read(int dir_fd, struct scan_list *list)
{
	DIR *stream = open_stream(dir_fd);
	struct dirent *entry;
	int err = 0;

	if (stream == NULL)
		return -errno;
	while (err == 0 && (errno = 0, entry = readdir(stream)) != NULL) {
		if (scan_name_is_hidden(entry->d_name))
			continue;
		if (list->count == SCAN_LIST_MAX) {
			list->is_cut = true;
			break;
		}
		err = list_add(list, dir_fd, entry->d_name);
	}
	if (err == 0 && !list->is_cut && errno != 0)
		err = -errno;
	closedir(stream);
	if (list->count > 1)
		qsort(list->items, list->count, sizeof(*list->items),
		    compare_items);
	return err;
}

void
scan_list_free(struct scan_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].name);
	free(list->items);
	memset(list, 0, sizeof(*list));
}

struct scan_item *
scan_list_find(const struct scan_list *list, const char *name, size_t length)
{
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const char *there = list->items[middle].name;
		int order = strncmp(name, there, length);

		if (order == 0 && there[length] == '\0')
			return &list->items[middle];
		if (order > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Some file systems do not say the type in the directory. */
static bool
is_directory(int dir_fd, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	return fstatat(dir_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(st.st_mode);
}

int
scan_list_has_main(int dir_fd)
{
	DIR *stream = open_stream(dir_fd);
	struct dirent *entry;
	size_t seen = 0;
	int found = 0;

	if (stream == NULL)
		return -errno;
	while (found == 0 && seen++ < SCAN_LIST_MAX &&
	    (entry = readdir(stream)) != NULL)
		if (scan_name_is_main(entry->d_name) &&
		    !is_directory(dir_fd, entry))
			found = 1;
	closedir(stream);
	return found;
}
