#include <stdio.h>
#include <string.h>

#include "fcgi-host/conf.h"

#define SENTENCE_MAX 1024

/* What stands at the top is nobody's folder, and always somebody's. */
static bool
is_default(const char *tenant)
{
	return strcmp(tenant, "default") == 0;
}

static void
say_of(const struct conf *conf, const struct conf_section *section,
    const char *kind, const char *whose,
    void (*say)(void *arg, const char *sentence), void *arg)
{
	char sentence[SENTENCE_MAX];

	(void)snprintf(sentence, sizeof(sentence), "%.300s:%u: [%s %s]: there "
	    "is no function of that %s; the section waits for one, or its "
	    "name is misspelt", conf->file, section->line, kind,
	    section->name, whose);
	say(arg, sentence);
}

void
conf_each_unused(const struct conf *conf,
    bool (*is_known)(void *arg, bool is_tenant, const char *name),
    void (*say)(void *arg, const char *sentence), void *arg)
{
	size_t i;

	for (i = 0; i < conf->tenant_count; i++)
		if (!is_default(conf->tenants[i].name) &&
		    !is_known(arg, true, conf->tenants[i].name))
			say_of(conf, &conf->tenants[i], "tenant", "tenant",
			    say, arg);
	for (i = 0; i < conf->function_count; i++)
		if (!is_known(arg, false, conf->functions_sections[i].name))
			say_of(conf, &conf->functions_sections[i], "function",
			    "name", say, arg);
}
