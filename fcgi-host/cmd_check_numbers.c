/*
 * STATE/tenants, where the host remembers which number of uid_range belongs to
 * which tenant, against the configuration.  The spawner reads it with more
 * suspicion; here a line that is none is passed over.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/cmd_check.h"

#define TENANTS_FILE "tenants"
#define LINE_MAX_BYTES 256

static bool
has_account(const struct conf *conf, const char *tenant)
{
	const struct settings *section = conf_tenant(conf, tenant);

	return section != NULL && section->user != NULL;
}

static void
check_line(const struct conf *conf, const char *line, const char *path,
    struct findings *findings)
{
	char tenant[CTL_TENANT_MAX + 1];
	unsigned long uid;

	_Static_assert(CTL_TENANT_MAX == 63, "the format below has it");
	if (line[0] == '#' || sscanf(line, "%63s %lu", tenant, &uid) != 2 ||
	    has_account(conf, tenant) || (uid >= conf->uid_first &&
	    uid - conf->uid_first < conf->uid_count))
		return;
	findings_add(findings, FINDING_ERROR, "[host] uid_range has not the "
	    "number %lu that the tenant %s has for good, by %s; make the range "
	    "wider, or name an account: user in [tenant %s]", uid, tenant,
	    path, tenant);
}

void
check_numbers(const struct conf *conf, struct findings *findings)
{
	char path[PATH_MAX], line[LINE_MAX_BYTES];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/" TENANTS_FILE, conf->state);
	file = fopen(path, "re");
	/* nobody has a number yet; what only root can read is said elsewhere */
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL)
		check_line(conf, line, path, findings);
	(void)fclose(file);
}
