/*
 * `fcgi-host new`: a starter of a language, and its sidecar, in the functions
 * directory.  The folder may be a tenant's, who can change it meanwhile: nothing
 * is followed, nothing is replaced, and each file is whole when it has its name.
 */
#include "fcgi-host/cmd_new.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/log.h"
#include "fcgi-host/sock.h"

#define FILE_NAME_MAX 255

struct made {
	const struct starter *starter;
	const struct conf *conf;  /* NULL: a directory was named */
	const char *directory, *name;
	char stem[FILE_NAME_MAX + 1]; /* the name's last part */
	int folder_fd;
	struct stat folder;
};

static const struct starter *
find_starter(const char *language)
{
	for (size_t i = 0; i < starter_count; i++)
		if (strcmp(starters[i].language, language) == 0)
			return &starters[i];
	return NULL;
}

static int
unknown_language(const struct cmd_verb *verb, const char *language)
{
	char all[200] = "";

	for (size_t i = 0; i < starter_count; i++) {
		size_t n = strlen(all);

		(void)snprintf(all + n, sizeof(all) - n, " %s",
		    starters[i].language);
	}
	return cmd_wrong(verb, "there is no starter for \"%s\"; there is one "
	    "for:%s", language, all);
}

static bool
is_main(const char *stem, size_t n)
{
	return (n == 4 && memcmp(stem, "main", n) == 0) ||
	    (n == 5 && memcmp(stem, "index", n) == 0);
}

/* What follows the name and its dot in a file's name, if that makes it the same
 * function's file. */
static bool
is_taken_by(const struct made *made, const char *file)
{
	size_t n = strlen(made->stem);
	const char *extension = file + n + 1;

	if (strncmp(file, made->stem, n) != 0)
		return false;
	if (file[n] == '\0')
		return true;
	if (file[n] != '.')
		return false;
	if (strcmp(extension, "ini") == 0 || strcmp(extension, "cgi") == 0 ||
	    strcmp(extension, "fcgi") == 0)
		return true;
	if (made->conf != NULL &&
	    conf_runtime_by_extension(made->conf, extension) != NULL)
		return true;
	for (size_t i = 0; i < starter_count; i++)
		if (strcmp(extension, starters[i].extension) == 0)
			return true;
	return false;
}

/* The file's name is the tenant's, and rules no terminal. */
static int
in_function(const struct made *made, const char *file)
{
	char shown[4 * FILE_NAME_MAX + 5];

	return cmd_fail("%s is in a folder that is a function itself, by its "
	    "%s; choose another name", made->name, log_value(shown,
	    sizeof(shown), file, strlen(file)));
}

/* Of the last folder: whether the name is free; of one on the way: whether it is
 * none that is a function. */
static int
look_through(int fd, struct made *made, bool is_last)
{
	DIR *dir = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY |
	    O_CLOEXEC));
	const struct dirent *entry;
	int code = CMD_DONE;

	if (dir == NULL)
		return cmd_fail("%s: %s", made->directory, strerror(errno));
	while (code == CMD_DONE && (entry = readdir(dir)) != NULL) {
		if (is_last && is_taken_by(made, entry->d_name))
			code = cmd_fail("%s is there already, as %s; choose "
			    "another name, or take it away first", made->name,
			    entry->d_name);
		else if (!is_last && is_main(entry->d_name,
		    strcspn(entry->d_name, ".")))
			code = in_function(made, entry->d_name);
	}
	(void)closedir(dir);
	return code;
}

/* One folder down, made where it is missing. */
static int
step_down(struct made *made, const char *part)
{
	int fd;

	if (mkdirat(made->folder_fd, part, 0755) != 0 && errno != EEXIST)
		return cmd_fail("the folder %s of %s: %s", part, made->name,
		    strerror(errno));
	fd = openat(made->folder_fd, part,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return cmd_fail("the folder %s of %s: %s", part, made->name,
		    errno == ENOTDIR || errno == ELOOP ?
		    "it is no folder, but a file or a link" : strerror(errno));
	close(made->folder_fd);
	made->folder_fd = fd;
	return look_through(fd, made, false);
}

static int
open_folder(struct made *made)
{
	char path[CTL_NAME_MAX + 1], *part = path, *slash;
	int code = CMD_DONE;

	(void)snprintf(path, sizeof(path), "%s", made->name);
	made->folder_fd = open(made->directory,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (made->folder_fd < 0)
		return cmd_fail("%s: %s", made->directory, strerror(errno));
	for (; code == CMD_DONE && (slash = strchr(part, '/')) != NULL;
	    part = slash + 1) {
		*slash = '\0';
		code = step_down(made, part);
	}
	if (code == CMD_DONE)
		code = look_through(made->folder_fd, made, true);
	if (code == CMD_DONE && fstat(made->folder_fd, &made->folder) != 0)
		code = cmd_fail("%s: %s", made->directory, strerror(errno));
	return code;
}

static int
write_all(int fd, const char *text)
{
	size_t left = strlen(text);

	while (left > 0) {
		ssize_t n = write(fd, text, left);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		left -= (size_t)n;
	}
	return 0;
}

/* A folder's owner, if root makes it, else he could not change it. */
static int
fill(const struct made *made, int fd, const char *text, mode_t mode)
{
	int error = write_all(fd, text);

	if (error == 0 && geteuid() == 0 &&
	    fchown(fd, made->folder.st_uid, made->folder.st_gid) != 0)
		error = -errno;
	if (error == 0 && fchmod(fd, mode) != 0)
		error = -errno;
	if (error == 0 && fsync(fd) != 0)
		error = -errno;
	return error;
}

static int
put_file(const struct made *made, const char *extension, const char *text,
    mode_t mode)
{
	char name[FILE_NAME_MAX + 16], hidden[FILE_NAME_MAX + 48];
	int fd, error;

	(void)snprintf(name, sizeof(name), "%s.%s", made->stem, extension);
	(void)snprintf(hidden, sizeof(hidden), ".%s.%d", name, (int)getpid());
	fd = openat(made->folder_fd, hidden,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return cmd_fail("%s: %s", hidden, strerror(errno));
	error = fill(made, fd, text, mode);
	close(fd);
	if (error == 0 && renameat2(made->folder_fd, hidden, made->folder_fd,
	    name, RENAME_NOREPLACE) != 0)
		error = -errno;
	if (error == 0)
		return CMD_DONE;
	(void)unlinkat(made->folder_fd, hidden, 0);
	return cmd_fail("%s: %s", name, strerror(-error));
}

/* The sidecar first: the function is never seen without it. */
static int
put_both(const struct made *made)
{
	char sidecar[FILE_NAME_MAX + 16];
	int code = put_file(made, "ini", starter_sidecar, 0644);

	if (code != CMD_DONE)
		return code;
	code = put_file(made, made->starter->extension, made->starter->text,
	    made->starter->mode);
	if (code != CMD_DONE) {
		(void)snprintf(sidecar, sizeof(sidecar), "%s.ini", made->stem);
		(void)unlinkat(made->folder_fd, sidecar, 0);
		return code;
	}
	printf("%s/%s.%s\n%s/%s.ini\n", made->directory, made->name,
	    made->starter->extension, made->directory, made->name);
	return CMD_DONE;
}

static int
judge(const struct cmd_verb *verb, struct made *made)
{
	const char *slash = strrchr(made->name, '/');
	const char *dot;

	if (!ctl_name_ok(made->name))
		return cmd_wrong(verb, "\"%s\" cannot be a function's name: "
		    "small letters, digits, and . _ - behind the first, for a "
		    "tenant's with his folder before, as alice/hello",
		    made->name);
	(void)snprintf(made->stem, sizeof(made->stem), "%s",
	    slash == NULL ? made->name : slash + 1);
	dot = strrchr(made->stem, '.');
	if (dot != NULL && strcmp(dot + 1, made->starter->extension) == 0)
		return cmd_wrong(verb, "\"%s\" has the extension already, "
		    "which is added; leave it out", made->name);
	if (is_main(made->stem, strlen(made->stem)))
		return cmd_wrong(verb, "a file called %s would make a function "
		    "of its folder; choose another name", made->stem);
	if (made->conf == NULL || conf_runtime_by_extension(made->conf,
	    made->starter->extension) != NULL)
		return CMD_DONE;
	return cmd_fail("%s: no [runtime] has the extension %s; take its section "
	    "from the sample configuration", made->conf->file,
	    made->starter->extension);
}

int
cmd_new(const struct cmd_verb *verb, int argc, char **argv)
{
	const char *file = DEFAULT_CONFIG;
	struct made made = { .folder_fd = -1 };
	const struct cmd_option options[] = {
		CMD_OPTION_CONF(&file),
		{ 'd', "directory", "DIRECTORY", "where, instead of the "
		    "functions directory", NULL, &made.directory, NULL },
	};
	struct conf *conf = NULL;
	char **operands;
	int code;

	if (!cmd_options(verb, options, sizeof(options) / sizeof(options[0]),
	    argc, argv, &operands, &code))
		return code;
	if (operands[0] == NULL || operands[1] == NULL || operands[2] != NULL)
		return cmd_wrong(verb, "name a language and the function");
	made.starter = find_starter(operands[0]);
	if (made.starter == NULL)
		return unknown_language(verb, operands[0]);
	made.name = operands[1];
	if (made.directory == NULL) {
		conf = cmd_conf(file);
		if (conf == NULL)
			return CMD_FAILED;
		made.conf = conf;
		made.directory = conf->functions;
	}
	/* a folder that others write would not be served */
	umask(022);
	code = judge(verb, &made);
	if (code == CMD_DONE)
		code = open_folder(&made);
	if (code == CMD_DONE)
		code = put_both(&made);
	close_fd(&made.folder_fd);
	conf_unref(conf);
	return code;
}
