#include "fcgi-host/books/ledgers.h"

#include <errno.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/conf.h"

int
ledgers_read(struct reader *reader, char **paths, const char *conf_path)
{
	struct conf *conf = NULL;
	char *one[2] = { NULL, NULL };
	int error = 0;

	if (*paths == NULL) {
		conf = cmd_conf(conf_path);
		if (conf == NULL)
			return CMD_WRONG;
		one[0] = conf->accounting;
		paths = one;
	}
	for (; error == 0 && *paths != NULL; paths++)
		error = reader_read(reader, *paths);
	conf_unref(conf);
	if (error == -ENOMEM)
		(void)cmd_fail("no memory for more groups; ask for fewer by "
		    "--by, --from or --to");
	return error != 0 ? CMD_FAILED : CMD_DONE;
}
