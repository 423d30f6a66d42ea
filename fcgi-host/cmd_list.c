#include "fcgi-host/cmd_list.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/cmd.h"
#include "fcgi-host/cmd_program.h"
#include "fcgi-host/cmd_unused.h"
#include "fcgi-host/cmd_verdicts.h"
#include "fcgi-host/sock.h"
#include "sandbox/userns.h"

#define SCANNER "fcgi-host-scanner"

/* The scanner's start: its socket is 3 and the functions directory 4. */
struct scanner_start {
	char program[PATH_MAX];
	char uid[16], gid[16];
	int peer_fd, root_fd, null_fd;
};

/* As root the scanner becomes the configured user, like under the host; for
 * anybody else it stays who he is. */
static int
choose_user(const struct conf *conf, struct scanner_start *start)
{
	uid_t uid = getuid();
	gid_t gid = getgid();
	const struct passwd *entry;

	if (uid == 0 && !userns_is_single()) {
		errno = 0;
		entry = getpwnam(conf->user);
		if (entry == NULL) {
			(void)cmd_fail("there is no user %s, as whom the "
			    "directory would be read; create it, or mend "
			    "user = in [host]", conf->user);
			return -ESRCH;
		}
		uid = entry->pw_uid;
		gid = entry->pw_gid;
	}
	(void)snprintf(start->uid, sizeof(start->uid), "%u", uid);
	(void)snprintf(start->gid, sizeof(start->gid), "%u", gid);
	return 0;
}

/* Between fork and exec: async-signal-safe calls only. */
_Noreturn static void
become_scanner(const struct scanner_start *start)
{
	char *const argv[] = { (char *)(uintptr_t)SCANNER,
		(char *)(uintptr_t)"--list", (char *)(uintptr_t)"--uid",
		(char *)(uintptr_t)start->uid, (char *)(uintptr_t)"--gid",
		(char *)(uintptr_t)start->gid, NULL };
	char *const no_environment[] = { NULL };
	/* Out of the way of 3 and 4 first; dup2 clears close-on-exec. */
	int peer_fd = fcntl(start->peer_fd, F_DUPFD, 10);
	int root_fd = fcntl(start->root_fd, F_DUPFD, 10);

	if (peer_fd >= 0 && root_fd >= 0 && dup2(peer_fd, 3) == 3 &&
	    dup2(root_fd, 4) == 4 && dup2(start->null_fd, 0) == 0 &&
	    dup2(start->null_fd, 1) == 1 && close_range(5, ~0u, 0) == 0)
		execve(start->program, argv, no_environment);
	_exit(127);
}

static int
read_file(const char *path, char **out, size_t *n)
{
	CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = 1;

	*n = 0;
	*out = NULL;
	if (fd < 0)
		return -errno;
	*out = malloc(CONF_FILE_MAX);
	if (*out == NULL)
		return -ENOMEM;
	while (got > 0 && *n < CONF_FILE_MAX) {
		got = read(fd, *out + *n, CONF_FILE_MAX - *n);
		if (got > 0)
			*n += (size_t)got;
	}
	return got < 0 ? -errno : 0;
}

static int
send_conf(int fd, const struct conf *conf)
{
	CLEANUP_FD int sealed_fd = -1;
	struct ctl_msg msg;
	char *text;
	size_t n;
	int err = read_file(conf->file, &text, &n);

	if (err == 0) {
		sealed_fd = sock_sealed("conf", text, n);
		err = sealed_fd < 0 ? sealed_fd : 0;
	}
	free(text);
	if (err != 0)
		return err;
	ctl_msg_init(&msg, CTL_CONF);
	return sock_send(fd, &msg, msg.size, &sealed_fd, 1);
}

static int
collect(int fd, int (*each)(const struct ctl_function *, void *), void *arg)
{
	struct ctl_msg msg;
	size_t fd_count;
	int env_fd, err;
	ssize_t n;

	for (;;) {
		n = sock_recv(fd, &msg, sizeof(msg), &env_fd, 1, &fd_count);
		if (n <= 0)
			return n == 0 || n == -ECONNRESET ? -EIO : (int)n;
		if (fd_count > 0)
			close(env_fd);
		if (ctl_msg_check(&msg, (size_t)n, fd_count,
		    CTL_WAY_TO_COMMAND) != 0)
			return -EPROTO;
		if (msg.type == CTL_FN_SYNC)
			return 0;
		if (msg.type != CTL_FN_PUT)
			return -EPROTO;
		err = each(&msg.u.function, arg);
		if (err != 0)
			return err;
	}
}

/* Closing the socket ends a scanner that is still at work. */
static int
reap(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return -ENOEXEC;
	return 0;
}

int
list_collect(const struct conf *conf,
    int (*each)(const struct ctl_function *function, void *arg), void *arg)
{
	CLEANUP_FD int root_fd = -1;
	CLEANUP_FD int null_fd = -1;
	struct scanner_start start;
	int pair[2], err, exec_err;
	pid_t pid;

	root_fd = open(conf->functions, O_PATH | O_DIRECTORY | O_CLOEXEC);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (root_fd < 0 || null_fd < 0)
		return -errno;
	err = cmd_program(SCANNER, start.program, sizeof(start.program));
	if (err == 0)
		err = choose_user(conf, &start);
	if (err == 0)
		err = sock_pair(pair);
	if (err != 0)
		return err;
	start.peer_fd = pair[1];
	start.root_fd = root_fd;
	start.null_fd = null_fd;
	pid = fork();
	if (pid == 0)
		become_scanner(&start);
	close_fd(&pair[1]);
	err = pid < 0 ? -errno : send_conf(pair[0], conf);
	if (err == 0)
		err = collect(pair[0], each, arg);
	close_fd(&pair[0]);
	exec_err = pid < 0 ? 0 : reap(pid);
	if (exec_err == -ENOEXEC)
		(void)cmd_fail("%s cannot be started; install fcgi-host whole, "
		    "or set FCGI_HOST_LIBEXEC to the directory that has it",
		    start.program);
	return exec_err != 0 ? exec_err : err;
}

/* ------------------------------------------------------------- the table */

enum { COLUMN_FUNCTION, COLUMN_ROUTE, COLUMN_RUNTIME, COLUMN_TENANT,
	COLUMN_PROTOCOL, COLUMN_VERSION, COLUMN_COUNT };

static const char *const headings[COLUMN_COUNT] = { "FUNCTION", "ROUTE",
	"RUNTIME", "TENANT", "PROTOCOL", "VERSION" };

struct row {
	char *cells[COLUMN_COUNT];
	char *note;
};

struct table {
	const struct conf *conf;
	char **missing; /* of each runtime */
	struct verdicts verdicts;
	struct known known;
	struct row *rows;
	size_t count, size;
	int width[COLUMN_COUNT];
};

static char *
route_of(const struct conf *conf, const struct ctl_function *function)
{
	char *route;

	if (function->problem != CTL_PROBLEM_NONE)
		return strdup("-");
	if (asprintf(&route, "%s/%s", conf->url_prefix, function->name) < 0)
		return NULL;
	return route;
}

static const char *
runtime_of(const struct ctl_function *function)
{
	if (function->runtime[0] != '\0')
		return function->runtime;
	return function->problem == CTL_PROBLEM_NONE ? "executable" : "-";
}

static const char *
protocol_of(const struct ctl_function *function)
{
	if (function->problem != CTL_PROBLEM_NONE)
		return "-";
	return function->is_fastcgi ? "fastcgi" : "cgi";
}

/* The problems' names, for a person and for a program. */
static const struct {
	const char *text, *word;
} problems[CTL_PROBLEM_COUNT] = {
	[CTL_PROBLEM_NONE] = { "note", NULL },
	[CTL_PROBLEM_NAME] = { "bad name", "name" },
	[CTL_PROBLEM_TWICE] = { "two of one name", "twice" },
	[CTL_PROBLEM_WRITING] = { "half-written", "writing" },
	[CTL_PROBLEM_LOOP] = { "loop of links", "loop" },
	[CTL_PROBLEM_LINK_OUT] = { "link out", "link_out" },
	[CTL_PROBLEM_LINK] = { "link", "link" },
	[CTL_PROBLEM_OWNER] = { "wrong owner", "owner" },
	[CTL_PROBLEM_MODE] = { "wrong mode", "mode" },
	[CTL_PROBLEM_TYPE] = { "not a program", "type" },
	[CTL_PROBLEM_SIDECAR] = { "sidecar", "sidecar" },
	[CTL_PROBLEM_TENANT] = { "tenant", "tenant" },
	[CTL_PROBLEM_READ] = { "unreadable", "read" },
	[CTL_PROBLEM_MANY] = { "too many", "many" },
};

/* What keeps its runtime from starting it, or NULL. */
static const char *
missing_of(const struct conf *conf, char *const *missing,
    const struct ctl_function *function)
{
	const struct conf_runtime *runtime =
	    function->problem != CTL_PROBLEM_NONE ? NULL :
	    conf_runtime_by_name(conf, function->runtime);

	return runtime == NULL ? NULL : missing[runtime - conf->runtimes];
}

/* The scanner's words, or ours about what it cannot see; to be freed. */
static char *
detail_of(const struct conf *conf, char *const *missing,
    const struct ctl_function *function)
{
	const char *why = missing_of(conf, missing, function);
	char *detail;

	if (why == NULL)
		return strdup(function->detail);
	if (asprintf(&detail, "%s%s%s", why, function->note ? "; " : "",
	    function->note ? function->detail : "") < 0)
		return NULL;
	return detail;
}

/* As it is served: a check may have found another runtime for it. */
static struct ctl_function
as_served(const struct ctl_function *function,
    const struct ctl_status_check *verdict)
{
	struct ctl_function served = *function;

	if (verdict == NULL || verdict->state != CTL_CHECK_OTHERWISE)
		return served;
	served.is_fastcgi = verdict->is_fastcgi;
	memset(served.runtime, 0, sizeof(served.runtime));
	memcpy(served.runtime, verdict->text,
	    strnlen(verdict->text, CTL_RUNTIME_MAX));
	return served;
}

/* Both; takes them.  NULL: no memory. */
static char *
join_notes(char *first, char *second)
{
	char *both = NULL;

	if (first != NULL && second != NULL && asprintf(&both, "%s%s%s",
	    first, first[0] != '\0' && second[0] != '\0' ? "; " : "",
	    second) < 0)
		both = NULL;
	free(first);
	free(second);
	return both;
}

/* What is wrong, or a note about what is served all the same. */
static char *
note_of(const struct table *table, const struct ctl_function *function)
{
	char *detail = detail_of(table->conf, table->missing, function);
	char *note = NULL;

	if (detail != NULL && detail[0] == '\0' &&
	    function->problem == CTL_PROBLEM_NONE)
		return detail;
	if (detail == NULL || asprintf(&note, "%s: %s",
	    problems[function->problem].text, detail) < 0)
		note = NULL;
	free(detail);
	return note;
}

static void
row_free(struct row *row)
{
	for (int i = 0; i < COLUMN_COUNT; i++)
		free(row->cells[i]);
	free(row->note);
}

static void
table_free(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		row_free(&table->rows[i]);
	free(table->rows);
}

static int
table_add(const struct ctl_function *found, void *arg)
{
	struct table *table = arg;
	const struct ctl_status_check *verdict = verdicts_find(
	    &table->verdicts, found);
	const struct ctl_function served = as_served(found, verdict);
	const struct ctl_function *function = &served;
	struct row row = { .cells = {
		[COLUMN_FUNCTION] = strdup(function->name),
		[COLUMN_ROUTE] = route_of(table->conf, function),
		[COLUMN_RUNTIME] = strdup(runtime_of(function)),
		[COLUMN_TENANT] = strdup(function->tenant[0] == '\0' ? "-" :
		    function->tenant),
		[COLUMN_PROTOCOL] = strdup(protocol_of(function)),
		[COLUMN_VERSION] = strdup(function->version[0] == '\0' ? "-" :
		    function->version),
	}, .note = join_notes(verdict_note(verdict),
	    note_of(table, function)) };
	bool is_whole = row.note != NULL &&
	    known_add(&table->known, function->name) == 0;

	for (int i = 0; i < COLUMN_COUNT; i++)
		is_whole = is_whole && row.cells[i] != NULL;
	if (is_whole && table->count == table->size) {
		size_t size = table->size == 0 ? 64 : table->size * 2;
		void *rows = reallocarray(table->rows, size, sizeof(row));

		is_whole = rows != NULL;
		if (is_whole) {
			table->rows = rows;
			table->size = size;
		}
	}
	if (!is_whole) {
		row_free(&row);
		return -ENOMEM;
	}
	table->rows[table->count++] = row;
	return 0;
}

static int
compare_rows(const void *a, const void *b)
{
	const struct row *left = a, *right = b;

	return strcmp(left->cells[COLUMN_FUNCTION],
	    right->cells[COLUMN_FUNCTION]);
}

static int
put_row(struct buf *out, const struct table *table, const char *const *cells,
    const char *note)
{
	int err = 0;

	for (int i = 0; i < COLUMN_COUNT && err == 0; i++)
		err = buf_addf(out, "%-*s  ", table->width[i], cells[i]);
	if (err == 0)
		err = buf_addf(out, "%s", note);
	/* No blanks at a line's end. */
	while (err == 0 && buf_len(out) > 0 && out->data[out->end - 1] == ' ')
		out->end--;
	return err != 0 ? err : buf_add_str(out, "\n");
}

static int
table_print(struct table *table)
{
	struct buf out = { 0 };
	int err, code;

	if (table->count > 1)
		qsort(table->rows, table->count, sizeof(*table->rows),
		    compare_rows);
	for (int i = 0; i < COLUMN_COUNT; i++) {
		table->width[i] = (int)strlen(headings[i]);
		for (size_t row = 0; row < table->count; row++) {
			int width = (int)strlen(table->rows[row].cells[i]);

			/* One long name does not push all others away. */
			if (width > table->width[i] && width <= 48)
				table->width[i] = width;
		}
	}
	err = put_row(&out, table, headings, "WHAT IS WRONG");
	for (size_t i = 0; i < table->count && err == 0; i++)
		err = put_row(&out, table,
		    (const char *const *)table->rows[i].cells,
		    table->rows[i].note);
	code = err != 0 ? cmd_fail("%s", strerror(-err)) : cmd_print(&out);
	buf_free(&out);
	return code;
}

/* ------------------------------------------------------------------ JSON */

struct json {
	const struct conf *conf;
	char **missing; /* of each runtime */
	struct verdicts verdicts;
	struct known known;
	struct buf out;
};

static int
put_text(struct buf *out, const char *key, const char *value)
{
	int err = buf_addf(out, "%s\"%s\":",
	    out->data[out->end - 1] == '{' ? "" : ",", key);

	if (err != 0)
		return err;
	if (value == NULL || value[0] == '\0')
		return buf_add_str(out, "null");
	return buf_add_json(out, value, strlen(value));
}

static int
json_add(const struct ctl_function *found, void *arg)
{
	struct json *json = arg;
	const struct ctl_status_check *verdict = verdicts_find(
	    &json->verdicts, found);
	const struct ctl_function served = as_served(found, verdict);
	const struct ctl_function *function = &served;
	struct buf *out = &json->out;
	bool is_served = function->problem == CTL_PROBLEM_NONE;
	char *route = route_of(json->conf, function);
	char *detail = detail_of(json->conf, json->missing, function);
	int err = route == NULL || detail == NULL ||
	    known_add(&json->known, function->name) != 0 ? -ENOMEM :
	    buf_add_str(out, "{");

	if (err == 0)
		err = put_text(out, "function", function->name);
	if (err == 0)
		err = put_text(out, "route", is_served ? route : NULL);
	if (err == 0)
		err = put_text(out, "path", function->path);
	if (err == 0)
		err = put_text(out, "runtime", function->runtime);
	if (err == 0)
		err = put_text(out, "tenant", function->tenant);
	if (err == 0)
		err = put_text(out, "protocol",
		    is_served ? protocol_of(function) : NULL);
	if (err == 0)
		err = put_text(out, "version", function->version);
	if (err == 0)
		err = put_text(out, "problem",
		    problems[function->problem].word);
	if (err == 0)
		err = put_text(out, "detail", detail);
	if (err == 0)
		err = put_text(out, "check", verdict_word(verdict));
	if (err == 0)
		err = put_text(out, "check_detail", verdict == NULL ||
		    verdict->state == CTL_CHECK_OTHERWISE ? NULL :
		    verdict->text);
	if (err == 0)
		err = buf_add_str(out, "}\n");
	free(detail);
	free(route);
	return err;
}

/* Beside what is asked for: a section of nobody is no function. */
static void
warn(void *arg, const char *sentence)
{
	(void)arg;
	(void)cmd_fail("warning: %s", sentence);
}

static int
print_json(const struct conf *conf, int *collect_err)
{
	struct json json = { .conf = conf, .missing = programs_look(conf) };
	int code = CMD_DONE;

	verdicts_ask(conf, &json.verdicts);
	*collect_err = json.missing == NULL ? -ENOMEM :
	    list_collect(conf, json_add, &json);
	if (*collect_err == 0)
		code = cmd_print(&json.out);
	if (*collect_err == 0)
		known_each_unused(&json.known, conf, warn, NULL);
	verdicts_say_why(&json.verdicts);
	verdicts_free(&json.verdicts);
	known_free(&json.known);
	programs_free(conf, json.missing);
	buf_free(&json.out);
	return code;
}

static int
print_table(const struct conf *conf, int *collect_err)
{
	struct table table = { .conf = conf, .missing = programs_look(conf) };
	int code = CMD_DONE;

	verdicts_ask(conf, &table.verdicts);
	*collect_err = table.missing == NULL ? -ENOMEM :
	    list_collect(conf, table_add, &table);
	if (*collect_err == 0)
		code = table_print(&table);
	if (*collect_err == 0)
		known_each_unused(&table.known, conf, warn, NULL);
	verdicts_say_why(&table.verdicts);
	verdicts_free(&table.verdicts);
	known_free(&table.known);
	programs_free(conf, table.missing);
	table_free(&table);
	return code;
}

int
cmd_list(const struct cmd_verb *verb, int argc, char **argv)
{
	const char *path = DEFAULT_CONFIG;
	bool is_json = false;
	const struct cmd_option options[] = { CMD_OPTION_CONF(&path),
		CMD_OPTION_JSON(&is_json) };
	struct conf *conf;
	int code, err = 0;

	if (!cmd_options(verb, options, 2, argc, argv, NULL, &code))
		return code;
	conf = cmd_conf(path);
	if (conf == NULL)
		return CMD_WRONG;
	code = is_json ? print_json(conf, &err) : print_table(conf, &err);
	if (err != 0)
		code = cmd_fail("the functions directory %s cannot be listed: "
		    "%s", conf->functions, strerror(-err));
	conf_unref(conf);
	return code;
}
