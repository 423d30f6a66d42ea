/*
 * What `bind` names: a path that is not there, or lies behind a link, fails
 * every start of the functions that it is for; one that is to be written must be
 * writable by the tenant's own id, for the sandbox adds no right.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-host/cmd_check.h"

/* The path as it is without links, if there are any: NULL, or to be freed. */
static char *
behind_links(const char *path)
{
	char *real = realpath(path, NULL);

	if (real != NULL && strcmp(real, path) == 0) {
		free(real);
		real = NULL;
	}
	return real;
}

static bool
may_write(const struct stat *st, uid_t uid, gid_t gid)
{
	unsigned shift = st->st_uid == uid ? 6 : st->st_gid == gid ? 3 : 0;

	return (st->st_mode >> shift & 2) != 0;
}

/* tenant NULL: whose it is, is not known. */
static void
check_writer(const struct conf *conf, const char *where, const char *tenant,
    const char *path, struct findings *findings)
{
	struct stat st;
	uid_t uid;
	gid_t gid;

	if (tenant == NULL || !check_number_of(conf, tenant, &uid, &gid) ||
	    stat(path, &st) != 0 || may_write(&st, uid, gid))
		return;
	findings_add(findings, FINDING_WARNING, "%s bind: %s:rw cannot be "
	    "written by the tenant %s, whose id is %u: chown %u %s", where,
	    path, tenant, (unsigned)uid, (unsigned)uid, path);
}

static void
check_one(const char *where, const struct conf_bind *bind,
    struct findings *findings)
{
	char *real = NULL;

	if (access(bind->path, F_OK) != 0)
		findings_add(findings, FINDING_WARNING, "%s bind: %s: %s; "
		    "functions that it is for do not start", where, bind->path,
		    strerror(errno));
	else if ((real = behind_links(bind->path)) != NULL)
		findings_add(findings, FINDING_WARNING, "%s bind: %s: a link is "
		    "on the way, and functions that it is for do not start; "
		    "write the path that it leads to, %s", where, bind->path,
		    real);
	free(real);
}

static void
check_words(const struct conf *conf, const char *where, const char *tenant,
    const char *text, struct findings *findings)
{
	struct conf_bind binds[CONF_BIND_MAX];
	size_t i, count = conf_bind_words(text, binds);

	for (i = 0; i < count; i++) {
		check_one(where, &binds[i], findings);
		if (binds[i].is_writable)
			check_writer(conf, where, tenant, binds[i].path,
			    findings);
	}
	conf_binds_free(binds, count);
}

void
check_runtime_binds(const struct conf_runtime *runtime,
    struct findings *findings)
{
	char where[128];

	(void)snprintf(where, sizeof(where), "[runtime %s]", runtime->name);
	check_words(NULL, where, NULL, runtime->bind, findings);
}

void
check_binds(const struct conf *conf, struct findings *findings)
{
	char where[CTL_NAME_MAX + 16], tenant[CTL_TENANT_MAX + 1];
	size_t i;

	check_words(conf, "[defaults]", NULL, conf->defaults.bind, findings);
	for (i = 0; i < conf->tenant_count; i++) {
		const struct conf_section *section = &conf->tenants[i];

		(void)snprintf(where, sizeof(where), "[tenant %s]",
		    section->name);
		check_words(conf, where, section->name, section->settings.bind,
		    findings);
	}
	for (i = 0; i < conf->function_count; i++) {
		const struct conf_section *section =
		    &conf->functions_sections[i];
		size_t n = strcspn(section->name, "/");

		(void)snprintf(where, sizeof(where), "[function %s]",
		    section->name);
		if (section->name[n] == '/')
			(void)snprintf(tenant, sizeof(tenant), "%.*s", (int)n,
			    section->name);
		else
			(void)snprintf(tenant, sizeof(tenant), "default");
		check_words(conf, where, tenant, section->settings.bind,
		    findings);
	}
}
