#include <errno.h>
#include <unistd.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/prices.h"

#define OPTIONS_MAX 24
/* Beyond every letter, so that a long option is told by its place. */
#define LONG_BASE 256

static void
print_help(const struct cmd_verb *verb, const struct cmd_option *options,
    size_t count)
{
	size_t i;

	printf("fcgi-host %s [OPTION ...]%s%s\n\n%s\n", verb->name,
	    verb->operands[0] != '\0' ? " " : "", verb->operands,
	    verb->summary);
	if (verb->text != NULL)
		printf("%s\n", verb->text);
	printf("\n");
	for (i = 0; i < count; i++) {
		const struct cmd_option *option = &options[i];
		char name[64];

		(void)snprintf(name, sizeof(name), "--%s%s%s", option->name,
		    option->argument != NULL ? " " : "",
		    option->argument != NULL ? option->argument : "");
		if (option->letter != 0)
			printf("  -%c, %-20s %s\n", option->letter, name,
			    option->help);
		else
			printf("      %-20s %s\n", name, option->help);
	}
	printf("      %-20s %s\n", "--help", "print this");
}

/* The two tables that getopt_long wants.  letters: room for 2 an option. */
static void
fill_tables(const struct cmd_option *options, size_t count, char *letters,
    struct option *longs)
{
	size_t i;

	*letters++ = ':'; /* a missing argument is told apart */
	for (i = 0; i < count; i++) {
		longs[i].name = options[i].name;
		longs[i].has_arg = options[i].argument != NULL ?
		    required_argument : no_argument;
		longs[i].val = LONG_BASE + (int)i;
		if (options[i].letter == 0)
			continue;
		*letters++ = options[i].letter;
		if (options[i].argument != NULL)
			*letters++ = ':';
	}
	longs[count].name = "help";
	longs[count].val = LONG_BASE + (int)count;
	*letters = '\0';
}

static const struct cmd_option *
find_option(const struct cmd_option *options, size_t count, int value)
{
	size_t i;

	if (value >= LONG_BASE)
		return &options[value - LONG_BASE];
	for (i = 0; i < count; i++)
		if (options[i].letter == value)
			return &options[i];
	return NULL;
}

/* False: too many of a kind. */
static bool
take(const struct cmd_option *option, const char *argument)
{
	if (option->flag != NULL)
		*option->flag = true;
	else if (option->text != NULL)
		*option->text = argument;
	else if (option->texts->count == CMD_TEXTS_MAX)
		return false;
	else
		option->texts->at[option->texts->count++] = argument;
	return true;
}

bool
cmd_options(const struct cmd_verb *verb, const struct cmd_option *options,
    size_t count, int argc, char **argv, char ***operands, int *code)
{
	struct option longs[OPTIONS_MAX + 2];
	char letters[2 * OPTIONS_MAX + 2];
	int value;

	LOG_ASSERT(count <= OPTIONS_MAX);
	memset(longs, 0, sizeof(longs));
	fill_tables(options, count, letters, longs);
	optind = 0; /* glibc: start over, for the tests call this often */
	opterr = 0;
	*code = CMD_WRONG;
	while ((value = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		const struct cmd_option *option;

		if (value == LONG_BASE + (int)count) {
			print_help(verb, options, count);
			*code = CMD_DONE;
			return false;
		}
		if (value == '?' || value == ':') {
			(void)cmd_wrong(verb, value == ':' ?
			    "%s wants an argument" : "unknown option %s",
			    argv[optind - 1]);
			return false;
		}
		option = find_option(options, count, value);
		LOG_ASSERT(option != NULL);
		if (!take(option, optarg)) {
			(void)cmd_wrong(verb, "more than %d times --%s",
			    CMD_TEXTS_MAX, option->name);
			return false;
		}
	}
	if (operands == NULL && argv[optind] != NULL) {
		(void)cmd_wrong(verb, "%s takes no %s", verb->name,
		    argv[optind]);
		return false;
	}
	if (operands != NULL)
		*operands = argv + optind;
	return true;
}

static void
complain(const char *fmt, va_list args)
{
	(void)fflush(stdout);
	(void)fputs("fcgi-host: ", stderr);
	(void)vfprintf(stderr, fmt, args);
}

int
cmd_fail(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(fmt, args);
	va_end(args);
	(void)fputc('\n', stderr);
	return CMD_FAILED;
}

int
cmd_wrong(const struct cmd_verb *verb, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(fmt, args);
	va_end(args);
	(void)fprintf(stderr, "; see: fcgi-host %s%s--help\n", verb->name,
	    verb->name[0] != '\0' ? " " : "");
	return CMD_WRONG;
}

static struct conf *
load_with(struct conf *(*load)(const char *, struct conf_errors *),
    const char *path)
{
	struct conf_errors errors = { .count = 0 };
	struct conf *conf = load(path, &errors);

	if (errors.count > 0) {
		(void)fwrite(buf_head(&errors.text), 1, buf_len(&errors.text),
		    stderr);
		(void)cmd_fail("%s is not right: %u error%s", path,
		    errors.count, errors.count == 1 ? "" : "s");
	}
	conf_errors_free(&errors);
	return conf;
}

struct conf *
cmd_conf(const char *path)
{
	return load_with(conf_load, path);
}

struct conf *
cmd_conf_running(const char *path)
{
	return load_with(conf_load_running, path);
}

bool
cmd_prices_ok(const struct conf *conf)
{
	struct conf_errors errors = { .count = 0 };
	const char *currency = conf_currency(conf);
	struct prices *prices;
	bool is_ok = true;
	int fd;

	if (conf->prices == NULL)
		return true;
	fd = open(conf->prices, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		(void)cmd_fail("[host] prices: %s cannot be read: %s",
		    conf->prices, strerror(errno));
		return false;
	}
	prices = prices_read(fd, conf->prices, &errors);
	close(fd);
	if (prices == NULL) {
		(void)fwrite(buf_head(&errors.text), 1, buf_len(&errors.text),
		    stderr);
		(void)cmd_fail("%s is not right: %u error%s", conf->prices,
		    errors.count, errors.count == 1 ? "" : "s");
		is_ok = false;
	} else if (currency[0] != '\0' &&
	    strcmp(currency, prices_currency(prices)) != 0) {
		(void)cmd_fail("%s: the price book is in %s, and the budgets "
		    "are in %s; write them in the same currency",
		    conf->prices, prices_currency(prices), currency);
		is_ok = false;
	}
	conf_errors_free(&errors);
	prices_free(prices);
	return is_ok;
}

int
cmd_program(const char *program, char *out, size_t size)
{
	const char *dir = getenv("FCGI_HOST_LIBEXEC");
	int n = snprintf(out, size, "%s/%s", dir != NULL && *dir != '\0' ?
	    dir : PKGLIBEXECDIR, program);

	return n >= 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

int
cmd_print(struct buf *out)
{
	size_t n = buf_len(out);

	if (n > 0 && fwrite(buf_head(out), 1, n, stdout) != n)
		return cmd_fail("standard output: %s", strerror(errno));
	buf_consume(out, n);
	if (fflush(stdout) != 0)
		return cmd_fail("standard output: %s", strerror(errno));
	return CMD_DONE;
}
