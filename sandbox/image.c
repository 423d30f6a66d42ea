#include "sandbox/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* No link at all, and no way up. */
#define WITHOUT_LINKS \
	(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
/* Links that stay inside: the image is the root of every one. */
#define INSIDE (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

/*
 * Of /etc only what programs need.  Nothing here tells more of the host than
 * its /usr does, and each is a mount at every start: what only some functions
 * need is for `bind`.  That names the host's, so what an interpreter of an image
 * needs of the image's own stands here too, and is not taken of the host.
 */
static const char *const etc_names[] = {
	"ld.so.cache",     /* libraries outside of the usual folders */
	"alternatives",    /* what many links in /usr/bin lead to */
	"ssl/certs",       /* whom TLS trusts */
	"ssl/openssl.cnf", /* the machine's minimum for TLS; making keys */
	"mime.types",      /* types by extension */
	"ImageMagick-6",   /* what it may not decode, and its ceilings */
	"ImageMagick-7",   /* the same */
	"fonts",           /* fontconfig finds no font without it */
	"php",             /* an image's PHP loads no extension without it */
	NULL,
};

static int
open_in(int dir_fd, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC | flags,
		.resolve = resolve };
	/* EAGAIN: a rename or a mount somewhere raced with a ".." of the walk
	 * (openat2(2)), and a busy host mounts without a pause. */
	int tries = 256;
	long fd;

	do
		fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN && --tries > 0);
	return fd < 0 ? -errno : (int)fd;
}

int
image_check_beneath(int dir_fd, const char *path)
{
	int fd = open_in(dir_fd, path, 0, WITHOUT_LINKS);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* ------------------------------------------------------------------ problems */

/* Where a sentence goes: it begins with the image's path. */
struct report {
	const char *path;
	char *problem;
	size_t size;
};

static int __attribute__((format(printf, 4, 5)))
refuse(const struct report *report, int error, const char *name,
    const char *fmt, ...)
{
	char why[256];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	(void)snprintf(report->problem, report->size, "%s%s%s: %s",
	    report->path, name[0] != '\0' ? "/" : "", name, why);
	return error;
}

/* What the kernel said of a name in an image. */
static int
refuse_name(const struct report *report, int error, const char *name)
{
	if (error == -ELOOP)
		return refuse(report, error, name, "a link stands there; an "
		    "image has a folder of its own in this place");
	if (error == -ENOTDIR)
		return refuse(report, error, name, "it is no folder");
	return refuse(report, error, name, "%s", strerror(-error));
}

static int
check_owner(const struct report *report, int fd, const char *name)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return refuse_name(report, -errno, name);
	if ((st.st_uid == 0 || st.st_uid == geteuid()) &&
	    (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return 0;
	return refuse(report, -EPERM, name, "must belong to root (in a "
	    "host of your own: to you) and be writable by nobody else, or "
	    "another could change the programs of functions: chown root and "
	    "chmod go-w");
}

/* ------------------------------------------------------------- its "/" and etc */

/*
 * A link is copied into the sandbox, where it can lead nowhere but into that;
 * one with "..", or one that leads to no folder of the image, is a mistake or
 * worse.
 */
static int
take_link(struct image *image, const struct report *report,
    struct image_link *link)
{
	ssize_t n = readlinkat(image->slash_fd, link->name, link->target,
	    sizeof(link->target) - 1);
	int fd;

	if (n <= 0)
		return refuse_name(report, n < 0 ? -errno : -EIO, link->name);
	link->target[n] = '\0';
	if (image->is_host)
		return 0;
	if (strstr(link->target, "..") != NULL ||
	    (size_t)n == sizeof(link->target) - 1)
		return refuse(report, -ELOOP, link->name, "a link to \"%s\"; "
		    "in an image it leads to a folder below usr",
		    link->target);
	fd = open_in(image->slash_fd, link->name, O_DIRECTORY, INSIDE);
	if (fd < 0)
		return refuse(report, fd, link->name, "a link to \"%s\", which "
		    "is no folder of the image; make it, or remove the link",
		    link->target);
	close(fd);
	return 0;
}

static int
take_folder(const struct image *image, const struct report *report,
    const char *name)
{
	CLEANUP_FD int fd = -1;

	if (image->is_host)
		return 0;
	fd = open_in(image->slash_fd, name, O_DIRECTORY, WITHOUT_LINKS);
	return fd < 0 ? refuse_name(report, fd, name) :
	    check_owner(report, fd, name);
}

static int
find_links(struct image *image, const struct report *report)
{
	static const char *const names[] = { "bin", "sbin", "lib", "lib32",
		"lib64", "libx32" };
	int error = 0;

	_Static_assert(COUNT(names) <= IMAGE_LINKS_MAX, "no name is left out");
	image->link_count = 0;
	for (size_t i = 0; i < COUNT(names) && error == 0; i++) {
		struct image_link *link = &image->link[image->link_count];
		struct stat st;

		if (fstatat(image->slash_fd, names[i], &st,
		        AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		strcpy(link->name, names[i]);
		link->target[0] = '\0';
		if (S_ISLNK(st.st_mode))
			error = take_link(image, report, link);
		else if (S_ISDIR(st.st_mode))
			error = take_folder(image, report, names[i]);
		else if (image->is_host)
			continue;
		else
			error = refuse_name(report, -ENOTDIR, names[i]);
		image->link_count++;
	}
	return error;
}

const char *const *
image_etc_names(void)
{
	return etc_names;
}

static int
open_etc(const struct image *image, const char *name)
{
	char path[64];
	struct stat st;
	int fd;

	(void)snprintf(path, sizeof(path), "etc/%s", name);
	fd = open_in(image->slash_fd, path, 0, INSIDE);
	if (fd >= 0 && (fstat(fd, &st) != 0 ||
	                (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))) {
		close(fd);
		return -EINVAL;
	}
	return fd;
}

int
image_etc(const struct image *image, const char *name)
{
	int fd;

	if (image->etc_fd < 0 || (image->is_host && strcmp(name, "php") == 0))
		return -ENOENT;
	if (!image->is_host)
		return open_etc(image, name);
	fd = openat(image->etc_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -ENOENT : fd;
}

static int
check_etc(const struct image *image, const struct report *report)
{
	for (size_t i = 0; etc_names[i] != NULL; i++) {
		char name[64];
		int fd = image_etc(image, etc_names[i]);

		(void)snprintf(name, sizeof(name), "etc/%s", etc_names[i]);
		/* What is not there is no fault; a link that leads to nothing
		 * in the image was meant to lead elsewhere. */
		if (fd == -ENOENT && image->etc_fd >= 0)
			fd = open_in(image->slash_fd, name, 0, WITHOUT_LINKS);
		if (fd >= 0)
			close(fd);
		if (fd >= 0 || fd == -ENOENT)
			continue;
		if (fd == -ELOOP)
			return refuse(report, fd, name, "a link on the way "
			    "leads to nothing in the image; remove it");
		if (fd == -EINVAL)
			return refuse(report, fd, name, "it is neither a file "
			    "nor a folder; remove it");
		return refuse_name(report, fd, name);
	}
	return 0;
}

/* ------------------------------------------------------------------- opening */

int
image_open_host(struct image *image, const char **step)
{
	const int flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
	const struct report nobody = { "", NULL, 0 };

	image->is_host = true;
	image->slash_fd = open("/", flags);
	image->usr_fd = open("/usr", flags);
	image->etc_fd = open("/etc", flags);
	*step = "the host's /, /usr and /etc";
	if (image->slash_fd < 0 || image->usr_fd < 0 || image->etc_fd < 0)
		return -errno;
	return find_links(image, &nobody);
}

/* Who can write on the way to it must not be able to turn it elsewhere: so no
 * links in the path itself. */
static int
open_slash(struct image *image, const struct report *report)
{
	CLEANUP_FD int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *path = report->path + strspn(report->path, "/");

	if (root < 0 || path[0] == '\0')
		return refuse(report, -EINVAL, "", "is the host's own tree");
	image->slash_fd = open_in(root, path, O_DIRECTORY, WITHOUT_LINKS);
	if (image->slash_fd == -ELOOP)
		return refuse(report, -ELOOP, "", "a link is on the way; write "
		    "the path that it leads to");
	if (image->slash_fd == -ENOENT)
		return refuse(report, -ENOENT, "", "there is no such "
		    "directory; make it with mmdebstrap, as fcgi-host.ini(5) "
		    "says, or take the line out");
	if (image->slash_fd < 0)
		return refuse_name(report, image->slash_fd, "");
	return check_owner(report, image->slash_fd, "");
}

static int
open_folders(struct image *image, const struct report *report)
{
	image->usr_fd = open_in(image->slash_fd, "usr", O_DIRECTORY,
	    WITHOUT_LINKS);
	if (image->usr_fd == -ENOENT)
		return refuse(report, -ENOENT, "usr", "there is no such "
		    "folder; an image holds a whole system, as mmdebstrap "
		    "makes it");
	if (image->usr_fd < 0)
		return refuse_name(report, image->usr_fd, "usr");
	image->etc_fd = open_in(image->slash_fd, "etc", O_DIRECTORY,
	    WITHOUT_LINKS);
	if (image->etc_fd < 0 && image->etc_fd != -ENOENT)
		return refuse_name(report, image->etc_fd, "etc");
	return check_owner(report, image->usr_fd, "usr");
}

int
image_open(struct image *image, const char *path, char *problem, size_t size)
{
	const struct report report = { path, problem, size };
	int error;

	*image = (struct image)IMAGE_CLOSED;
	error = open_slash(image, &report);
	if (error == 0)
		error = open_folders(image, &report);
	if (error == 0 && image->etc_fd >= 0)
		error = check_owner(&report, image->etc_fd, "etc");
	if (error == 0)
		error = find_links(image, &report);
	if (error == 0)
		error = check_etc(image, &report);
	if (error != 0)
		image_close(image);
	return error;
}

void
image_close(struct image *image)
{
	close_fd(&image->slash_fd);
	close_fd(&image->usr_fd);
	close_fd(&image->etc_fd);
	image->link_count = 0;
}

/* ----------------------------------------------------------------- questions */

static bool
is_same_folder(int a, int b)
{
	struct stat left, right;

	if (a < 0 || b < 0)
		return a < 0 && b < 0;
	return fstat(a, &left) == 0 && fstat(b, &right) == 0 &&
	    left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

bool
image_is_same(const struct image *a, const struct image *b)
{
	return is_same_folder(a->slash_fd, b->slash_fd) &&
	    is_same_folder(a->usr_fd, b->usr_fd) &&
	    is_same_folder(a->etc_fd, b->etc_fd);
}

/* Whether a sandbox has what stands below the first name of the path. */
static bool
is_taken(const struct image *image, const char *path)
{
	size_t n = strcspn(path, "/");

	if (n == 3 && memcmp(path, "usr", 3) == 0)
		return true;
	for (size_t i = 0; i < image->link_count; i++)
		if (strlen(image->link[i].name) == n &&
		    memcmp(path, image->link[i].name, n) == 0)
			return true;
	return false;
}

int
image_find_program(const struct image *image, const char *path)
{
	CLEANUP_FD int fd = -1;
	struct stat st;

	path += strspn(path, "/");
	if (!is_taken(image, path))
		return -ENOENT;
	fd = open_in(image->slash_fd, path, 0, INSIDE);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) != 0)
		return -errno;
	return S_ISREG(st.st_mode) && (st.st_mode & 0111) != 0 ? 0 : -EACCES;
}
