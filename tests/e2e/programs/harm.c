/*
 * A hostile CGI function whose harm only a whole host can show: it will not end,
 * or does not end its answer.  The query string says how.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char head[] = "Content-Type: text/plain\r\n\r\n";

static void
pour(const char *piece, size_t n)
{
	static char block[65536];
	size_t length = 0;

	while (length + n <= sizeof(block)) {
		memcpy(block + length, piece, n);
		length += n;
	}
	while (write(1, block, length) > 0)
		continue;
}

static void
trickle(const char *piece)
{
	for (;;) {
		if (write(1, piece, 1) != 1)
			return;
		usleep(20000);
	}
}

int
main(void)
{
	const char *how = getenv("QUERY_STRING");

	for (int i = 1; i < NSIG; i++)
		signal(i, SIG_IGN);
	if (how == NULL)
		return 2;
	if (strcmp(how, "stop") == 0)
		raise(SIGSTOP);
	if (strcmp(how, "header") == 0)
		pour("X", 1);
	if (strcmp(how, "fields") == 0)
		pour("X-Field: value\r\n", 16);
	if (strcmp(how, "crlf") == 0)
		pour("\r\n", 2);
	if (strcmp(how, "trickled-header") == 0)
		trickle("X");
	(void)!write(1, head, sizeof(head) - 1);
	if (strcmp(how, "body") == 0)
		pour("endless ", 8);
	if (strcmp(how, "trickled-body") == 0)
		trickle(".");
	for (;;)
		pause();
}
