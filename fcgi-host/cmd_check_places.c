#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/chain_file.h"
#include "fcgi-host/cmd.h"
#include "fcgi-host/cmd_check.h"
#include "fcgi-host/cmd_program.h"
#include "fcgi-host/sock.h"
#include "sandbox/userns.h"

void
findings_add(struct findings *findings, enum finding_weight weight,
    const char *fmt, ...)
{
	struct finding *grown = reallocarray(findings->at,
	    findings->count + 1, sizeof(*grown));
	va_list args;
	int n;

	/* Counted even where there is no memory for its words. */
	findings->counts[weight]++;
	if (grown == NULL)
		return;
	findings->at = grown;
	grown += findings->count;
	va_start(args, fmt);
	n = vasprintf(&grown->text, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	grown->weight = weight;
	findings->count++;
}

void
findings_free(struct findings *findings)
{
	size_t i;

	for (i = 0; i < findings->count; i++)
		free(findings->at[i].text);
	free(findings->at);
	memset(findings, 0, sizeof(*findings));
}

/* Whose host it is says its directory, or who wrote its file. */
static bool
is_own_host(const struct conf *conf)
{
	struct stat st;

	return (stat(conf->run, &st) == 0 || stat(conf->file, &st) == 0) &&
	    st.st_uid == geteuid();
}

void
check_enter(const struct conf *conf, struct findings *findings)
{
	char problem[512] = "";

	if (geteuid() == 0)
		return;
	if (!is_own_host(conf))
		findings_add(findings, FINDING_WARNING, "not checked as root, "
		    "as whom the host runs: what only root can see or do is "
		    "judged as if it were missing");
	else if (userns_enter(problem, sizeof(problem)) != 0)
		findings_add(findings, FINDING_ERROR, "%s", problem);
	else
		findings_add(findings, FINDING_NOTE, "judged as a host that "
		    "you start yourself, in a user namespace; layers that are "
		    "off are weaker for want of root, and require = refuses "
		    "them");
}

static void
check_user(const struct conf *conf, struct findings *findings)
{
	const struct passwd *entry = getpwnam(conf->user);

	/* there is one id, and it is no account's */
	if (userns_is_single())
		return;
	if (entry == NULL)
		findings_add(findings, FINDING_ERROR, "[host] user: there is "
		    "no account %s; make it: adduser --system --group %s",
		    conf->user, conf->user);
	else if (entry->pw_uid == 0 || entry->pw_gid == 0)
		findings_add(findings, FINDING_ERROR, "[host] user: %s has "
		    "root's rights; name an account that owns nothing",
		    conf->user);
}

static void
check_group(const struct conf *conf, struct findings *findings)
{
	if (userns_is_single()) {
		if (conf->listen_group != NULL)
			findings_add(findings, FINDING_ERROR, "[host] "
			    "listen_group: an ordinary user's host can give "
			    "its socket to no group; take the line out, and "
			    "write listen_mode = 0666 if the web server runs "
			    "as another");
		return;
	}
	if (conf->listen_group != NULL && getgrnam(conf->listen_group) == NULL)
		findings_add(findings, FINDING_ERROR, "[host] listen_group: "
		    "there is no group %s; write the web server's, on Debian "
		    "www-data", conf->listen_group);
	else if (conf->listen_group == NULL && (conf->listen_mode & 06) != 06)
		findings_add(findings, FINDING_WARNING, "[host] listen_group "
		    "is not set, so that only root can connect; write the web "
		    "server's group, on Debian www-data");
}

static void
check_shared_user(const struct conf *conf, size_t i, struct findings *findings)
{
	const struct conf_section *tenants = conf->tenants;
	size_t j = 0;

	while (j < i && (tenants[j].settings.user == NULL ||
	    strcmp(tenants[j].settings.user, tenants[i].settings.user) != 0))
		j++;
	if (j < i)
		findings_add(findings, FINDING_WARNING, "[tenant %s] user: %s "
		    "is tenant %s's too, so that no owner of a file keeps the "
		    "two apart, and their processes count together; give each "
		    "an account of its own", tenants[i].name,
		    tenants[i].settings.user, tenants[j].name);
}

static void
check_tenants(const struct conf *conf, struct findings *findings)
{
	size_t i;

	for (i = 0; i < conf->tenant_count; i++) {
		const char *name = conf->tenants[i].name;
		const char *user = conf->tenants[i].settings.user;
		const struct passwd *entry;

		if (user == NULL)
			continue;
		entry = getpwnam(user);
		if (userns_is_single())
			findings_add(findings, FINDING_ERROR, "[tenant %s] "
			    "user: an ordinary user's host has no id but his "
			    "own; take the line out, or start the host as "
			    "root", name);
		else if (entry == NULL)
			findings_add(findings, FINDING_ERROR, "[tenant %s] "
			    "user: there is no account %s; make it, or take "
			    "the line out for an id of uid_range", name, user);
		else if (entry->pw_uid == 0)
			findings_add(findings, FINDING_ERROR, "[tenant %s] "
			    "user: %s is root; name another account", name,
			    user);
		else if (strcmp(user, conf->user) == 0)
			findings_add(findings, FINDING_ERROR, "[tenant %s] "
			    "user: %s is the account of gateway and scanner, "
			    "whom a function could then harm; name another",
			    name, user);
		else
			check_shared_user(conf, i, findings);
	}
}

static void
check_uid_range(const struct conf *conf, struct findings *findings)
{
	const struct passwd *entry;

	if (userns_is_single())
		return;
	setpwent();
	while ((entry = getpwent()) != NULL) {
		if (entry->pw_uid < conf->uid_first ||
		    entry->pw_uid - conf->uid_first >= conf->uid_count)
			continue;
		findings_add(findings, FINDING_ERROR, "[host] uid_range: the "
		    "account %s has the id %u of it, so that a tenant's "
		    "functions could be that account; choose a range that "
		    "nobody uses", entry->pw_name, (unsigned)entry->pw_uid);
		break;
	}
	endpwent();
}

void
check_accounts(const struct conf *conf, struct findings *findings)
{
	check_user(conf, findings);
	check_group(conf, findings);
	check_tenants(conf, findings);
	check_uid_range(conf, findings);
}

static bool
is_strangers(const struct stat *st)
{
	return st->st_uid != 0 || (st->st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

/* A directory in which the host makes files as root. */
static void
check_own(const char *path, const char *key, bool is_made,
    struct findings *findings)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		if (errno != ENOENT || !is_made)
			findings_add(findings, FINDING_ERROR, "%s: %s: %s; "
			    "make it: install -d -m 0755 %s", key, path,
			    strerror(errno), path);
		return;
	}
	if (!S_ISDIR(st.st_mode))
		findings_add(findings, FINDING_ERROR, "%s: %s is no "
		    "directory; name another", key, path);
	else if ((st.st_mode & S_ISVTX) != 0)
		findings_add(findings, FINDING_ERROR, "%s: %s is everybody's, "
		    "so that another could put files of his own there; name a "
		    "directory that is root's alone", key, path);
	else if (is_strangers(&st) && userns_is_single())
		findings_add(findings, FINDING_ERROR, "%s: %s must belong to "
		    "you and be writable by you alone, or another could put "
		    "files of his own there: chmod go-w %s, or name another",
		    key, path, path);
	else if (is_strangers(&st))
		findings_add(findings, FINDING_ERROR, "%s: %s must belong to "
		    "root and be writable by root alone, or another could put "
		    "files of his own there: chown root %s; chmod go-w %s",
		    key, path, path, path);
}

/* The directory that holds a file or socket. */
static void
check_parent(const char *path, const char *key, bool is_own,
    struct findings *findings)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash == path ? 1 : (size_t)(slash - path);
	struct stat st;

	if (n >= sizeof(parent))
		return;
	memcpy(parent, path, n);
	parent[n] = '\0';
	if (is_own)
		check_own(parent, key, false, findings);
	else if (stat(parent, &st) != 0 && errno == ENOENT)
		findings_add(findings, FINDING_ERROR, "%s: there is no "
		    "directory %s; make it, or name another", key, parent);
}

/* Whether an account may read and enter, by owner, group and mode. */
static bool
may_read(const struct stat *st, const struct passwd *entry)
{
	mode_t shift = st->st_uid == entry->pw_uid ? 6 :
	    st->st_gid == entry->pw_gid ? 3 : 0;

	return (st->st_mode >> shift & 05) == 05;
}

static void
check_functions(const struct conf *conf, struct findings *findings)
{
	const char *path = conf->functions;
	const struct passwd *entry = getpwnam(conf->user);
	struct stat st;

	if (stat(path, &st) != 0) {
		findings_add(findings, FINDING_ERROR, "[host] functions: %s: "
		    "%s; make it: install -d -m 0755 %s", path,
		    strerror(errno), path);
		return;
	}
	if (!S_ISDIR(st.st_mode)) {
		findings_add(findings, FINDING_ERROR, "[host] functions: %s "
		    "is no directory; name one", path);
		return;
	}
	if ((st.st_mode & S_IWOTH) != 0)
		findings_add(findings, FINDING_ERROR, "[host] functions: "
		    "whoever is on this machine can drop functions into %s: "
		    "chmod o-w %s", path, path);
	if (!userns_is_single() && entry != NULL && !may_read(&st, entry))
		findings_add(findings, FINDING_ERROR, "[host] functions: %s "
		    "cannot be read by %s, as whom the scanner runs: chmod "
		    "o+rx %s", path, conf->user, path);
}

static void
check_chain_key(const struct conf *conf, struct findings *findings)
{
	CLEANUP_FD int fd = -1;
	char problem[1024];

	if (conf->chain_key == NULL)
		return;
	fd = chain_file_open(conf->chain_key, problem, sizeof(problem));
	if (fd < 0)
		findings_add(findings, FINDING_ERROR, "[host] %s", problem);
}

void
check_places(const struct conf *conf, struct findings *findings)
{
	size_t i;

	check_functions(conf, findings);
	check_own(conf->run, "[host] run", true, findings);
	check_own(conf->state, "[host] state", true, findings);
	check_parent(conf->run, "[host] run", false, findings);
	check_parent(conf->state, "[host] state", false, findings);
	check_parent(conf->accounting, "[host] accounting", true, findings);
	check_chain_key(conf, findings);
	if (conf->log[0] == '/')
		check_parent(conf->log, "[host] log", true, findings);
	for (i = 0; i < conf->listen_count; i++) {
		const char *listen = conf->listen[i];
		size_t n = strlen(conf->run);

		/* What lies in RUN is made with it. */
		if (listen[0] == '/' && !(strncmp(listen, conf->run, n) == 0 &&
		    listen[n] == '/'))
			check_parent(listen, "[host] listen", false, findings);
	}
	if (strcmp(conf->run, conf->state) == 0)
		findings_add(findings, FINDING_ERROR, "[host] run and state "
		    "are one directory; give each its own");
}

/* An image that cannot be used is more than a program that is not installed: a
 * reload refuses it. */
static enum program_state
check_runtime(const struct conf *conf, const struct conf_runtime *runtime,
    struct findings *findings)
{
	char why[512];
	enum program_state state = program_look(conf, runtime, why,
	    sizeof(why));

	if (state == PROGRAM_NO_IMAGE)
		findings_add(findings, FINDING_ERROR, "[runtime %s] rootfs: "
		    "%s", runtime->name, why);
	else if (state == PROGRAM_MISSING)
		findings_add(findings, FINDING_WARNING, "[runtime %s] "
		    "%s: %s %s; install it%s, or take the section out",
		    runtime->name, runtime->build != NULL ? "build" :
		    "command", program_of(runtime), why,
		    runtime->rootfs != NULL ? " there" : "");
	return state;
}

void
check_programs(const struct conf *conf, struct findings *findings)
{
	static const char *const programs[] = { "fcgi-host-spawner",
		"fcgi-host-gateway", "fcgi-host-scanner", "fcgi-host-init" };
	char path[PATH_MAX];
	size_t i;

	for (i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		if (cmd_program(programs[i], path, sizeof(path)) != 0 ||
		    access(path, X_OK) != 0)
			findings_add(findings, FINDING_ERROR, "%s is missing; "
			    "install fcgi-host whole, or set "
			    "FCGI_HOST_LIBEXEC to the directory that has it",
			    path);
	for (i = 0; i < conf->runtime_count; i++) {
		enum program_state state = check_runtime(conf,
		    &conf->runtimes[i], findings);

		/* Of a runtime that is not installed nothing is. */
		if (state == PROGRAM_THERE)
			check_runtime_binds(&conf->runtimes[i], findings);
	}
	check_binds(conf, findings);
	check_env_files(conf, findings);
}
