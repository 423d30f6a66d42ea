#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/cmd.h"

#define SPAWNER "fcgi-host-spawner"

int
cmd_run(const struct cmd_verb *verb, int argc, char **argv)
{
	const char *path = DEFAULT_CONFIG;
	bool is_takeover = false;
	const struct cmd_option options[] = { CMD_OPTION_CONF(&path),
		{ 0, "takeover", NULL, "take over from the host that runs, if "
		    "one does", &is_takeover, NULL, NULL } };
	char spawner[PATH_MAX], file[PATH_MAX];
	struct conf *conf;
	int code;

	if (!cmd_options(verb, options, 2, argc, argv, NULL, &code))
		return code;
	/* Judged here, where there is somebody to read all the sentences. */
	conf = cmd_conf(path);
	if (conf == NULL)
		return CMD_WRONG;
	code = cmd_prices_ok(conf) ? CMD_DONE : CMD_WRONG;
	conf_unref(conf);
	if (code != CMD_DONE)
		return code;
	/* A reload reads it again, perhaps from another directory. */
	if (realpath(path, file) == NULL)
		return cmd_fail("%s: %s", path, strerror(errno));
	if (cmd_program(SPAWNER, spawner, sizeof(spawner)) != 0)
		return cmd_fail("the path of " SPAWNER " is too long");
	(void)execl(spawner, SPAWNER, "-c", file,
	    is_takeover ? "--takeover" : (char *)NULL, (char *)NULL);
	return cmd_fail("%s cannot be started: %s; install fcgi-host whole, "
	    "or set FCGI_HOST_LIBEXEC to the directory that has it", spawner,
	    strerror(errno));
}
