/*
 * STATE/tenants, where the host remembers which number of uid_range belongs to
 * which tenant: whether it is what the host starts with, and whether it fits the
 * configuration.  The spawner reads it with more suspicion.
 */
#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fcgi-host/cmd_check.h"

#define TENANTS_FILE "tenants"
#define LINE_MAX_BYTES 256

static bool
has_account(const struct conf *conf, const char *tenant)
{
	const struct settings *section = conf_tenant(conf, tenant);

	return section != NULL && section->user != NULL;
}

bool
check_number_of(const struct conf *conf, const char *tenant, uid_t *uid,
    gid_t *gid)
{
	const struct settings *section = conf_tenant(conf, tenant);
	const struct passwd *account = section == NULL ||
	    section->user == NULL ? NULL : getpwnam(section->user);
	char path[PATH_MAX], line[LINE_MAX_BYTES], name[CTL_TENANT_MAX + 1];
	unsigned long number;
	bool is_found = false;
	FILE *file;

	if (account != NULL) {
		*uid = account->pw_uid;
		*gid = account->pw_gid;
	}
	if (has_account(conf, tenant))
		return account != NULL;
	(void)snprintf(path, sizeof(path), "%s/" TENANTS_FILE, conf->state);
	file = fopen(path, "re");
	while (file != NULL && !is_found &&
	    fgets(line, sizeof(line), file) != NULL)
		is_found = sscanf(line, "%63s %lu", name, &number) == 2 &&
		    strcmp(name, tenant) == 0;
	if (is_found) {
		*uid = (uid_t)number;
		*gid = (gid_t)number;
	}
	if (file != NULL)
		(void)fclose(file);
	return is_found;
}

/* False: the line is none. */
static bool
check_line(const struct conf *conf, const char *line, const char *path,
    struct findings *findings)
{
	char tenant[CTL_TENANT_MAX + 1], end;
	unsigned long uid;

	_Static_assert(CTL_TENANT_MAX == 63, "the format below has it");
	if (line[0] == '#')
		return true;
	if (sscanf(line, "%63s %lu%c", tenant, &uid, &end) != 3 || end != '\n')
		return false;
	if (has_account(conf, tenant) || (uid >= conf->uid_first &&
	    uid - conf->uid_first < conf->uid_count))
		return true;
	findings_add(findings, FINDING_ERROR, "[host] uid_range has not the "
	    "number %lu that the tenant %s has for good, by %s; make the range "
	    "wider, or name an account: user in [tenant %s]", uid, tenant,
	    path, tenant);
	return true;
}

static bool
is_roots(FILE *file)
{
	struct stat st;

	return fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode) &&
	    st.st_uid == 0 && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

void
check_numbers(const struct conf *conf, struct findings *findings)
{
	char path[PATH_MAX], line[LINE_MAX_BYTES];
	bool is_right = true;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/" TENANTS_FILE, conf->state);
	file = fopen(path, "re");
	/* nobody has a number yet; what only root can read is said elsewhere */
	if (file == NULL)
		return;
	if (!is_roots(file))
		findings_add(findings, FINDING_ERROR, "%s is no file of root's "
		    "own that only root can write, so the host does not start; "
		    "look who changed it", path);
	while (is_right && fgets(line, sizeof(line), file) != NULL)
		is_right = check_line(conf, line, path, findings);
	if (!is_right)
		findings_add(findings, FINDING_ERROR, "%s has a line that is "
		    "not \"NAME UID\", so the host does not start; the file "
		    "says who owns which /data: restore it", path);
	(void)fclose(file);
}
