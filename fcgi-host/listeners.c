#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/listeners.h"
#include "fcgi-host/log.h"
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

int
listeners_open(struct listeners *listeners, const struct conf *conf,
    struct given *given, char *problem, size_t size)
{
	int error = 0;
	size_t i;
	gid_t gid;

	listeners->count = conf->listen_count;
	for (i = 0; i < listeners->count; i++) {
		listeners->fd[i] = -1;
		listeners->is_ours[i] = false;
	}
	for (i = 0; i < given->count && error == 0; i++)
		error = place(listeners, conf, &given->at[i], problem, size);
	if (error == 0)
		error = find_group(conf, &gid, problem, size);
	for (i = 0; i < listeners->count && error == 0; i++)
		if (listeners->fd[i] < 0)
			error = make(listeners, conf, i, gid, problem, size);
	given_close(given);
	return error;
}

void
listeners_close(struct listeners *listeners, const struct conf *conf)
{
	size_t i;

	for (i = 0; i < listeners->count; i++) {
		close_fd(&listeners->fd[i]);
		if (listeners->is_ours[i] && conf->listen[i][0] == '/')
			(void)unlink(conf->listen[i]);
	}
	listeners->count = 0;
}
