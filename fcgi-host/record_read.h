/*
 * A line of the accounting log that this program wrote, read again: what it
 * charges to whom.  Not for other people's ledgers: it looks for the fields as
 * record.c writes them, in any order, and knows no other way to write JSON.
 * Pure.
 */
#ifndef FCGI_HOST_RECORD_READ_H
#define FCGI_HOST_RECORD_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/ctl_msg.h"

enum record_type { RECORD_EXEC, RECORD_INSTANCE, RECORD_HOST, RECORD_OTHER };

struct record_line {
	enum record_type type;
	uint64_t seq;
	uint64_t run_id; /* of a host record; else 0 */
	/* of an execution, or an instance */
	uint64_t time_us;
	char tenant[CTL_TENANT_MAX + 1];
	char function[CTL_NAME_MAX + 1];
	char runtime[CTL_RUNTIME_MAX + 1]; /* "": none, or not told */
	bool is_charged; /* neither refused nor lost */
	uint64_t mib_ms, bytes_out; /* of an execution */
	uint64_t idle_mib_ms;       /* of an instance */
	uint64_t cpu_us;            /* that it is charged for */
};

/* line[0..n) without its newline.  0, or -EINVAL: it is no such line. */
int record_read(const char *line, size_t n, struct record_line *out);

/* Its seq alone, also of one that was cut; 0: it has none. */
uint64_t record_line_seq(const char *line, size_t n);

#endif
