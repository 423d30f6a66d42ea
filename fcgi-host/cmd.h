/*
 * What the verbs of `fcgi-host` share: options as tables, sentences on
 * standard error, exit codes.  The command of the person who types it; needs
 * no rights of its own.
 */
#ifndef FCGI_HOST_CMD_H
#define FCGI_HOST_CMD_H

#include <stdbool.h>
#include <stddef.h>

#include "fcgi-host/conf.h"

enum { CMD_DONE = 0, CMD_FAILED = 1, CMD_WRONG = 2 };

struct cmd_verb {
	const char *name;
	const char *operands; /* "FUNCTION", or "" */
	const char *summary;  /* one line, for the list of verbs */
	const char *text;     /* more for --help, or NULL */
	/* argv[0] is the verb.  Returns an exit code. */
	int (*run)(const struct cmd_verb *verb, int argc, char **argv);
};

#define CMD_TEXTS_MAX 64
struct cmd_texts {
	const char *at[CMD_TEXTS_MAX];
	size_t count;
};

/* One option; of the three places one is set.  name is the long form. */
struct cmd_option {
	char letter; /* 0: none */
	const char *name;
	const char *argument; /* its name in the help; NULL for a flag */
	const char *help;
	bool *flag;
	const char **text;
	struct cmd_texts *texts; /* may be given several times */
};

#define CMD_OPTION_CONF(place) \
	{ 'c', "config", "FILE", "the configuration (default " \
	    DEFAULT_CONFIG ")", NULL, (place), NULL }
#define CMD_OPTION_JSON(place) \
	{ 0, "json", NULL, "print JSON", (place), NULL, NULL }

/*
 * Takes the options and --help.  True: go on, *operands of argv are left at
 * its end; with operands NULL the verb takes none.  False: *code is what to
 * exit with (help was printed, or the sentence about wrong use).
 */
bool cmd_options(const struct cmd_verb *verb, const struct cmd_option *options,
    size_t count, int argc, char **argv, char ***operands, int *code);

/* "fcgi-host: SENTENCE" on standard error; returns CMD_FAILED. */
int cmd_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same, with a pointer to --help; returns CMD_WRONG. */
int cmd_wrong(const struct cmd_verb *verb, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Loads the configuration; NULL after all its errors went to standard error. */
struct conf *cmd_conf(const char *path);
/* conf_load_running, with the errors on standard error; fit to ask the host. */
/* The price book that the configuration names, if any: judged, and its currency
 * that of the budgets.  False: not, which is said. */
bool cmd_prices_ok(const struct conf *conf);
struct conf *cmd_conf_running(const char *path);

/* Path of one of our other programs (FCGI_HOST_LIBEXEC, else where they are
 * installed).  0, -ENAMETOOLONG. */
int cmd_program(const char *program, char *out, size_t size);

/* Writes a buffer to standard output; CMD_DONE or CMD_FAILED. */
int cmd_print(struct buf *out);

/* The verbs. */
int cmd_run(const struct cmd_verb *verb, int argc, char **argv);
int cmd_check(const struct cmd_verb *verb, int argc, char **argv);
int cmd_list(const struct cmd_verb *verb, int argc, char **argv);
int cmd_ctl(const struct cmd_verb *verb, int argc, char **argv);
int cmd_status(const struct cmd_verb *verb, int argc, char **argv);
int cmd_logs(const struct cmd_verb *verb, int argc, char **argv);
int cmd_shell(const struct cmd_verb *verb, int argc, char **argv);
int cmd_books(const struct cmd_verb *verb, int argc, char **argv);
int cmd_new(const struct cmd_verb *verb, int argc, char **argv);
int cmd_invoke(const struct cmd_verb *verb, int argc, char **argv);

#endif
