/*
 * Usage into money: what a tenant's functions used, per runtime and day, and
 * the lines of a bill that a price book (prices.h) makes of it.  Pure; the
 * command's programs and the gateway (budgets) call it.
 */
#ifndef FCGI_HOST_RATE_H
#define FCGI_HOST_RATE_H

#include <stdint.h>

/* Sums of records.  128 bits where a product of two 32-bit numbers is summed:
 * no ledger that a disk holds overflows it. */
__extension__ typedef unsigned __int128 rate_sum;

#define RATE_MIB_MS_PER_GIB_S 1024000u /* 1024 MiB * 1000 ms */
#define RATE_US_PER_CPU_S 1000000u
#define RATE_BYTES_PER_GB 1000000000u

/* What was used, in whole fine units of the records. */
struct rate_usage {
	uint64_t executions; /* neither refused nor lost */
	rate_sum mib_ms;     /* memory limit * billed time */
	uint64_t cpu_us;
	uint64_t bytes_out;
	rate_sum idle_mib_ms; /* memory limit * time between executions */
};

#endif
