#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/lock.h"
#include "fcgi-host/log.h"
#include "fcgi-host/places.h"
#include "fcgi-host/sock.h"
#include "fcgi-host/takeover.h"
#include "sandbox/userns.h"

#define CONTROL_SOCKET "control.sock"
/* A host that has said its last word is a moment later gone. */
#define LOCK_WAIT_MS 2000
#define INFLIGHT_TABLE "inflight"
#define BUDGETS_TABLE "budgets"
#define TABLE_WAIT_MS 5000
#define CONTROL_BACKLOG 16
#define CGROUP_PREFIX "fcgi-host"

/* Writes the sentence; returns error, so that a caller can return it. */
__attribute__((format(printf, 4, 5)))
static int
fail(int error, char *problem, size_t size, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(problem, size, fmt, args);
	va_end(args);
	return error;
}

static int
find_user(struct places *places, const struct conf *conf, char *problem,
    size_t size)
{
	const struct passwd *entry;

	/* An ordinary user's: there is one id. */
	places->uid = places->gid = 0;
	if (userns_is_single())
		return 0;
	entry = getpwnam(conf->user);
	if (entry == NULL)
		return fail(-ENOENT, problem, size, "there is no account "
		    "\"%s\" for gateway and scanner; create it (adduser "
		    "--system --group %s) or name another: [host] user",
		    conf->user, conf->user);
	if (entry->pw_uid == 0 || entry->pw_gid == 0)
		return fail(-EPERM, problem, size, "[host] user = %s has "
		    "root's rights, and gateway and scanner are to have none; "
		    "name an account that owns nothing", conf->user);
	places->uid = entry->pw_uid;
	places->gid = entry->pw_gid;
	return 0;
}

/* What only root may write; sticky directories are not good enough, because
 * names in them can be taken before we come. */
static bool
is_strangers(const struct stat *st)
{
	return st->st_uid != 0 || (st->st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

static int
lock_within(int fd, unsigned within_ms)
{
	const struct timespec pause = { 0, 10000000 };
	unsigned ms;

	for (ms = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; ms += 10) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (ms >= within_ms)
			return -EBUSY;
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

/* A host whose sockets are gone hands nothing over. */
static int
fail_locked(int fd, const char *path, const char *key, char *problem,
    size_t size)
{
	bool is_run = strcmp(key, "run") == 0;
	char who[48] = "";
	struct stat st;
	pid_t owner = fstat(fd, &st) == 0 ? lock_owner(&st) : 0;

	if (owner > 0)
		snprintf(who, sizeof(who), " (process %d)", (int)owner);
	if (is_run && faccessat(fd, TAKEOVER_SOCKET, F_OK, 0) != 0)
		return fail(-EBUSY, problem, size, "another host%s runs in %s, "
		    "but its sockets there are gone: the directory was "
		    "emptied; stop that host by SIGTERM, then start this one, "
		    "or give this one a `run` of its own", who, path);
	return fail(-EBUSY, problem, size, "another host%s runs in %s; stop "
	    "it,%s or give this one a `%s` of its own", who, path, is_run ?
	    " or start this one with --takeover in its place," : "", key);
}

/* A directory of root's own at an absolute path, made if it is missing. */
static int
open_own(const char *path, const char *key, unsigned lock_within_ms,
    char *problem, size_t size)
{
	CLEANUP_FD int fd = -1;
	struct stat st;

	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return fail(-errno, problem, size, "%s (%s) cannot be made: "
		    "%s", path, key, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		return fail(-errno, problem, size, "%s (%s) cannot be opened: "
		    "%s", path, key, strerror(errno));
	if (is_strangers(&st) && userns_is_single())
		return fail(-EPERM, problem, size, "%s (%s) must belong to "
		    "you and be writable by you alone: chmod go-w %s, or name "
		    "another", path, key, path);
	if (is_strangers(&st))
		return fail(-EPERM, problem, size, "%s (%s) must belong to "
		    "root and be writable by root alone: chown root %s; chmod "
		    "go-w %s", path, key, path, path);
	if (lock_within(fd, lock_within_ms) != 0)
		return fail_locked(fd, path, key, problem, size);
	return steal_fd(&fd);
}

/* A directory below one of ours, with exactly this owner and mode. */
static int
open_below(int dir_fd, const char *name, uid_t uid, gid_t gid, mode_t mode,
    char *problem, size_t size)
{
	CLEANUP_FD int fd = -1;

	if (mkdirat(dir_fd, name, 0700) != 0 && errno != EEXIST)
		return fail(-errno, problem, size, "the directory %s cannot "
		    "be made: %s", name, strerror(errno));
	fd = openat(dir_fd, name,
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchown(fd, uid, gid) != 0 || fchmod(fd, mode) != 0)
		return fail(-errno, problem, size, "the directory %s cannot "
		    "be used: %s", name, strerror(errno));
	return steal_fd(&fd);
}

/* Unlinks what a predecessor left; directories stay, nobody makes any. */
static int
empty(int dir_fd)
{
	int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *entry;

	if (dir == NULL) {
		close_fd(&copy);
		return -errno;
	}
	while ((entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			(void)unlinkat(dir_fd, entry->d_name, 0);
	closedir(dir);
	return 0;
}

static int
open_directories(struct places *places, const struct conf *conf,
    unsigned lock_within_ms, char *problem, size_t size)
{
	const struct {
		int *fd;
		const int *dir_fd;
		const char *name;
		uid_t uid;
		gid_t gid;
		mode_t mode;
		bool is_emptied;
	} below[] = {
		/* data: what a tenant leaves there, a setuid program of his
		 * number's too, nobody on the machine is to reach */
		{ &places->instances_fd, &places->run_fd, "instances", 0,
		    places->gid, 0710, true },
		{ &places->spool_fd, &places->state_fd, "spool", places->uid,
		    places->gid, 0700, true },
		{ &places->data_fd, &places->state_fd, "data", 0, 0, 0700,
		    false },
	};
	size_t i;

	places->run_fd = open_own(conf->run, "run", lock_within_ms, problem,
	    size);
	if (places->run_fd < 0)
		return places->run_fd;
	places->state_fd = open_own(conf->state, "state", lock_within_ms,
	    problem, size);
	if (places->state_fd < 0)
		return places->state_fd;
	for (i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
		*below[i].fd = open_below(*below[i].dir_fd, below[i].name,
		    below[i].uid, below[i].gid, below[i].mode, problem, size);
		if (*below[i].fd < 0)
			return *below[i].fd;
		if (below[i].is_emptied && empty(*below[i].fd) != 0)
			return fail(-EIO, problem, size, "the directory %s "
			    "cannot be read: %s", below[i].name,
			    strerror(errno));
	}
	return 0;
}

/* What others may write cannot be believed, whoever owns the files in it: they
 * could put one function in another's place. */
static int
open_functions(struct places *places, const struct conf *conf, char *problem,
    size_t size)
{
	struct stat st;

	places->functions_fd = open(conf->functions,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (places->functions_fd < 0)
		return fail(-errno, problem, size, "the functions directory "
		    "%s cannot be opened: %s; make it, or name another: [host] "
		    "functions", conf->functions, strerror(errno));
	if (fstat(places->functions_fd, &st) == 0 &&
	    (st.st_mode & S_IWOTH) != 0)
		return fail(-EPERM, problem, size, "[host] functions: whoever "
		    "is on this machine can drop functions into %s: chmod o-w "
		    "%s", conf->functions, conf->functions);
	return 0;
}

int
places_size_inflight(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return -errno;
	if (st.st_size != CTL_INFLIGHT_BYTES &&
	    ftruncate(fd, CTL_INFLIGHT_BYTES) != 0)
		return -errno;
	/* Written to through a mapping, a hole on a full disk is fatal. */
	return -posix_fallocate(fd, 0, CTL_INFLIGHT_BYTES);
}

/* A file of root's own in one of our directories, which a gateway writes to.  Locked
 * as long as any process has it open or mapped. */
static int
open_table(int dir_fd, const char *name, const char *key, char *problem,
    size_t size)
{
	CLEANUP_FD int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC |
	    O_NOFOLLOW | O_NONBLOCK, 0600);
	struct stat st;
	int error;

	if (fd < 0 || fstat(fd, &st) != 0)
		return fail(-errno, problem, size, "%s in `%s` cannot be "
		    "opened: %s; remove it", name, key, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_uid != 0 || st.st_nlink != 1 ||
	    (st.st_mode & 077) != 0)
		return fail(-EPERM, problem, size, "%s in `%s` is not the "
		    "table that a host leaves (a regular file, root's, 0600, "
		    "one link); remove it", name, key);
	error = lock_within(fd, TABLE_WAIT_MS);
	if (error != 0)
		return fail(error, problem, size, "the gateway of a host that "
		    "died still holds %s in `%s`: %s; end that process (fuser "
		    "finds it)", name, key, strerror(-error));
	return steal_fd(&fd);
}

int
places_open_inflight(const struct places *places, char *problem, size_t size)
{
	CLEANUP_FD int fd = open_table(places->run_fd, INFLIGHT_TABLE, "run",
	    problem, size);
	int error;

	if (fd < 0)
		return fd;
	error = places_size_inflight(fd);
	if (error != 0)
		return fail(error, problem, size, INFLIGHT_TABLE " in `run` "
		    "cannot have its %d bytes: %s", CTL_INFLIGHT_BYTES,
		    strerror(-error));
	return steal_fd(&fd);
}

int
places_open_budgets(const struct places *places, char *problem, size_t size)
{
	return open_table(places->state_fd, BUDGETS_TABLE, "state", problem,
	    size);
}

void
places_remove_inflight(const struct places *places)
{
	(void)unlinkat(places->run_fd, INFLIGHT_TABLE, 0);
}

int
places_renew_functions(struct places *places, const struct conf *conf)
{
	CLEANUP_FD int fd = open(conf->functions,
	    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat now, before;

	if (fd < 0 || fstat(fd, &now) != 0 ||
	    fstat(places->functions_fd, &before) != 0)
		return -errno;
	if (now.st_dev == before.st_dev && now.st_ino == before.st_ino)
		return 0;
	log_event((now.st_mode & S_IWOTH) != 0 ? LOG_WARN : LOG_INFO,
	    "functions_replaced", "path=\"%s\"%s", conf->functions,
	    (now.st_mode & S_IWOTH) != 0 ? " why=\"whoever is on this machine "
	    "can drop functions into it\" mend=\"chmod o-w\"" : "");
	return dup3(fd, places->functions_fd, O_CLOEXEC) < 0 ? -errno : 0;
}

/* RUN is root's and locked, so whatever stands there is a dead host's. */
static int
open_control(int run_fd, const char *name, gid_t gid, mode_t mode)
{
	CLEANUP_FD int fd = socket(AF_UNIX,
	    SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path),
	    "/proc/self/fd/%d/%s", run_fd, name);
	(void)unlinkat(run_fd, name, 0);
	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    fchownat(run_fd, name, 0, gid, AT_SYMLINK_NOFOLLOW) != 0 ||
	    fchmodat(run_fd, name, mode, 0) != 0 ||
	    listen(fd, CONTROL_BACKLOG) != 0)
		return -errno;
	return steal_fd(&fd);
}

static int
open_controls(struct places *places, const struct conf *conf, char *problem,
    size_t size)
{
	int fd = open_control(places->run_fd, TAKEOVER_SOCKET, 0, 0600);

	places->takeover_fd = fd;
	if (fd >= 0)
		places->control_fd = fd = open_control(places->run_fd,
		    CONTROL_SOCKET, places->gid, 0660);
	if (fd < 0)
		return fail(fd, problem, size, "cannot listen in %s: %s",
		    conf->run, strerror(-fd));
	return 0;
}

/* *is_taken: there was one to take over from. */
static int
take_over(struct places *places, const struct conf *conf, struct given *given,
    bool *is_taken, char *problem, size_t size)
{
	CLEANUP_FD int fd = takeover_ask(conf->run, given, problem, size);
	int error;

	carried_take(&places->carried, given);
	*is_taken = fd >= 0;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	error = listeners_open(&places->listeners, conf, given, problem, size);
	return error != 0 ? error : takeover_go(fd, problem, size);
}

static int
open_all(struct places *places, const struct conf *conf, struct given *given,
    bool is_takeover, char *problem, size_t size)
{
	int error = find_user(places, conf, problem, size);
	bool is_taken = false;

	carried_take(&places->carried, given);
	if (error == 0)
		error = open_functions(places, conf, problem, size);
	if (error == 0 && is_takeover)
		error = take_over(places, conf, given, &is_taken, problem,
		    size);
	if (error == 0)
		error = open_directories(places, conf,
		    is_taken ? LOCK_WAIT_MS : 0, problem, size);
	if (error == 0 && !is_taken)
		error = listeners_open(&places->listeners, conf, given,
		    problem, size);
	if (error == 0)
		error = listeners_settle(&places->listeners, conf, given,
		    problem, size);
	return error == 0 ? open_controls(places, conf, problem, size) : error;
}

int
places_open(struct places *places, const struct conf *conf,
    struct given *given, bool is_takeover, char *problem, size_t size)
{
	int error;

	*places = (struct places){ .run_fd = -1, .state_fd = -1,
		.instances_fd = -1, .spool_fd = -1, .data_fd = -1,
		.functions_fd = -1, .control_fd = -1, .takeover_fd = -1,
		.carried = CARRIED_INIT };
	error = open_all(places, conf, given, is_takeover, problem, size);
	if (error != 0)
		listeners_close(&places->listeners, conf, LISTENERS_STOP);
	else
		carried_open(&places->carried);
	given_close(given);
	return error;
}

void
places_close(struct places *places, const struct conf *conf,
    enum listeners_end end)
{
	listeners_close(&places->listeners, conf, end);
	carried_close(&places->carried);
	if (places->control_fd >= 0)
		(void)unlinkat(places->run_fd, CONTROL_SOCKET, 0);
	if (places->takeover_fd >= 0)
		(void)unlinkat(places->run_fd, TAKEOVER_SOCKET, 0);
	close_fd(&places->control_fd);
	close_fd(&places->takeover_fd);
	if (places->instances_fd >= 0)
		(void)empty(places->instances_fd);
	close_fd(&places->functions_fd);
	close_fd(&places->data_fd);
	close_fd(&places->spool_fd);
	close_fd(&places->instances_fd);
	close_fd(&places->state_fd);
	close_fd(&places->run_fd);
}

/* The directory of a file, as a descriptor; *name is the last name. */
static int
open_parent(const char *path, const char **name, char *problem, size_t size)
{
	const char *slash = strrchr(path, '/');
	CLEANUP_FD int fd = -1;
	struct stat st;
	char *parent;

	if (path[0] != '/' || slash[1] == '\0')
		return fail(-EINVAL, problem, size,
		    "%s is no absolute path of a file", path);
	*name = slash + 1;
	parent = strndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (parent == NULL)
		return fail(-ENOMEM, problem, size, "out of memory");
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(parent);
	if (fd < 0 || fstat(fd, &st) != 0)
		return fail(-errno, problem, size, "the directory of %s "
		    "cannot be opened: %s", path, strerror(errno));
	if (is_strangers(&st))
		return fail(-EPERM, problem, size, "the directory of %s must "
		    "belong to %s and be writable by nobody else, or another "
		    "could put a file of his own there", path,
		    userns_is_single() ? "you" : "root");
	return steal_fd(&fd);
}

static const char *
mend_of_open(int error)
{
	switch (error) {
	case ELOOP:
		return " (a link; name the file itself)";
	case EPERM:
		return "; is it immutable? chattr -i takes that away";
	case EACCES:
		return "; let root write it, or name another";
	case EROFS:
		return "; mount its file system writable, or name another";
	default:
		return "";
	}
}

int
places_open_log(const char *path, int flags, gid_t gid, char *problem,
    size_t size)
{
	const char *name = NULL;
	CLEANUP_FD int fd = -1;
	CLEANUP_FD int dir = open_parent(path, &name, problem, size);
	struct stat st;

	if (dir < 0)
		return dir;
	/* NONBLOCK: a pipe that somebody put there must not hang the host. */
	flags |= O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	fd = openat(dir, name, flags | O_CREAT | O_EXCL, 0640);
	if (fd >= 0 && (fchmod(fd, 0640) != 0 || fchown(fd, 0, gid) != 0))
		return fail(-errno, problem, size, "%s: cannot be given to "
		    "root's hands: %s", path, strerror(errno));
	/* a record that is synced is of no use in a file without a name */
	if (fd >= 0)
		(void)fsync(dir);
	if (fd < 0 && errno == EEXIST)
		fd = openat(dir, name, flags);
	if (fd < 0 || fstat(fd, &st) != 0)
		return fail(-errno, problem, size, "%s cannot be opened: %s%s",
		    path, strerror(errno), mend_of_open(errno));
	if (!S_ISREG(st.st_mode))
		return fail(-EINVAL, problem, size, "%s is no regular file; "
		    "remove it, or name another", path);
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) != 0)
		return fail(-errno, problem, size, "%s: %s", path,
		    strerror(errno));
	return steal_fd(&fd);
}

void
places_cgroup_name(const struct places *places, char *out, size_t size)
{
	struct stat st;

	if (fstat(places->run_fd, &st) != 0)
		st.st_dev = st.st_ino = 0;
	snprintf(out, size, CGROUP_PREFIX "-%llx-%llx",
	    (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
}
