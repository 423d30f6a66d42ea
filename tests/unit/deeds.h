/*
 * What a confined gateway or scanner tries: its own work, and what it must not
 * reach; what is to become of each, and which layer alone refuses it.  The
 * world that they try it in is made by deeds_begin, which needs root.
 */
#ifndef TESTS_UNIT_DEEDS_H
#define TESTS_UNIT_DEEDS_H

#include <stddef.h>

#include "sandbox/confine.h"

#define DEEDS_UID 60802 /* of both roles, and their group's */

enum {
	/* tells nothing of who is not confined: it is of another root, of
	 * oneself, or of another depth */
	DEEDS_FOR_CONFINED = 1,
	DEEDS_NEED_SCOPE = 2 /* Landlock's ABI 6 */
};

/* 0: done; negative: not, and errno says why. */
typedef int deeds_act(void); /* no struct: a row of the table */

struct deeds_row {
	const char *about;
	deeds_act *act;
	int gateway, scanner; /* the errno, or 0: it is done */
	/* Which layer alone refuses it: s seccomp, l Landlock, r the root
	 * directory.  None: whichever is switched off, another one does; or
	 * the uid, the capabilities, or not being dumpable. */
	const char *gateway_alone, *scanner_alone;
	unsigned notes; /* DEEDS_ bits */
};

extern const struct deeds_row deeds_rows[];
extern const size_t deeds_count;
extern struct confine deeds_confine; /* how both are to confine themselves */

void deeds_begin(void);
void deeds_end(void);

#endif
