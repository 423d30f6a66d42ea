/*
 * `fcgi-host-books`: what the command becomes for the verbs that read the
 * accounting log.  Runs as who types it, needs no host, writes no file.
 */
#include <malloc.h>
#include <string.h>

#include "fcgi-host/books/verbs.h"

static const struct cmd_verb verbs[] = {
	{ "usage", "[LEDGER ...]", "Sum up the accounting log.",
	    "\nLEDGER is a file, by default the configuration's.  --by takes "
	    "a list, by commas,\nof tenant, function, runtime, day, month, "
	    "hour, outcome, start, trigger, method\nand status.  A time is "
	    "2026-11-27 or 2026-11-27T10:52:46Z, always UTC.", books_usage },
	{ "invoice", "TENANT [LEDGER ...]", "Write a tenant's bill of a month.",
	    "\nPrints an HTML page.  LEDGER is a file, by default the "
	    "configuration's.", books_invoice },
};

int
main(int argc, char **argv)
{
	static const struct cmd_verb none = { .name = "", .operands = "" };
	const char *name = argc > 0 ? argv[0] : "";
	size_t i;

	log_init("books", LOG_WARN);
	/* Threads allocate little, and what one of them made is freed by another,
	 * who could not use it again. */
	(void)mallopt(M_ARENA_MAX, 1);
	for (i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (strcmp(name, verbs[i].name) == 0)
			return verbs[i].run(&verbs[i], argc, argv);
	return cmd_wrong(&none, "this program is started by fcgi-host, as in "
	    "fcgi-host usage");
}
