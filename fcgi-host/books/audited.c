#include "fcgi-host/books/audited.h"

#include <unistd.h>

#include "fcgi-host/books/audit.h"
#include "fcgi-host/books/ledgers.h"
#include "fcgi-host/cmd.h"

struct reading {
	struct reader reader;
	struct audit *audit;
};

static int
each(const struct entry *entry, const struct place *place, void *arg)
{
	struct reading *reading = arg;
	const char *problem;
	int error = audit_add(reading->audit, entry, &problem);

	if (problem != NULL)
		reader_fault(&reading->reader, place->path, place->line,
		    "no host writes such a record: %s", problem);
	return error;
}

static int
print(struct audit *audit, bool is_json)
{
	struct buf out = { 0 };
	bool is_balanced;
	int code, error = (is_json ? audit_json : audit_table)(audit, &out,
	    &is_balanced);

	code = error != 0 ? cmd_fail("no memory for the report") :
	    cmd_print(&out);
	buf_free(&out);
	if (code == CMD_DONE && !is_balanced)
		code = cmd_fail("the books do not balance: records are "
		    "missing, or were changed");
	return code;
}

int
audited(char **paths, const char *conf, bool is_json)
{
	struct reading reading = {
		.audit = audit_new((uint64_t)sysconf(_SC_NPROCESSORS_CONF)) };
	int code;

	if (reading.audit == NULL)
		return cmd_fail("no memory");
	reading.reader.each = each;
	reading.reader.arg = &reading;
	code = ledgers_read_once(&reading.reader, paths, conf);
	if (code == CMD_DONE)
		code = print(reading.audit, is_json);
	/* said last, where it is seen */
	if (reader_faults(&reading.reader) && code == CMD_DONE)
		code = CMD_FAILED;
	audit_free(reading.audit);
	return code;
}
