/*
 * fcgi-host-scanner: finds the functions and tells the spawner.
 *
 * Started with descriptor 3 (SOCK_SEQPACKET to the spawner, or to `fcgi-host
 * list`) and 4 (the functions directory).  Before it reads a byte of either it
 * opens what it will need (inotify, /etc/passwd) and gives up every right but
 * reading below that directory.  The first message brings the configuration.
 *
 * It ends with EXIT_AGAIN when only a new scanner can go on: a directory of
 * the same name stands where the functions directory was, or settings name an
 * account that is newer than its view of /etc/passwd.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/log.h"
#include "fcgi-host/loop.h"
#include "fcgi-host/scan.h"
#include "fcgi-host/scan_name.h"
#include "fcgi-host/scan_users.h"
#include "fcgi-host/sock.h"
#include "sandbox/confine.h"

enum { PEER_FD = 3, ROOT_FD = 4, EXIT_WRONG = 2, EXIT_AGAIN = EX_TEMPFAIL };

/* Events are taken this long after the first: most changes come in several
 * (create, write, close), and a writer without end wakes us so often only. */
#define GATHER_US 10000
#define SHORTAGE_US 1000000

struct scanner {
	struct loop *loop;
	struct loop_io peer, events;
	struct loop_timer gather, due, again;
	struct scan_watch *watch;
	struct scan *scan;
	bool has_conf, is_list;
	int exit_code;
};

struct arguments {
	uid_t uid;
	gid_t gid;
	unsigned envs_max;
	bool is_list;
};

/* -------------------------------------------------------------- messages */

static void
stop(struct scanner *scanner, int exit_code)
{
	scanner->exit_code = exit_code;
	loop_stop(scanner->loop);
}

/* The socket blocks, so this waits until the spawner has read.  Without it
 * nothing is left to do. */
static void
send_message(struct scanner *scanner, const struct ctl_msg *msg, const int *fd)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	int err;

	do {
		err = sock_send(PEER_FD, msg, msg->size, fd, fd != NULL);
		/* Too many descriptors are under way, or no memory. */
		if (err == -ETOOMANYREFS || err == -ENOBUFS || err == -ENOMEM)
			clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
		else if (err != 0)
			_exit(EXIT_SUCCESS);
	} while (err != 0);
	(void)scanner;
}

static void
report_put(void *arg, const struct ctl_function *info, const struct buf *env)
{
	CLEANUP_FD int fd = -1;
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_FN_PUT);
	msg.u.function = *info;
	if (info->has_env) {
		fd = sock_sealed("env", env->data + env->start, buf_len(env));
		if (fd < 0) {
			msg.u.function.has_env = 0;
			msg.u.function.problem = CTL_PROBLEM_READ;
			memset(msg.u.function.version, 0,
			    sizeof(msg.u.function.version));
			log_event(LOG_ERROR, "env_failed", "function=%s "
			    "error=\"%s\"", info->name, strerror(-fd));
		}
	}
	send_message(arg, &msg, fd >= 0 ? &fd : NULL);
}

static void
report_del(void *arg, const char *name)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_FN_DEL);
	SCAN_SET(msg.u.name.name, name);
	send_message(arg, &msg, NULL);
}

static void
report_sync(struct scanner *scanner)
{
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_FN_SYNC);
	send_message(scanner, &msg, NULL);
}

/* ------------------------------------------------------------------ work */

static void on_due(void *arg);

static void
arm(struct scanner *scanner)
{
	uint64_t due_us = scan_due_us(scanner->scan);

	if (due_us == UINT64_MAX)
		loop_timer_cancel(scanner->loop, &scanner->due);
	else if (loop_timer_set(scanner->loop, &scanner->due, due_us, on_due,
	    scanner) != 0)
		stop(scanner, EXIT_FAILURE);
	/* Without a watch on the parent it is for the spawner to try. */
	if (scan_is_back(scanner->scan) || (scan_is_gone(scanner->scan) &&
	    !scan_watch_has_parent(scanner->watch)))
		stop(scanner, EXIT_AGAIN);
}

static void
on_due(void *arg)
{
	struct scanner *scanner = arg;

	scan_step(scanner->scan);
	arm(scanner);
}

static void
on_gathered(void *arg)
{
	struct scanner *scanner = arg;
	int err = scan_take_events(scanner->scan);

	if (err == 0)
		err = loop_io_set(scanner->loop, &scanner->events, EPOLLIN);
	if (err != 0)
		log_fatal("watch_failed", "error=\"%s\"", strerror(-err));
	arm(scanner);
}

static void
on_events(void *arg, uint32_t events)
{
	struct scanner *scanner = arg;

	(void)events;
	if (loop_io_set(scanner->loop, &scanner->events, 0) != 0 ||
	    loop_timer_set(scanner->loop, &scanner->gather,
	    loop_now_us(scanner->loop) + GATHER_US, on_gathered,
	    scanner) != 0)
		stop(scanner, EXIT_FAILURE);
}

static void
scan_whole(void *arg)
{
	struct scanner *scanner = arg;
	int err = scan_all(scanner->scan);

	/* `list` learns from the missing end that this is not all. */
	if (err != 0 && scanner->is_list) {
		stop(scanner, EXIT_FAILURE);
		return;
	}
	/* What was not reported before the end of it would count as removed. */
	if (scan_is_shortage(err) && loop_timer_set(scanner->loop,
	    &scanner->again, loop_now_us(scanner->loop) + SHORTAGE_US,
	    scan_whole, scanner) == 0)
		return;
	report_sync(scanner);
	if (scanner->is_list)
		stop(scanner, EXIT_SUCCESS);
	else
		arm(scanner);
}

static void
take_conf(struct scanner *scanner, int fd)
{
	struct conf_errors errors = { .count = 0 };
	struct conf *conf = conf_read(fd, "configuration", &errors);
	bool is_whole;

	if (conf == NULL)
		log_fatal("conf_refused", "errors=\"%.*s\"",
		    (int)buf_len(&errors.text), (const char *)
		    buf_head(&errors.text));
	conf_errors_free(&errors);
	log_set_level(conf->log_level);
	is_whole = scan_set_conf(scanner->scan, conf);
	conf_unref(conf);
	if (!is_whole && scanner->has_conf) {
		stop(scanner, EXIT_AGAIN);
		return;
	}
	scanner->has_conf = true;
	scan_whole(scanner);
}

static void
take_message(struct scanner *scanner, const struct ctl_msg *msg, int fd)
{
	if (!scanner->has_conf && msg->type != CTL_CONF &&
	    msg->type != CTL_STDERR)
		log_fatal("peer_wrong", "type=%s is_before=conf",
		    ctl_type_name(msg->type));
	switch (msg->type) {
	case CTL_CONF:
		take_conf(scanner, fd);
		break;
	case CTL_SCAN:
		scan_whole(scanner);
		break;
	case CTL_STDERR:
		if (dup3(fd, STDERR_FILENO, 0) < 0)
			log_event(LOG_ERROR, "log_kept", "error=\"%s\"",
			    strerror(errno));
		break;
	default:
		log_fatal("peer_wrong", "type=%s", ctl_type_name(msg->type));
	}
}

static void
on_peer(void *arg, uint32_t events)
{
	struct scanner *scanner = arg;
	CLEANUP_FD int fd = -1;
	struct ctl_msg msg;
	size_t fd_count = 0;
	ssize_t n;

	(void)events;
	n = sock_recv(PEER_FD, &msg, sizeof(msg), &fd, 1, &fd_count);
	if (n == 0 || n == -ECONNRESET) {
		stop(scanner, EXIT_SUCCESS);
		return;
	}
	if (n < 0 || ctl_msg_check(&msg, (size_t)n, fd_count,
	    CTL_WAY_SPAWNER_TO_SCANNER) != 0)
		log_fatal("peer_wrong", "length=%zd", n);
	take_message(scanner, &msg, fd);
}

/* ----------------------------------------------------------------- start */

static bool
parse_id(const char *text, unsigned *id)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	*id = (unsigned)number;
	return errno == 0 && end != text && *end == '\0' &&
	    number < UINT32_MAX && text[0] != '-';
}

static bool
parse_arguments(int argc, char **argv, struct arguments *arguments)
{
	static const struct option options[] = {
		{ "uid", required_argument, NULL, 'u' },
		{ "gid", required_argument, NULL, 'g' },
		{ "environments", required_argument, NULL, 'e' },
		{ "list", no_argument, NULL, 'l' },
		{ NULL, 0, NULL, 0 },
	};
	bool has_uid = false, has_gid = false, is_right = true;
	int option;

	memset(arguments, 0, sizeof(*arguments));
	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'u')
			has_uid = parse_id(optarg, &arguments->uid);
		else if (option == 'g')
			has_gid = parse_id(optarg, &arguments->gid);
		else if (option == 'e')
			is_right = parse_id(optarg, &arguments->envs_max);
		else if (option == 'l')
			arguments->is_list = true;
		else
			return false;
	}
	return has_uid && has_gid && is_right && optind == argc;
}

static bool
descriptors_are_right(void)
{
	struct stat peer, root;

	return fstat(PEER_FD, &peer) == 0 && S_ISSOCK(peer.st_mode) &&
	    fstat(ROOT_FD, &root) == 0 && S_ISDIR(root.st_mode) &&
	    fcntl(PEER_FD, F_SETFD, FD_CLOEXEC) == 0 &&
	    fcntl(ROOT_FD, F_SETFD, FD_CLOEXEC) == 0 &&
	    fd_set_nonblock(PEER_FD, false) == 0;
}

/* What only a process with its rights can open.  `list` looks once, and needs
 * no watch. */
static void
open_before(struct scanner *scanner, struct scan_setup *setup)
{
	int err;

	setup->users_fd = scan_users_open();
	setup->own_uid = getuid();
	if (scanner->is_list)
		return;
	scanner->watch = scan_watch_new();
	if (scanner->watch == NULL)
		log_fatal("watch_failed", "error=\"%s\" mend=\"raise "
		    "fs.inotify.max_user_instances\"", strerror(errno));
	setup->watch = scanner->watch;
	err = scan_watch_parent(scanner->watch, ROOT_FD);
	if (err != 0)
		log_event(LOG_WARN, "parent_unwatched", "error=\"%s\" "
		    "mend=\"if the functions directory is replaced, restart\"",
		    strerror(-err));
}

static void
confine(const struct arguments *arguments)
{
	const struct confine rights = { .uid = arguments->uid,
		.gid = arguments->gid, .root_fd = -1, .read_fd = ROOT_FD,
		.spool_fd = -1 };
	const char *step = "";
	int err = confine_scanner(&rights, &step);

	if (err != 0)
		log_fatal("confine_failed", "step=%s error=\"%s\"", step,
		    strerror(-err));
}

static void
serve(struct scanner *scanner)
{
	int err = loop_io_add(scanner->loop, &scanner->peer, PEER_FD, EPOLLIN,
	    on_peer, scanner);

	if (err == 0 && scanner->watch != NULL)
		err = loop_io_add(scanner->loop, &scanner->events,
		    scan_watch_fd(scanner->watch), EPOLLIN, on_events,
		    scanner);
	if (err == 0)
		err = loop_run(scanner->loop);
	if (err != 0)
		log_fatal("loop_failed", "error=\"%s\"", strerror(-err));
}

int
main(int argc, char **argv)
{
	struct scanner scanner = { .peer = LOOP_IO_INIT,
		.events = LOOP_IO_INIT };
	struct scan_setup setup = { .root_fd = ROOT_FD, .users_fd = -1,
		.report = { report_put, report_del, &scanner } };
	struct arguments arguments;

	log_init("scanner", LOG_INFO);
	signal(SIGXFSZ, SIG_IGN); /* a log at the limit of a file's size */
	if (!parse_arguments(argc, argv, &arguments) ||
	    !descriptors_are_right()) {
		fputs("fcgi-host-scanner is started by fcgi-host run and "
		    "fcgi-host list, not by hand\n", stderr);
		return EXIT_WRONG;
	}
	scanner.is_list = arguments.is_list;
	setup.envs_max = arguments.envs_max;
	open_before(&scanner, &setup);
	confine(&arguments);
	scanner.loop = loop_new();
	scanner.scan = scan_new(&setup);
	if (scanner.loop == NULL || scanner.scan == NULL)
		log_fatal("no_memory", "mend=\"free some\"");
	serve(&scanner);
	loop_io_del(scanner.loop, &scanner.peer);
	loop_io_del(scanner.loop, &scanner.events);
	scan_free(scanner.scan);
	scan_watch_free(scanner.watch);
	loop_free(scanner.loop);
	return scanner.exit_code;
}
