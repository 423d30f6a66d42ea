/*
 * The end of an accounting log as whoever goes on in it finds it: another may have
 * died while he wrote, or it may be no log.
 */
#ifndef FCGI_HOST_LEDGER_TAIL_H
#define FCGI_HOST_LEDGER_TAIL_H

#include <stdint.h>

#include "fcgi-host/chain.h"

/* The last complete line. */
struct ledger_tail {
	uint64_t start, end;
	uint64_t seq; /* 0: none */
	struct chain_mac mac; /* zeros: none */
};

/* Cuts a torn last line off, which belongs to an answer that was never completed,
 * and *size with it.  0 or negative errno; -EBADMSG: that is none of ours, and
 * stays as it is. */
int ledger_tail_mend(int fd, uint64_t *size, struct ledger_tail *line);

#endif
