#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/listeners.h"
#include "fcgi-host/log.h"
#include "fcgi-host/notify.h"
#include "fcgi-host/sock.h"
#include "sandbox/userns.h"

#define LISTEN_BACKLOG 4096 /* the kernel lowers it to somaxconn */
#define WHERE_MAX 128

static int
find_group(const struct conf *conf, gid_t *gid, char *problem, size_t size)
{
	const struct group *group;

	*gid = (gid_t)-1;
	if (conf->listen_group == NULL || conf->listen_group[0] == '\0')
		return 0;
	if (userns_is_single()) {
		snprintf(problem, size, "[host] listen_group = %s: an ordinary "
		    "user's host can give its socket to no group; take the "
		    "line out, and write listen_mode = 0666 if the web server "
		    "runs as another", conf->listen_group);
		return -EPERM;
	}
	group = getgrnam(conf->listen_group);
	if (group == NULL) {
		snprintf(problem, size, "there is no group \"%s\"; [host] "
		    "listen_group is the web server's, on Debian www-data",
		    conf->listen_group);
		return -ENOENT;
	}
	*gid = group->gr_gid;
	return 0;
}

/* The `listen` that a descriptor stands for; -1: none. */
static int
match(const struct conf *conf, int fd)
{
	size_t i;

	for (i = 0; i < conf->listen_count; i++)
		if (sock_is_bound_to(fd, conf->listen[i]))
			return (int)i;
	return -1;
}

/* ---------------------------------------------- of the service manager's own */

static bool
was_stored(const struct given_fd *given)
{
	return strncmp(given->name, LISTENERS_STORED,
	    strlen(LISTENERS_STORED)) == 0;
}

/* Two descriptors of one socket. */
static bool
is_same(int a, int b)
{
	struct stat of_a, of_b;

	return fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0 &&
	    of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

static int
place(struct listeners *listeners, const struct conf *conf,
    struct given_fd *given, char *problem, size_t size)
{
	char where[WHERE_MAX];
	int i;

	if (!sock_is_listening(given->fd)) {
		snprintf(problem, size, "descriptor %d (%s), which was "
		    "handed over, is no stream socket that listens; a .socket "
		    "unit needs ListenStream= and Accept=no", given->number,
		    given->name);
		return -EPROTOTYPE;
	}
	i = match(conf, given->fd);
	sock_where(given->fd, where, sizeof(where));
	if (i < 0) {
		snprintf(problem, size, "descriptor %d (%s), which was "
		    "handed over, listens on %s, and no [host] listen names "
		    "that; add it there, or take it out of the .socket unit",
		    given->number, given->name, where);
		return -EADDRNOTAVAIL;
	}
	if (conf->listen[i][0] == '/' &&
	    !sock_is_reached_by(given->fd, conf->listen[i])) {
		snprintf(problem, size, "descriptor %d (%s), which was "
		    "handed over, listens on %s, but that path no longer "
		    "leads to it, so nobody can connect; restart the .socket "
		    "unit", given->number, given->name, where);
		return -ENOENT;
	}
	/* one .socket unit's, handed to the host that runs and to this one */
	if (listeners->fd[i] >= 0 &&
	    strcmp(given->name, LISTENERS_HANDED_ON) == 0 &&
	    is_same(listeners->fd[i], given->fd)) {
		close_fd(&given->fd);
		return 0;
	}
	if (listeners->fd[i] >= 0) {
		snprintf(problem, size, "descriptor %d (%s), which was "
		    "handed over, listens on %s, and so does an earlier one; "
		    "one .socket unit is to have it", given->number,
		    given->name, where);
		return -EADDRINUSE;
	}
	listeners->fd[i] = steal_fd(&given->fd);
	log_event(LOG_INFO, "listen_given", "on=\"%s\" name=\"%s\"", where,
	    given->name);
	return 0;
}

/* ------------------------------------------------------- of an earlier run */

/* Two addresses may have one name: what is taken out of the store by its name is
 * put in again by listeners_store, if it serves. */
static void
name_stored(const char *where, char name[NOTIFY_NAME_MAX])
{
	size_t i;

	snprintf(name, NOTIFY_NAME_MAX, LISTENERS_STORED "%s", where);
	for (i = 0; name[i] != '\0'; i++)
		if (name[i] <= 0x20 || name[i] > 0x7e || name[i] == ':' ||
		    name[i] == '"')
			name[i] = '_';
}

/* What is of no use stays where it is, for listeners_settle. */
static void
place_back(struct listeners *listeners, const struct conf *conf,
    struct given_fd *given)
{
	int i = match(conf, given->fd);

	if (i < 0 || listeners->fd[i] >= 0 || !sock_is_listening(given->fd) ||
	    (conf->listen[i][0] == '/' &&
	    !sock_is_reached_by(given->fd, conf->listen[i])))
		return;
	listeners->fd[i] = steal_fd(&given->fd);
	listeners->is_back[i] = true;
	log_event(LOG_INFO, "listen_kept", "on=\"%s\"", conf->listen[i]);
}

/* No `listen` names it any more; or another has its place, perhaps the same
 * socket by another way: then its file is the other's. */
static void
give_up(const struct conf *conf, struct given_fd *given)
{
	char where[WHERE_MAX], name[NOTIFY_NAME_MAX];

	sock_where(given->fd, where, sizeof(where));
	log_event(LOG_INFO, "listen_given_up", "on=\"%s\"", where);
	if (where[0] == '/' && match(conf, given->fd) < 0 &&
	    sock_is_reached_by(given->fd, where))
		(void)unlink(where);
	name_stored(where, name);
	notify_unstore(name);
	close_fd(&given->fd);
}

void
listeners_store(const struct listeners *listeners, const struct conf *conf)
{
	char name[NOTIFY_NAME_MAX];
	size_t i;

	for (i = 0; i < listeners->count; i++) {
		if (!listeners->is_ours[i])
			continue;
		name_stored(conf->listen[i], name);
		notify_store(listeners->fd[i], name);
	}
}

/* -------------------------------------------------------------------- all */

static int
make(struct listeners *listeners, const struct conf *conf, size_t i, gid_t gid,
    char *problem, size_t size)
{
	const char *where = conf->listen[i];
	int fd = where[0] == '/' ?
	    sock_listen_unix(where, conf->listen_mode, gid, LISTEN_BACKLOG) :
	    sock_listen_tcp(where, LISTEN_BACKLOG);

	if (fd < 0) {
		snprintf(problem, size, "cannot listen on %s: %s%s", where,
		    strerror(-fd), fd == -EADDRINUSE ?
		    "; another program listens there" : "");
		return fd;
	}
	listeners->fd[i] = fd;
	listeners->is_ours[i] = true;
	return 0;
}

static int
place_all(struct listeners *listeners, const struct conf *conf,
    struct given *given, char *problem, size_t size)
{
	int error = 0;
	size_t i;

	for (i = 0; i < given->count && error == 0; i++)
		if (given->at[i].fd >= 0 && !was_stored(&given->at[i]))
			error = place(listeners, conf, &given->at[i], problem,
			    size);
	for (i = 0; i < given->count && error == 0; i++)
		if (given->at[i].fd >= 0 && was_stored(&given->at[i]))
			place_back(listeners, conf, &given->at[i]);
	return error;
}

int
listeners_open(struct listeners *listeners, const struct conf *conf,
    struct given *given, char *problem, size_t size)
{
	int error;
	size_t i;
	gid_t gid;

	*listeners = (struct listeners){ .count = conf->listen_count };
	for (i = 0; i < listeners->count; i++)
		listeners->fd[i] = -1;
	error = find_group(conf, &gid, problem, size);
	if (error == 0)
		error = place_all(listeners, conf, given, problem, size);
	for (i = 0; i < listeners->count && error == 0; i++)
		if (listeners->fd[i] < 0)
			error = make(listeners, conf, i, gid, problem, size);
	return error;
}

int
listeners_settle(struct listeners *listeners, const struct conf *conf,
    struct given *given, char *problem, size_t size)
{
	gid_t gid = (gid_t)-1;
	int error = find_group(conf, &gid, problem, size);
	size_t i;

	for (i = 0; i < given->count; i++)
		if (given->at[i].fd >= 0)
			give_up(conf, &given->at[i]);
	for (i = 0; i < listeners->count && error == 0; i++) {
		if (!listeners->is_back[i])
			continue;
		listeners->is_back[i] = false;
		listeners->is_ours[i] = true;
		if (conf->listen[i][0] == '/')
			error = sock_set_access(conf->listen[i],
			    conf->listen_mode, gid);
		if (error != 0)
			snprintf(problem, size, "the mode and group of %s "
			    "cannot be set: %s", conf->listen[i],
			    strerror(-error));
	}
	return error;
}

void
listeners_close(struct listeners *listeners, const struct conf *conf,
    enum listeners_end end)
{
	bool is_left = end == LISTENERS_HANDED ||
	    (end == LISTENERS_STOP && notify_stores());
	char name[NOTIFY_NAME_MAX];
	size_t i;

	for (i = 0; i < listeners->count; i++) {
		close_fd(&listeners->fd[i]);
		if (!listeners->is_ours[i] || is_left)
			continue;
		name_stored(conf->listen[i], name);
		notify_unstore(name);
		if (conf->listen[i][0] == '/')
			(void)unlink(conf->listen[i]);
	}
	listeners->count = 0;
}
