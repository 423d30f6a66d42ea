/*
 * `fcgi-host`: finds the verb and hands over to it.
 */
#include <stdio.h>
#include <string.h>

#include "fcgi-host/cmd.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct cmd_verb verbs[] = {
	{ "run", "", "Serve functions, in the foreground.", NULL, cmd_run },
	{ "check", "", "Check configuration, isolation and functions.", NULL,
	    cmd_check },
	{ "list", "", "Show the functions, and why one is not served.", NULL,
	    cmd_list },
	{ "status", "", "Show what a running host does.", NULL, cmd_status },
	{ "new", "LANGUAGE FUNCTION", "Write a function to begin with.",
	    "\nLANGUAGE is sh, python, node, php, perl, ruby or c.  The function "
	    "and its settings,\nFUNCTION.ini, are new files; nothing is "
	    "replaced.", cmd_new },
	{ "logs", "[FUNCTION]", "Show what functions wrote to their stderr.",
	    "\nReads the log that `log` of [host] names, with what it was "
	    "rotated to, or systemd's\njournal.  Needs no running host.",
	    cmd_logs },
	{ "invoke", "FUNCTION", "Call a function without a web server.",
	    "\nThe request waits in the same queue and runs in the same "
	    "sandboxes as a web\nserver's, and leaves a record.  The answer's "
	    "body goes to standard output.", cmd_invoke },
	{ "shell", "FUNCTION [-- COMMAND [ARGUMENT ...]]",
	    "Open a shell in a function's sandbox.",
	    "\nThe running host makes it as for a request: the same files, "
	    "user, ceilings and\nenvironment.  For root.", cmd_shell },
	{ "usage", "", "Sum up the accounting log.", NULL, cmd_books },
	{ "invoice", "", "Write a tenant's bill of a month.", NULL, cmd_books },
	{ "reload", "", "Put a changed configuration into service.", NULL,
	    cmd_ctl },
	{ "reopen", "", "Switch to a new accounting log after a rotation.",
	    NULL, cmd_ctl },
	{ "drain", "", "Finish what runs, accept nothing more, and stop.",
	    NULL, cmd_ctl },
};

/* For sentences about no verb in particular. */
static const struct cmd_verb none = { .name = "", .operands = "" };

static void
print_help(void)
{
	size_t i;

	printf("fcgi-host VERB [OPTION ...]\n\n"
	    "A function host: runs web functions, sandboxed and billed, "
	    "behind a web server.\n\n");
	for (i = 0; i < COUNT(verbs); i++)
		printf("  %-9s %s\n", verbs[i].name, verbs[i].summary);
	printf("\n  fcgi-host VERB --help   the options of one verb\n"
	    "  fcgi-host --version     the version\n");
}

static int
unknown_verb(const char *name)
{
	const char *names[COUNT(verbs)], *near;
	size_t i;

	for (i = 0; i < COUNT(verbs); i++)
		names[i] = verbs[i].name;
	near = settings_nearest(name, names, i);
	if (near != NULL)
		return cmd_wrong(&none, "\"%s\" is no verb; do you mean %s",
		    name, near);
	return cmd_wrong(&none, "\"%s\" is no verb", name);
}

int
main(int argc, char **argv)
{
	size_t i;

	log_init("command", LOG_WARN);
	if (argc < 2)
		return cmd_wrong(&none, "say what to do");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		print_help();
		return CMD_DONE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("fcgi-host %s\n", PACKAGE_VERSION_TEXT);
		return CMD_DONE;
	}
	for (i = 0; i < COUNT(verbs); i++)
		if (strcmp(argv[1], verbs[i].name) == 0)
			return verbs[i].run(&verbs[i], argc - 1, argv + 1);
	return unknown_verb(argv[1]);
}
