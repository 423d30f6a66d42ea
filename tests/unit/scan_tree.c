#include "tests/unit/scan_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/loop.h"
#include "fcgi-host/sock.h"

static size_t
place_of(const struct scan_tree *tree, const char *name)
{
	size_t i;

	for (i = 0; i < tree->count; i++)
		if (strcmp(tree->entries[i].info.name, name) == 0)
			break;
	return i;
}

/* What the spawner would refuse as a lie is a failure here. */
static void
check_message(const struct ctl_function *info)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_FN_PUT);
	msg.u.function = *info;
	if (ctl_msg_check(&msg, msg.size, info->has_env,
	    CTL_WAY_SCANNER_TO_SPAWNER) != 0)
		fail_msg("%s: the spawner would not take the report",
		    info->name);
	if (info->problem != CTL_PROBLEM_NONE && info->detail[0] == '\0')
		fail_msg("%s: a problem without a sentence", info->name);
}

static void
report_put(void *arg, const struct ctl_function *info, const struct buf *env)
{
	struct scan_tree *tree = arg;
	size_t place = place_of(tree, info->name);
	struct scan_tree_entry *entry;

	check_message(info);
	if (place == tree->count && tree->count == tree->size) {
		tree->size = tree->size == 0 ? 64 : tree->size * 2;
		tree->entries = reallocarray(tree->entries, tree->size,
		    sizeof(*tree->entries));
		assert_non_null(tree->entries);
	}
	entry = &tree->entries[place];
	if (place == tree->count) {
		memset(entry, 0, sizeof(*entry));
		tree->count++;
	}
	entry->info = *info;
	entry->env_length = buf_len(env);
	assert_true(entry->env_length <= sizeof(entry->env));
	if (entry->env_length > 0)
		memcpy(entry->env, env->data + env->start, entry->env_length);
	assert_int_equal(info->has_env, entry->env_length > 0);
	entry->puts++;
	tree->puts++;
}

static void
report_del(void *arg, const char *name)
{
	struct scan_tree *tree = arg;
	size_t place = place_of(tree, name);

	if (place == tree->count)
		fail_msg("%s: taken back, and was never reported", name);
	tree->entries[place] = tree->entries[--tree->count];
	tree->dels++;
}

void
scan_tree_set_conf(struct scan_tree *tree, const char *conf)
{
	struct conf_errors errors = { .count = 0 };
	struct conf *read;
	char text[8192];
	int fd;

	snprintf(text, sizeof(text), "[host]\nlisten = %s/listen\n"
	    "functions = %s\naccounting = %s/log\nrun = %s/run\nstate = "
	    "%s/state\n%s", tree->parent, tree->root, tree->parent,
	    tree->parent, tree->parent, conf);
	fd = sock_sealed("conf", text, strlen(text));
	assert_true(fd >= 0);
	read = conf_read(fd, "test.ini", &errors);
	if (read == NULL)
		fail_msg("%.*s", (int)buf_len(&errors.text),
		    (const char *)buf_head(&errors.text));
	close(fd);
	conf_errors_free(&errors);
	scan_set_conf(tree->scan, read);
	conf_unref(read);
}

void
scan_tree_open(struct scan_tree *tree, const char *conf, bool is_watched)
{
	scan_tree_open_bounded(tree, conf, is_watched, 0, 0);
}

void
scan_tree_open_bounded(struct scan_tree *tree, const char *conf,
    bool is_watched, size_t names_max, size_t envs_max)
{
	struct scan_setup setup = { .own_uid = getuid(),
		.names_max = names_max, .envs_max = envs_max,
		.report = { report_put, report_del, tree } };

	memset(tree, 0, sizeof(*tree));
	umask(022);
	strcpy(tree->parent, "/tmp/fcgi-host-scan-XXXXXX");
	assert_non_null(mkdtemp(tree->parent));
	assert_int_equal(chmod(tree->parent, 0755), 0);
	snprintf(tree->root, sizeof(tree->root), "%s/functions",
	    tree->parent);
	assert_int_equal(mkdir(tree->root, 0755), 0);
	tree->root_fd = open(tree->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(tree->root_fd >= 0);
	tree->users_fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	assert_true(tree->users_fd >= 0);
	if (is_watched) {
		tree->watch = scan_watch_new();
		assert_non_null(tree->watch);
		assert_int_equal(scan_watch_parent(tree->watch,
		    tree->root_fd), 0);
	}
	setup.root_fd = tree->root_fd;
	setup.users_fd = tree->users_fd;
	setup.watch = tree->watch;
	tree->scan = scan_new(&setup);
	assert_non_null(tree->scan);
	scan_tree_set_conf(tree, conf);
}

/* Moves what is in the folder `name` into `path`. */
static void
flatten(const char *path, const char *name, unsigned *number)
{
	DIR *stream = opendir(name);
	struct dirent *entry;
	char from[2048], to[2048];

	assert_non_null(stream);
	while ((entry = readdir(stream)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(from, sizeof(from), "%s/%s", name, entry->d_name);
		snprintf(to, sizeof(to), "%s/moved-%u", path, (*number)++);
		assert_int_equal(rename(from, to), 0);
	}
	closedir(stream);
}

/* Going down by one folder at a time, since a path may be too long: what is in
 * a folder is moved up until the folder is empty. */
static void
remove_tree(const char *path)
{
	char name[1024];
	static unsigned number;
	struct dirent *entry;
	bool is_again = true;

	while (is_again) {
		DIR *stream = opendir(path);

		assert_non_null(stream);
		is_again = false;
		while ((entry = readdir(stream)) != NULL) {
			if (strcmp(entry->d_name, ".") == 0 ||
			    strcmp(entry->d_name, "..") == 0)
				continue;
			snprintf(name, sizeof(name), "%s/%s", path,
			    entry->d_name);
			if (unlink(name) == 0 || rmdir(name) == 0)
				continue;
			is_again = true;
			flatten(path, name, &number);
		}
		closedir(stream);
	}
	assert_int_equal(rmdir(path), 0);
}

void
scan_tree_close(struct scan_tree *tree)
{
	scan_free(tree->scan);
	scan_watch_free(tree->watch);
	close(tree->root_fd);
	close(tree->users_fd);
	free(tree->entries);
	assert_int_equal(chdir("/"), 0);
	remove_tree(tree->parent);
}

const char *
scan_tree_path(const struct scan_tree *tree, const char *path)
{
	static char places[4][8192];
	static unsigned next;
	char *place = places[next++ % 4];

	snprintf(place, sizeof(places[0]), "%s/%s", tree->root, path);
	return place;
}

void
scan_tree_mkdir(const struct scan_tree *tree, const char *path)
{
	const struct timespec long_ago[2] = { { .tv_sec = 1000000000 },
		{ .tv_sec = 1000000000 } };
	char all[4096];
	size_t i;

	snprintf(all, sizeof(all), "%s", path);
	for (i = 1; all[i] != '\0'; i++) {
		if (all[i] != '/')
			continue;
		all[i] = '\0';
		(void)mkdir(scan_tree_path(tree, all), 0755);
		all[i] = '/';
	}
	if (mkdir(scan_tree_path(tree, all), 0755) != 0)
		assert_int_equal(errno, EEXIST);
	assert_int_equal(utimensat(AT_FDCWD, scan_tree_path(tree, all),
	    long_ago, 0), 0);
}

static void
write_file(const struct scan_tree *tree, const char *path, const char *text,
    mode_t mode)
{
	const struct timespec long_ago[2] = { { .tv_sec = 1000000000 },
		{ .tv_sec = 1000000000 } };
	const char *slash = strrchr(path, '/');
	char folder[4096];
	int fd;

	if (slash != NULL) {
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path),
		    path);
		scan_tree_mkdir(tree, folder);
	}
	fd = open(scan_tree_path(tree, path), O_WRONLY | O_CREAT | O_TRUNC |
	    O_CLOEXEC, mode);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(futimens(fd, long_ago), 0);
	close(fd);
	if (slash != NULL)
		scan_tree_mkdir(tree, folder);
}

void
scan_tree_write(const struct scan_tree *tree, const char *path,
    const char *text)
{
	write_file(tree, path, text, 0644);
}

void
scan_tree_program(const struct scan_tree *tree, const char *path,
    const char *text)
{
	write_file(tree, path, text, 0755);
}

void
scan_tree_link(const struct scan_tree *tree, const char *target,
    const char *path)
{
	assert_int_equal(symlink(target, scan_tree_path(tree, path)), 0);
}

int
scan_tree_scan(struct scan_tree *tree)
{
	return scan_all(tree->scan);
}

/* One turn of what the scanner's loop does. */
static void
turn(struct scan_tree *tree, uint64_t until_us)
{
	struct pollfd events = { scan_watch_fd(tree->watch), POLLIN, 0 };
	uint64_t due_us = scan_due_us(tree->scan), now_us = loop_clock_us();

	if (due_us > until_us)
		due_us = until_us;
	(void)poll(&events, 1, due_us <= now_us ? 0 :
	    (int)((due_us - now_us) / 1000) + 1);
	if ((events.revents & POLLIN) != 0) {
		(void)poll(NULL, 0, 10);
		assert_int_equal(scan_take_events(tree->scan), 0);
	}
	scan_step(tree->scan);
}

bool
scan_tree_await(struct scan_tree *tree,
    bool (*claim)(struct scan_tree *tree, const char *name), const char *name,
    unsigned for_ms)
{
	uint64_t until_us = loop_clock_us() + for_ms * 1000ULL;

	while (!claim(tree, name)) {
		if (loop_clock_us() >= until_us)
			return false;
		turn(tree, until_us);
	}
	return true;
}

struct scan_tree_entry *
scan_tree_find(struct scan_tree *tree, const char *name)
{
	size_t place = place_of(tree, name);

	return place == tree->count ? NULL : &tree->entries[place];
}

bool
scan_tree_is_served(struct scan_tree *tree, const char *name)
{
	const struct scan_tree_entry *entry = scan_tree_find(tree, name);

	return entry != NULL && entry->info.problem == CTL_PROBLEM_NONE;
}

bool
scan_tree_is_absent(struct scan_tree *tree, const char *name)
{
	return scan_tree_find(tree, name) == NULL;
}

bool
scan_tree_is_writing(struct scan_tree *tree, const char *name)
{
	const struct scan_tree_entry *entry = scan_tree_find(tree, name);

	return entry != NULL && entry->info.problem == CTL_PROBLEM_WRITING;
}

bool
scan_tree_never(struct scan_tree *tree, const char *name)
{
	(void)tree;
	(void)name;
	return false;
}

void
scan_tree_refused(struct scan_tree *tree, const char *name,
    enum ctl_problem problem, const char *words)
{
	const struct scan_tree_entry *entry = scan_tree_find(tree, name);

	if (entry == NULL)
		fail_msg("%s is not reported", name);
	if (entry->info.problem != problem)
		fail_msg("%s has problem %u (%s), not %u", name,
		    entry->info.problem, entry->info.detail, problem);
	if (strstr(entry->info.detail, words) == NULL)
		fail_msg("%s: \"%s\" does not say \"%s\"", name,
		    entry->info.detail, words);
}

const struct ctl_function *
scan_tree_served(struct scan_tree *tree, const char *name, const char *path,
    const char *tenant, const char *runtime, bool is_fastcgi)
{
	const struct scan_tree_entry *entry = scan_tree_find(tree, name);

	if (entry == NULL || entry->info.problem != CTL_PROBLEM_NONE)
		fail_msg("%s is not served: %s", name,
		    entry == NULL ? "not found" : entry->info.detail);
	assert_string_equal(entry->info.path, path);
	assert_string_equal(entry->info.tenant, tenant);
	assert_string_equal(entry->info.runtime, runtime);
	assert_int_equal(entry->info.is_fastcgi, is_fastcgi);
	return &entry->info;
}

int
scan_tree_set_up(void **state)
{
	struct scan_tree *tree = calloc(1, sizeof(*tree));

	scan_tree_open(tree, SCAN_TREE_CONF, false);
	*state = tree;
	return 0;
}

int
scan_tree_tear_down(void **state)
{
	scan_tree_close(*state);
	free(*state);
	return 0;
}
