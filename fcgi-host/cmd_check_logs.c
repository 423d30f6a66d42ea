/*
 * Where functions log to files of their own: the directory, whether their tenants
 * come to it, and what is left on its disk.
 */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "fcgi-host/cmd_check.h"
#include "sandbox/userns.h"

/* Of an account. */
#define GROUPS_LOOKED_AT 256

static void
check_directory(const char *path, const struct stat *st,
    struct findings *findings)
{
	if (!S_ISDIR(st->st_mode))
		findings_add(findings, FINDING_ERROR, "[host] function_logs: "
		    "%s is no directory; name another", path);
	else if (st->st_uid != 0 || (st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		findings_add(findings, FINDING_ERROR, "[host] function_logs: "
		    "%s must belong to %s and be writable by nobody else, or "
		    "another could put files of his own there: chmod go-w %s, "
		    "or name another", path, userns_is_single() ? "you" :
		    "root", path);
}

/* Each directory on the way lets everybody pass. */
static void
check_way(const char *path, struct findings *findings)
{
	char part[PATH_MAX];
	const char *slash = path;
	struct stat st;

	while (slash != NULL) {
		slash = strchr(slash + 1, '/');
		(void)snprintf(part, sizeof(part), "%.*s", slash == NULL ?
		    (int)strlen(path) : (int)(slash - path), path);
		if (stat(part, &st) == 0 && (st.st_mode & S_IXOTH) == 0) {
			findings_add(findings, FINDING_NOTE, "[host] "
			    "function_logs: tenants cannot read their "
			    "functions' logs, since only root passes through "
			    "%s: chmod o+x %s, if they are to", part, part);
			return;
		}
	}
}

static void
check_disk(const char *path, struct findings *findings)
{
	struct statvfs fs;
	uint64_t left, reserve;

	if (statvfs(path, &fs) != 0)
		return;
	left = (uint64_t)fs.f_bavail * fs.f_frsize;
	reserve = conf_function_log_reserve((uint64_t)fs.f_blocks *
	    fs.f_frsize);
	if (left < 2 * reserve)
		findings_add(findings, FINDING_WARNING, "[host] "
		    "function_logs: %s has %llu MiB left, and below %llu MiB "
		    "what functions write is dropped; make room, or lower "
		    "function_log_total", path,
		    (unsigned long long)left >> 20,
		    (unsigned long long)reserve >> 20);
}

/* Whether the tenant's own group is another one's too. */
static bool
is_shared(const struct conf *conf, const struct conf_section *tenant,
    const struct conf_section *other)
{
	gid_t groups[GROUPS_LOOKED_AT], gid, own;
	int count = GROUPS_LOOKED_AT;
	uid_t uid;

	if (tenant == other || tenant->settings.user == NULL ||
	    other->settings.user == NULL ||
	    !check_number_of(conf, tenant->name, &uid, &gid) ||
	    !check_number_of(conf, other->name, &uid, &own))
		return false;
	if (getgrouplist(other->settings.user, own, groups, &count) < 0)
		count = GROUPS_LOOKED_AT;
	while (count > 0)
		if (groups[--count] == gid)
			return true;
	return false;
}

static void
check_groups(const struct conf *conf, struct findings *findings)
{
	for (size_t i = 0; i < conf->tenant_count; i++)
		for (size_t j = 0; j < conf->tenant_count; j++)
			if (is_shared(conf, &conf->tenants[i],
			    &conf->tenants[j])) {
				findings_add(findings, FINDING_WARNING, "[host] "
				    "function_logs: the accounts of the "
				    "tenants %s and %s have one group, that "
				    "of the former, so that he may not read "
				    "his functions' logs; give each a group "
				    "of its own", conf->tenants[i].name,
				    conf->tenants[j].name);
				return;
			}
}

void
check_function_logs(const struct conf *conf, struct findings *findings)
{
	const char *path = conf->function_logs;
	char size[32], total[32];
	struct stat st;

	if (path == NULL) {
		findings_add(findings, FINDING_NOTE, "what functions write "
		    "goes into the host's own log (%s); function_logs gives "
		    "each a file that its tenant may read", conf->log);
		return;
	}
	findings_add(findings, FINDING_NOTE, "what functions write goes to "
	    "%s/TENANT/FUNCTION.log: up to %s each and %llu older ones, %s "
	    "of a tenant in all", path,
	    settings_size_text(conf->function_log_bytes, size, sizeof(size)),
	    (unsigned long long)conf->function_log_keep,
	    settings_size_text(conf->function_log_total, total,
	    sizeof(total)));
	if (stat(path, &st) == 0)
		check_directory(path, &st, findings);
	else if (errno != ENOENT)
		findings_add(findings, FINDING_ERROR, "[host] function_logs: "
		    "%s: %s; name another", path, strerror(errno));
	if (!userns_is_single())
		check_way(path, findings);
	check_disk(path, findings);
	check_groups(conf, findings);
}
