/* `fcgi-host usage --verify`. */
#include "fcgi-host/books/ledgers.h"
#include "fcgi-host/books/verify.h"
#include "fcgi-host/cmd.h"
#include "fcgi-host/conf.h"

struct verify_reading {
	struct verify *verify;
	struct reader reader;
};

static int
take(const struct entry *entry, const struct place *place, void *arg)
{
	struct verify_reading *reading = arg;

	(void)entry;
	verify_line(reading->verify, &reading->reader, place);
	return 0;
}

/* Today's key is in the configuration's file; it verifies what it wrote. */
static int
take_keys(struct verify *verify, const struct verify_options *options)
{
	struct conf *conf;
	int error;

	if (options->keys != NULL)
		return verify_keys(verify, options->keys) == 0 ? CMD_DONE :
		    CMD_FAILED;
	conf = cmd_conf(options->conf);
	if (conf == NULL)
		return CMD_WRONG;
	if (conf->chain_key == NULL)
		error = cmd_fail("there is no key: [host] chain_key is not set "
		    "in %s; give the one that was kept by --chain-key FILE",
		    options->conf);
	else
		error = verify_keys(verify, conf->chain_key) == 0 ? CMD_DONE :
		    CMD_FAILED;
	conf_unref(conf);
	return error;
}

static int
read_all(struct verify *verify, char **paths, const char *conf)
{
	struct verify_reading reading = { .verify = verify,
		.reader.each = take, .reader.arg = &reading };
	int code = ledgers_read(&reading.reader, paths, conf);
	bool is_good;

	if (code != CMD_DONE)
		return code;
	is_good = verify_end(verify, &reading.reader);
	/* Said last, where it is seen. */
	return reader_faults(&reading.reader) || !is_good ? CMD_FAILED :
	    CMD_DONE;
}

int
verify_run(char **paths, const struct verify_options *options)
{
	struct verify *verify = verify_new();
	int code = verify == NULL ? cmd_fail("no memory") :
	    take_keys(verify, options);

	if (code == CMD_DONE && options->heads != NULL &&
	    verify_heads(verify, options->heads) != 0)
		code = CMD_FAILED;
	if (code == CMD_DONE)
		code = read_all(verify, paths, options->conf);
	verify_free(verify);
	return code;
}
