#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/cmd_check.h"

#define TCP_LISTEN 0x0a
#define HEX_MAX 32
#define OURS "fcgi-host"

/* An address as /proc/net/tcp and tcp6 write it. */
struct place {
	const char *table;
	char hex[HEX_MAX + 1];
	unsigned port;
};

/* Of "127.0.0.1:9000" or "[::1]:9000"; false: a path. */
static bool
place_of(const char *listen, struct place *place)
{
	char host[INET6_ADDRSTRLEN + 2];
	const char *colon = strrchr(listen, ':');
	size_t n = colon == NULL ? 0 : (size_t)(colon - listen);
	struct in6_addr six;
	struct in_addr four;

	if (listen[0] == '/' || n < 2 || n >= sizeof(host))
		return false;
	place->port = (unsigned)strtoul(colon + 1, NULL, 10);
	memcpy(host, listen, n);
	host[n] = '\0';
	if (host[0] != '[' && inet_pton(AF_INET, host, &four) == 1) {
		place->table = "/proc/net/tcp";
		(void)snprintf(place->hex, sizeof(place->hex), "%08X",
		    four.s_addr);
		return true;
	}
	host[n - 1] = '\0';
	if (inet_pton(AF_INET6, host + 1, &six) != 1)
		return false;
	place->table = "/proc/net/tcp6";
	for (size_t i = 0; i < 4; i++)
		(void)snprintf(place->hex + i * 8, 9, "%08X",
		    six.s6_addr32[i]);
	return true;
}

static bool
is_any(const char *hex)
{
	return hex[strspn(hex, "0")] == '\0';
}

/* The inode of a socket that listens where ours would, or 0. */
static unsigned long
listener_at(const struct place *place)
{
	FILE *table = fopen(place->table, "re");
	char line[512], hex[HEX_MAX + 1];
	unsigned long inode = 0, found = 0;
	unsigned port, state;

	if (table == NULL)
		return 0;
	while (found == 0 && fgets(line, sizeof(line), table) != NULL) {
		if (sscanf(line, "%*d: %32[0-9A-F]:%x %*[0-9A-F]:%*x %x "
		    "%*x:%*x %*x:%*x %*x %*u %*d %lu", hex, &port, &state,
		    &inode) != 4 || state != TCP_LISTEN || port != place->port)
			continue;
		if (strcmp(hex, place->hex) == 0 || is_any(hex) ||
		    is_any(place->hex))
			found = inode;
	}
	(void)fclose(table);
	return found;
}

static bool
has_socket(int proc_fd, const char *pid, unsigned long inode)
{
	char path[40], wanted[40], target[40];
	const struct dirent *entry;
	bool has = false;
	DIR *fds;
	int fd;

	(void)snprintf(path, sizeof(path), "%.20s/fd", pid);
	(void)snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fds = fd < 0 ? NULL : fdopendir(fd);
	if (fds == NULL)
		return false;
	while (!has && (entry = readdir(fds)) != NULL) {
		ssize_t n = readlinkat(fd, entry->d_name, target,
		    sizeof(target) - 1);

		target[n > 0 ? n : 0] = '\0';
		has = strcmp(target, wanted) == 0;
	}
	(void)closedir(fds);
	return has;
}

/* What the kernel calls the process. */
static void
name_of(const char *pid, char *name, size_t size)
{
	char path[40];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	file = fopen(path, "re");
	if (file == NULL || fgets(name, (int)size, file) == NULL)
		(void)snprintf(name, size, "a program");
	name[strcspn(name, "\n")] = '\0';
	if (file != NULL)
		(void)fclose(file);
}

/* A host that runs, and the service manager, which holds its sockets for it,
 * are no hindrance. */
static bool
is_hindrance(const char *pid, const char *name)
{
	return strcmp(pid, "1") != 0 &&
	    strncmp(name, OURS, sizeof(OURS) - 1) != 0;
}

static void
check_holder(const char *listen, unsigned long inode,
    struct findings *findings)
{
	DIR *proc = opendir("/proc");
	const struct dirent *entry;
	char pid[24] = "", name[64];

	while (proc != NULL && (entry = readdir(proc)) != NULL) {
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    !has_socket(dirfd(proc), entry->d_name, inode))
			continue;
		(void)snprintf(pid, sizeof(pid), "%.20s", entry->d_name);
		name_of(pid, name, sizeof(name));
		/* one of several that share it may be ours */
		if (!is_hindrance(pid, name))
			break;
	}
	if (proc != NULL)
		(void)closedir(proc);
	if (pid[0] != '\0' && is_hindrance(pid, name))
		findings_add(findings, FINDING_ERROR, "[host] listen: %s "
		    "(process %s) listens on %s already; end it, or write "
		    "another port", name, pid, listen);
}

void
check_listen(const struct conf *conf, struct findings *findings)
{
	/* only root can see whose a socket is */
	for (size_t i = 0; i < conf->listen_count && geteuid() == 0; i++) {
		struct place place;
		unsigned long inode = 0;

		if (place_of(conf->listen[i], &place))
			inode = listener_at(&place);
		if (inode != 0)
			check_holder(conf->listen[i], inode, findings);
	}
}
