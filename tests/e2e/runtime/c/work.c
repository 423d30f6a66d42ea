/* A function that does what the URL's path behind it says. */
// libs: m
#include <ctype.h>
#include <errno.h>
#include <fcgi-host/function.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static int count;

/* Names that the runtime's own rooms have, too. */
int
record_write(void)
{
	return 7;
}

int
answer_end(void)
{
	return record_write();
}

static int
do_hello(struct fcgi_request *request)
{
	return fcgi_printf(request, "hello %d", ++count);
}

static const char *
or_none(const char *text)
{
	return text != NULL ? text : "(none)";
}

static int
do_facts(struct fcgi_request *request)
{
	const char *name = fcgi_param(request, "X_NAME");

	fcgi_printf(request, "method=%s\npath=%s\nid=%s\n",
	    fcgi_method(request), fcgi_path(request), fcgi_id(request));
	fcgi_printf(request, "query=%s\nfield=%s\ntype=%s\nparam=%s\n",
	    or_none(fcgi_query(request, name != NULL ? name : "name")),
	    or_none(fcgi_field(request, "x-Some-field")),
	    or_none(fcgi_field(request, "Content-Type")),
	    or_none(fcgi_param(request, "REMOTE_ADDR")));
	return fcgi_printf(request, "own=%d root=%.0f", answer_end(),
	    sqrt(strlen(fcgi_path(request)) * 6.0));
}

static int
do_echo(struct fcgi_request *request)
{
	char piece[10000];
	ssize_t n;

	fcgi_header(request, "Content-Type", "application/octet-stream");
	while ((n = fcgi_read(request, piece, sizeof(piece))) > 0)
		if (fcgi_write(request, piece, (size_t)n) < 0)
			return 1;
	if (n < 0)
		fprintf(stderr, "read: %s\n", strerror((int)-n));
	return (int)n;
}

static int
do_body(struct fcgi_request *request)
{
	size_t n;
	const char *body = fcgi_body(request, 1000000, &n);

	if (body == NULL) {
		fcgi_status(request, errno == EFBIG ? 413 : 400);
		return fcgi_printf(request, "%s %zu", strerror(errno), n);
	}
	if (strlen(body) > n)
		abort();
	fcgi_printf(request, "%zu ", n);
	return fcgi_write(request, body, n);
}

static int
do_lines(struct fcgi_request *request)
{
	char piece[1000];
	ssize_t n;

	fcgi_printf(request, "begin\n");
	fcgi_flush(request);
	while ((n = fcgi_read(request, piece, sizeof(piece))) > 0) {
		printf("seen %.*s", (int)n, piece);
		fcgi_printf(request, "got %.*s", (int)n, piece);
		fcgi_flush(request);
	}
	return (int)n;
}

static int
do_header(struct fcgi_request *request)
{
	fcgi_puts(request, "never seen");
	/* what it returns is not looked at */
	fcgi_header(request, or_none(fcgi_query(request, "name")),
	    or_none(fcgi_query(request, "value")));
	return 0;
}

static int
do_fields(struct fcgi_request *request)
{
	fcgi_status(request, 404);
	fcgi_header(request, "content-type", "text/html");
	fcgi_header(request, "Content-Type", "text/css");
	fcgi_header(request, "X-Twice", "one");
	fcgi_header(request, "X-Twice", "two");
	return 0;
}

static int
do_status(struct fcgi_request *request)
{
	fcgi_status(request, atoi(or_none(fcgi_query(request, "to"))));
	return fcgi_puts(request, "a body");
}

static int
do_move(struct fcgi_request *request)
{
	return fcgi_header(request, "Location", "https://example.org/");
}

static int
do_fail(struct fcgi_request *request)
{
	fcgi_header(request, "X-Secret", "held");
	fcgi_puts(request, "held as well");
	return 3;
}

static int
do_fail_later(struct fcgi_request *request)
{
	fcgi_puts(request, "a beginning");
	fcgi_flush(request);
	if (fcgi_query(request, "late") != NULL)
		return fcgi_header(request, "X-Late", "yes") < 0 ? 0 : 1;
	return 3;
}

static int
do_print(struct fcgi_request *request)
{
	printf("a line for the log\n");
	fprintf(stderr, "and one for stderr\n");
	printf("without an end");
	return fcgi_puts(request, "printed");
}

static int
do_large(struct fcgi_request *request)
{
	size_t size = strtoul(or_none(fcgi_query(request, "size")), NULL, 10);
	char *part = fcgi_alloc(request, size);

	for (int i = 0; part != NULL && i < 40; i++) {
		memset(part, i % 251, size);
		if (fcgi_write(request, part, size) < 0)
			return 1;
	}
	return 0;
}

static int
do_alloc(struct fcgi_request *request)
{
	fcgi_alloc(request, (size_t)-1 - (size_t)count);
	return fcgi_puts(request, "never seen");
}

static int
do_long(struct fcgi_request *request)
{
	return fcgi_printf(request, "%05000d%5000s.", 7, "x");
}

static int
do_endless(struct fcgi_request *request)
{
	static char piece[50000];
	int n = 0;

	memset(piece, '.', sizeof(piece));
	while (fcgi_write(request, piece, sizeof(piece)) == 0 &&
	    fcgi_flush(request) == 0)
		if (++n % 8 == 1)
			printf("piece %d.\n", n);
	printf("it was left\n");
	return 1;
}

static int
do_crash(struct fcgi_request *request)
{
	fcgi_puts(request, "never seen");
	abort();
}

static int
do_child(struct fcgi_request *request)
{
	FILE *found = popen("cat; ls -l /proc/self/fd", "r");
	char line[200];

	while (found != NULL && fgets(line, sizeof(line), found) != NULL)
		fcgi_puts(request, line);
	return found == NULL || pclose(found) < 0;
}

static int
do_forks(struct fcgi_request *request)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0)
		for (;;)
			pause();
	kill(child, SIGTERM);
	waitpid(child, &status, 0);
	return fcgi_printf(request, "%d", WTERMSIG(status));
}

/* A child that comes back with the result of the URL, or exits with it. */
static int
do_comes(struct fcgi_request *request)
{
	int status = 0, result = atoi(fcgi_query(request, "result"));
	pid_t child;

	fcgi_puts(request, "begun ");
	fcgi_flush(request);
	child = fork();
	if (child == 0) {
		if (fcgi_query(request, "exits") != NULL)
			exit(result);
		fcgi_puts(request, "child ");
		return result;
	}
	waitpid(child, &status, 0);
	return fcgi_printf(request, "parent %d %d", WEXITSTATUS(status),
	    getpid());
}

static volatile sig_atomic_t alarms;

static void
on_alarm(int number)
{
	(void)number;
	alarms++;
}

/* A signal every millisecond, that interrupts what waits. */
static int
do_alarm(struct fcgi_request *request)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval each = { { 0, 1000 }, { 0, 1000 } };
	int result;

	alarms = 0;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &each, NULL);
	while (alarms < 3)
		pause();
	result = do_lines(request);
	memset(&each, 0, sizeof(each));
	setitimer(ITIMER_REAL, &each, NULL);
	return result;
}

static const struct {
	const char *name;
	int (*run)(struct fcgi_request *request);
} paths[] = {
	{ "/", do_hello }, { "/facts", do_facts }, { "/echo", do_echo },
	{ "/body", do_body }, { "/lines", do_lines }, { "/header", do_header },
	{ "/fields", do_fields }, { "/status", do_status },
	{ "/move", do_move }, { "/fail", do_fail },
	{ "/fail-later", do_fail_later }, { "/print", do_print },
	{ "/large", do_large }, { "/alloc", do_alloc }, { "/long", do_long },
	{ "/endless", do_endless }, { "/crash", do_crash },
	{ "/child", do_child }, { "/comes", do_comes },
	{ "/forks", do_forks }, { "/alarm", do_alarm },
};

int
handler(struct fcgi_request *request)
{
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (strcmp(fcgi_path(request), paths[i].name) == 0)
			return paths[i].run(request);
	return fcgi_status(request, 404);
}
