/*
 * The administrator's `env_file`s: one that cannot be used fails every start of
 * the functions that it is for.  What stands in them is not read.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fcgi-host/cmd_check.h"
#include "sandbox/env_file.h"

static bool
has_link(const char *path)
{
	char *real = realpath(path, NULL);
	bool is_other = real != NULL && strcmp(real, path) != 0;

	free(real);
	return is_other;
}

/* NULL, or what is wrong with it. */
static const char *
judge(const struct conf *conf, const char *tenant, const char *path)
{
	struct stat st;
	uid_t uid;
	gid_t gid;

	if (lstat(path, &st) != 0)
		return strerror(errno);
	if (has_link(path))
		return "a link is on the way; write the path that it leads to";
	if (env_file_fault(&st) != NULL)
		return env_file_fault(&st);
	if (st.st_uid != 0 && check_number_of(conf, tenant, &uid, &gid) &&
	    st.st_uid != uid)
		return "its owner is neither root nor the tenant: chown it";
	return NULL;
}

static void
check_section(const struct conf *conf, const char *kind,
    const struct conf_section *section, const char *tenant,
    struct findings *findings)
{
	const char *path = section->settings.env_file;
	const char *problem = path == NULL ? NULL : judge(conf, tenant, path);

	if (problem != NULL)
		findings_add(findings, FINDING_WARNING, "[%s %s] env_file: "
		    "%s: %s; functions that it is for do not start", kind,
		    section->name, path, problem);
}

void
check_env_files(const struct conf *conf, struct findings *findings)
{
	char tenant[CTL_NAME_MAX + 1];
	size_t i;

	for (i = 0; i < conf->tenant_count; i++)
		check_section(conf, "tenant", &conf->tenants[i],
		    conf->tenants[i].name, findings);
	for (i = 0; i < conf->function_count; i++) {
		conf_tenant_of(conf->functions_sections[i].name, tenant);
		check_section(conf, "function", &conf->functions_sections[i],
		    tenant, findings);
	}
}
