#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/cmd.h"

#define BOOKS "fcgi-host-books"

/* Its lines hold what clients and functions chose, and the libraries that
 * read them are in that program alone. */
int
cmd_books(const struct cmd_verb *verb, int argc, char **argv)
{
	char program[PATH_MAX];

	(void)verb;
	(void)argc;
	if (cmd_program(BOOKS, program, sizeof(program)) != 0)
		return cmd_fail("the path of " BOOKS " is too long");
	(void)execv(program, argv);
	return cmd_fail("%s cannot be started: %s; install fcgi-host whole, "
	    "or set FCGI_HOST_LIBEXEC to the directory that has it", program,
	    strerror(errno));
}
