#include "fcgi-host/scan_look.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fcgi-host/scan_name.h"

void
scan_look_again(struct scan_look *look, int64_t when_ns)
{
	if (look->again_ns == 0 || when_ns < look->again_ns)
		look->again_ns = when_ns;
}

/* Messages carry printable text, and nothing behind its end. */
static void
clean_text(char *text, size_t size)
{
	size_t length = strnlen(text, size - 1);

	for (size_t i = 0; i < length; i++)
		if (text[i] < 0x20 || text[i] > 0x7e)
			text[i] = '?';
	memset(text + length, 0, size - length);
}

struct scan_entry *
scan_look_entry(struct scan_look *look, const char *name)
{
	struct scan_entry *entry = scan_entry_new(name);

	if (entry == NULL)
		look->error = -ENOMEM;
	else
		SCAN_SET(entry->info.tenant, look->tenant->name);
	return entry;
}

static void
add(struct scan_look *look, struct scan_entry *entry)
{
	clean_text(entry->info.name, sizeof(entry->info.name));
	clean_text(entry->info.path, sizeof(entry->info.path));
	clean_text(entry->info.detail, sizeof(entry->info.detail));
	clean_text(entry->info.pass_params, sizeof(entry->info.pass_params));
	if (scan_table_add(&look->found, entry) != 0)
		look->error = -ENOMEM;
}

void
scan_look_add(struct scan_look *look, struct scan_entry *entry)
{
	bool is_served = scan_entry_is_served(entry);
	size_t *count = is_served ? &look->served : &look->problems;

	if (*count == (is_served ? SCAN_SERVED_MAX : SCAN_PROBLEMS_MAX)) {
		scan_look_leave_out(look, entry->info.name);
		scan_entry_free(entry);
		return;
	}
	(*count)++;
	add(look, entry);
}

void
scan_look_leave_out(struct scan_look *look, const char *name)
{
	if (look->left_out++ == 0)
		SCAN_SET(look->first_left_out, name);
}

void
scan_look_end(struct scan_look *look)
{
	struct scan_entry *entry;

	if (look->left_out == 0)
		return;
	entry = scan_look_entry(look, look->first_left_out);
	if (entry == NULL)
		return;
	entry->info.problem = CTL_PROBLEM_MANY;
	snprintf(entry->info.detail, sizeof(entry->info.detail), "this and "
	    "%zu more names are left out: of one tenant the host knows %d "
	    "functions and %d files that are none", look->left_out - 1,
	    SCAN_SERVED_MAX, SCAN_PROBLEMS_MAX);
	add(look, entry);
}

void
scan_look_refuse(struct scan_look *look, const char *name, const char *path,
    enum ctl_problem problem, const char *fmt, ...)
{
	struct scan_entry *entry = scan_look_entry(look, name);
	va_list args;

	if (entry == NULL)
		return;
	SCAN_SET(entry->info.path, path);
	entry->info.problem = (uint8_t)problem;
	va_start(args, fmt);
	vsnprintf(entry->info.detail, sizeof(entry->info.detail), fmt, args);
	va_end(args);
	scan_look_add(look, entry);
}

bool
scan_owner_ok(const struct scan_look *look, uid_t uid)
{
	return uid == 0 || (look->own_uid != 0 && uid == look->own_uid) ||
	    (look->tenant->has_uid && uid == look->tenant->uid);
}

bool
scan_tenant_may(const struct scan_look *look, const struct scan_item *item,
    mode_t bit)
{
	bool is_owner = item->uid != 0 ||
	    (look->tenant->has_uid && look->tenant->uid == 0);

	return (item->mode & (is_owner ? bit << 6 : bit)) != 0;
}

/* What to type after chown. */
static const char *
right_owner(const struct scan_look *look)
{
	return look->tenant->has_uid ? look->tenant->user : "root";
}

enum ctl_problem
scan_check_folder(const struct scan_look *look, const struct scan_item *item,
    const char *path, bool is_function, char detail[CTL_DETAIL_MAX + 1])
{
	/* A group may share a folder of functions, since each file in it is
	 * judged; the files in a function's own folder are not. */
	mode_t bad = is_function ? 022 : 02;

	if (!scan_owner_ok(look, item->uid)) {
		snprintf(detail, CTL_DETAIL_MAX + 1, "the folder's owner is "
		    "uid %u: chown %s %s", item->uid, right_owner(look), path);
		return CTL_PROBLEM_OWNER;
	}
	if ((item->mode & bad) != 0) {
		snprintf(detail, CTL_DETAIL_MAX + 1, "others may write into "
		    "the folder (mode %04o): chmod %s-w %s",
		    item->mode & 07777, is_function ? "go" : "o", path);
		return CTL_PROBLEM_MODE;
	}
	return CTL_PROBLEM_NONE;
}

/* A link to a folder that it stands in makes a loop of paths. */
static bool
leads_up(const struct scan_place *place, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return false;
	for (; place != NULL; place = place->up)
		if (place->id.dev == st.st_dev && place->id.ino == st.st_ino)
			return true;
	return false;
}

/* Follows the link, within the functions directory only, to learn where it
 * leads; nothing is opened but a path. */
static int
follow(const struct scan_look *look, const struct scan_file *file)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	char path[CTL_NAME_MAX + 1 + 256];
	long fd;

	if (scan_join(path, sizeof(path), file->place->prefix,
	    file->item->name, strlen(file->item->name)) != 0)
		return -ENAMETOOLONG;
	fd = syscall(SYS_openat2, look->root_fd, path, &how, sizeof(how));
	return fd >= 0 ? (int)fd : -errno;
}

enum ctl_problem
scan_check_link(const struct scan_look *look, const struct scan_file *file,
    const char *path, char detail[CTL_DETAIL_MAX + 1])
{
	int fd = follow(look, file);
	bool is_loop = fd == -ELOOP || (fd >= 0 && leads_up(file->place, fd));
	enum ctl_problem problem = CTL_PROBLEM_LINK;
	const char *where = "";

	if (fd >= 0)
		close(fd);
	if (is_loop) {
		problem = CTL_PROBLEM_LOOP;
		where = " that leads to itself or to a folder above";
	} else if (fd == -EXDEV) {
		problem = CTL_PROBLEM_LINK_OUT;
		where = " out of the functions directory";
	} else if (fd == -ENOENT) {
		where = " that leads nowhere";
	}
	snprintf(detail, CTL_DETAIL_MAX + 1, "%.120s is a link%s: put the file "
	    "itself in its place", path, where);
	return problem;
}
