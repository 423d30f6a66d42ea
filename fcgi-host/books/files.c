#include "fcgi-host/books/files.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "fcgi-host/books/json.h"
#include "fcgi-host/books/lines.h"
#include "fcgi-host/cmd.h"

/* What logrotate's dateformat may give: 1, 20261127, 2026-11-27T10:00. */
#define DATE "0123456789-_:TZ"

/* The last ones cannot be unpacked here.  They are taken all the same: reading
 * them is a fault, where a part that is left out would be a bill too low. */
static const char *const packed[] = { "", ".gz", ".zst", ".xz", ".bz2", ".lz4",
	".lzma", ".lz", ".Z" };

bool
files_is_suffix(const char *suffix)
{
	size_t i;

	if ((*suffix == '.' || *suffix == '-' || *suffix == '_') &&
	    isdigit((unsigned char)suffix[1]))
		suffix += 1 + strspn(suffix + 1, DATE);
	for (i = 0; i < sizeof(packed) / sizeof(*packed); i++)
		if (strcmp(suffix, packed[i]) == 0)
			return true;
	return false;
}

/* Takes path.  A file that went away since it was listed is left out. */
static int
add_file(struct files *files, char *path, bool *is_found)
{
	struct file *grown;
	struct stat st;
	size_t i;

	if (path == NULL)
		return -ENOMEM;
	/* what cannot be looked at may be a part of the books: opening it fails */
	if (stat(path, &st) != 0)
		st = (struct stat){ .st_mode = errno == ENOENT ? 0 : S_IFREG };
	if (!S_ISREG(st.st_mode)) {
		free(path);
		return 0;
	}
	*is_found = true;
	for (i = 0; i < files->count; i++) {
		if (files->at[i].dev == st.st_dev &&
		    files->at[i].ino == st.st_ino) {
			free(path);
			return 0;
		}
	}
	grown = reallocarray(files->at, files->count + 1, sizeof(*grown));
	if (grown == NULL) {
		free(path);
		return -ENOMEM;
	}
	files->at = grown;
	files->at[files->count++] = (struct file){ .path = path,
		.dev = st.st_dev, .ino = st.st_ino,
		.size = (uint64_t)st.st_size };
	return 0;
}

/* All of a directory whose names begin with base and end as rotated ones. */
static int
add_from(struct files *files, DIR *dir, const char *prefix, const char *base,
    bool *is_found)
{
	size_t n = strlen(base);
	struct dirent *entry;
	int error = 0;

	while (error == 0 && (entry = readdir(dir)) != NULL) {
		char *path = NULL;

		if (strncmp(entry->d_name, base, n) != 0 ||
		    !files_is_suffix(entry->d_name + n))
			continue;
		if (asprintf(&path, "%s%s", prefix, entry->d_name) < 0)
			path = NULL;
		error = add_file(files, path, is_found);
	}
	return error;
}

/* Whatever is wrong in a file is said when it is read. */
static int
look_at(struct file *file, struct json *json, struct block *block)
{
	struct lines *lines;
	struct place place = { .path = NULL };
	char why[JSON_WHY_MAX];
	struct entry entry;
	int state = lines_open(&lines, file->path, NULL);

	file->time_us = UINT64_MAX;
	if (state == -ENOENT)
		return 0;
	if (state == 0)
		state = lines_fill(lines, block);
	if (state > 0)
		state = 0;
	while (state == 0 && block_next(block, &place)) {
		if (json_read(json, place.text, place.n, &entry, why) != 0)
			continue;
		if (file->time_us == UINT64_MAX)
			file->time_us = entry.time_us;
		if (entry_is_lost(&entry))
			continue;
		file->run = entry.run;
		file->seq = entry.seq;
		break;
	}
	lines_close(lines);
	return state;
}

static int
compare(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	if (x->time_us != y->time_us)
		return x->time_us < y->time_us ? -1 : 1;
	if (x->run != y->run)
		return x->run < y->run ? -1 : 1;
	if (x->seq != y->seq)
		return x->seq < y->seq ? -1 : 1;
	return strcmp(x->path, y->path);
}

/* Those from `from` on, by their first records. */
static int
sort(struct files *files, size_t from)
{
	struct block *block = block_new();
	struct json *json = json_new();
	int error = block == NULL || json == NULL ? -ENOMEM : 0;
	size_t i;

	for (i = from; error == 0 && i < files->count; i++)
		error = look_at(&files->at[i], json, block);
	if (error == -ENOMEM)
		(void)cmd_fail("no memory");
	else if (error == 0 && files->count > from)
		qsort(files->at + from, files->count - from,
		    sizeof(*files->at), compare);
	json_free(json);
	block_free(block);
	return error;
}

/* Those of a path, in no order.  0, -EINVAL: it is no file, or another errno. */
static int
find(struct files *files, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash == NULL ? path : slash + 1;
	char *prefix;
	bool is_found = false;
	struct stat st;
	DIR *dir;
	int error;

	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		/* /dev/null is a ledger of nothing: what else was given is
		 * looked at. */
		return S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) ?
		    0 : -EINVAL;
	prefix = strndup(path, (size_t)(base - path));
	if (prefix == NULL)
		return -ENOMEM;
	dir = opendir(prefix[0] == '\0' ? "." : prefix);
	error = dir == NULL ? -errno :
	    add_from(files, dir, prefix, base, &is_found);
	if (error == 0 && !is_found)
		error = -ENOENT;
	if (dir != NULL)
		(void)closedir(dir);
	free(prefix);
	return error;
}

static int
remember(struct files *files, const char *path)
{
	char **grown = reallocarray(files->asked, files->asked_count + 1,
	    sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	files->asked = grown;
	grown[files->asked_count] = strdup(path);
	if (grown[files->asked_count] == NULL)
		return -ENOMEM;
	files->asked_count++;
	return 0;
}

int
files_add(struct files *files, const char *path)
{
	size_t before = files->count;
	int error = find(files, path);

	if (error == 0)
		error = remember(files, path);
	if (error == -EINVAL)
		(void)cmd_fail("%s is no file; name the log itself", path);
	else if (error != 0)
		(void)cmd_fail("%s: %s", path, strerror(-error));
	return error != 0 ? error : sort(files, before);
}

static bool
holds(const struct files *files, const struct file *file)
{
	size_t i;

	for (i = 0; i < files->count; i++)
		if (files->at[i].dev == file->dev &&
		    files->at[i].ino == file->ino)
			return strcmp(files->at[i].path, file->path) == 0;
	return false;
}

bool
files_changed(const struct files *files)
{
	struct files now = { .count = 0 };
	bool is_changed = false;
	size_t i;

	for (i = 0; i < files->asked_count; i++)
		is_changed |= find(&now, files->asked[i]) != 0;
	is_changed |= now.count != files->count;
	for (i = 0; !is_changed && i < now.count; i++)
		is_changed = !holds(files, &now.at[i]);
	files_free(&now);
	return is_changed;
}

void
files_free(struct files *files)
{
	size_t i;

	for (i = 0; i < files->count; i++)
		free(files->at[i].path);
	for (i = 0; i < files->asked_count; i++)
		free(files->asked[i]);
	free(files->asked);
	free(files->at);
	*files = (struct files){ 0 };
}
