#include "fcgi-host/books/lambda.h"

#include <inttypes.h>

/* What the field Status has for an outcome; NULL: none, as for a success. */
static const char *
status_of(const struct entry *entry)
{
	if (span_is(entry->outcome, "ok") || span_is(entry->outcome, "aborted"))
		return NULL;
	return span_is(entry->outcome, "timeout") ||
	    span_is(entry->outcome, "stalled") ? "timeout" : "error";
}

/* Hundredths of a millisecond, rounded down. */
static int
add_ms(struct buf *out, const char *name, uint64_t us)
{
	return buf_addf(out, "\t%s: %" PRIu64 ".%02u ms", name, us / 1000,
	    (unsigned)(us % 1000 / 10));
}

/* An id: what is not printable would break the line. */
static int
add_id(struct buf *out, struct span id)
{
	int error = buf_add_str(out, "REPORT RequestId: ");
	size_t i;

	for (i = 0; i < id.n && error == 0; i++)
		error = buf_add(out, id.at[i] > ' ' && id.at[i] < 0x7f ?
		    &id.at[i] : "?", 1);
	return error;
}

int
lambda_line(const struct entry *entry, struct buf *out)
{
	const char *status = status_of(entry);
	int error;

	if (entry->type != ENTRY_EXEC || span_is(entry->outcome, "refused") ||
	    span_is(entry->outcome, "lost"))
		return 0;
	error = add_id(out, entry->request_id.n > 0 ? entry->request_id :
	    entry->id);
	if (error == 0)
		error = add_ms(out, "Duration", entry->run_us);
	if (error == 0)
		error = buf_addf(out, "\tBilled Duration: %" PRIu64 " ms\t"
		    "Memory Size: %" PRIu64 " MB\tMax Memory Used: %" PRIu64
		    " MB", entry->billed_ms, entry->mem_limit_mib,
		    (entry->mem_peak_kib + 1023) / 1024);
	if (error == 0 && entry->is_cold)
		error = add_ms(out, "Init Duration", entry->init_us);
	if (error == 0 && status != NULL)
		error = buf_addf(out, "\tStatus: %s", status);
	return error != 0 ? error : buf_add_str(out, "\n");
}
