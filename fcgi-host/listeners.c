#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/listeners.h"
#include "fcgi-host/log.h"
#include "fcgi-host/notify.h"
#include "fcgi-host/sock.h"

#define LISTEN_BACKLOG 4096 /* the kernel lowers it to somaxconn */
#define WHERE_MAX 128

static int
find_group(const struct conf *conf, gid_t *gid, char *problem, size_t size)
{
	const struct group *group;

	*gid = (gid_t)-1;
	if (conf->listen_group == NULL || conf->listen_group[0] == '\0')
		return 0;
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

static int
place(struct listeners *listeners, const struct conf *conf,
    struct given_fd *given, char *problem, size_t size)
{
	char where[WHERE_MAX];
	int i;

	if (!sock_is_listening(given->fd)) {
		snprintf(problem, size, "descriptor %d (%s), which the "
		    "service manager hands over, is no stream socket that "
		    "listens; its .socket unit needs ListenStream= and "
		    "Accept=no", given->number, given->name);
		return -EPROTOTYPE;
	}
	i = match(conf, given->fd);
	sock_where(given->fd, where, sizeof(where));
	if (i < 0) {
		snprintf(problem, size, "descriptor %d (%s), which the "
		    "service manager hands over, listens on %s, and no [host] "
		    "listen names that; add it there, or take it out of the "
		    ".socket unit", given->number, given->name, where);
		return -EADDRNOTAVAIL;
	}
	if (listeners->fd[i] >= 0) {
		snprintf(problem, size, "descriptor %d (%s), which the "
		    "service manager hands over, listens on %s, and so does "
		    "an earlier one; one .socket unit is to have it",
		    given->number, given->name, where);
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

static void
give_up(struct given_fd *given, const char *where, const char *why)
{
	log_event(LOG_INFO, "listen_given_up", "on=\"%s\" why=\"%s\"", where,
	    why);
	if (where[0] == '/' && sock_is_reached_by(given->fd, where))
		(void)unlink(where);
	notify_unstore(given->name);
	close_fd(&given->fd);
}

static void
place_stored(struct listeners *listeners, const struct conf *conf, gid_t gid,
    struct given_fd *given)
{
	char where[WHERE_MAX];
	int i = match(conf, given->fd);

	sock_where(given->fd, where, sizeof(where));
	if (i < 0 || !sock_is_listening(given->fd)) {
		give_up(given, where, "no `listen` names it any more");
	} else if (listeners->fd[i] >= 0) {
		/* Its file is the other's now. */
		notify_unstore(given->name);
		close_fd(&given->fd);
	} else if (where[0] == '/' &&
	    (!sock_is_reached_by(given->fd, where) ||
	    sock_set_access(where, conf->listen_mode, gid) != 0)) {
		give_up(given, where, "its path does not lead to it any more");
	} else {
		listeners->fd[i] = steal_fd(&given->fd);
		listeners->is_ours[i] = true;
		log_event(LOG_INFO, "listen_kept", "on=\"%s\"", where);
	}
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
place_all(struct listeners *listeners, const struct conf *conf, gid_t gid,
    struct given *given, char *problem, size_t size)
{
	int error = 0;
	size_t i;

	for (i = 0; i < given->count && error == 0; i++)
		if (!was_stored(&given->at[i]))
			error = place(listeners, conf, &given->at[i], problem,
			    size);
	for (i = 0; i < given->count && error == 0; i++)
		if (was_stored(&given->at[i]))
			place_stored(listeners, conf, gid, &given->at[i]);
	return error;
}

int
listeners_open(struct listeners *listeners, const struct conf *conf,
    struct given *given, char *problem, size_t size)
{
	int error;
	size_t i;
	gid_t gid;

	listeners->count = conf->listen_count;
	for (i = 0; i < listeners->count; i++) {
		listeners->fd[i] = -1;
		listeners->is_ours[i] = false;
	}
	error = find_group(conf, &gid, problem, size);
	if (error == 0)
		error = place_all(listeners, conf, gid, given, problem, size);
	for (i = 0; i < listeners->count && error == 0; i++)
		if (listeners->fd[i] < 0)
			error = make(listeners, conf, i, gid, problem, size);
	given_close(given);
	return error;
}

void
listeners_close(struct listeners *listeners, const struct conf *conf,
    bool is_for_good)
{
	bool is_stored = notify_is_heard() && !is_for_good;
	char name[NOTIFY_NAME_MAX];
	size_t i;

	for (i = 0; i < listeners->count; i++) {
		close_fd(&listeners->fd[i]);
		if (!listeners->is_ours[i] || is_stored)
			continue;
		name_stored(conf->listen[i], name);
		notify_unstore(name);
		if (conf->listen[i][0] == '/')
			(void)unlink(conf->listen[i]);
	}
	listeners->count = 0;
}
