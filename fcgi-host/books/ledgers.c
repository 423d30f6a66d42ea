#include "fcgi-host/books/ledgers.h"

#include <errno.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/conf.h"

int
ledgers_files(struct files *files, char **paths, const char *conf_path)
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
		error = files_add(files, *paths);
	conf_unref(conf);
	return error != 0 ? CMD_FAILED : CMD_DONE;
}

int
ledgers_read(struct reader *reader, char **paths, const char *conf_path)
{
	struct files files = { .count = 0 };
	int code = ledgers_files(&files, paths, conf_path), error = 0;
	size_t i;

	for (i = 0; code == CMD_DONE && error == 0 && i < files.count; i++)
		error = reader_read(reader, files.at[i].path);
	if (error == -ENOMEM)
		(void)cmd_fail("no memory");
	files_free(&files);
	return error != 0 ? CMD_FAILED : code;
}

int
ledgers_sum(const struct sum_query *query, char **paths, const char *conf_path,
    struct reader *reader, struct groups *groups[])
{
	struct files files = { .count = 0 };
	int code = ledgers_files(&files, paths, conf_path);

	if (code == CMD_DONE && sum_files(query, &files, reader, groups) != 0)
		code = CMD_FAILED;
	files_free(&files);
	return code;
}
