#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/chain_file.h"
#include "fcgi-host/log.h"
#include "fcgi-host/notify.h"
#include "fcgi-host/privileges.h"
#include "fcgi-host/sock.h"
#include "fcgi-host/spawner.h"
#include "sandbox/userns.h"
#include "sandbox/weight.h"

#define PROGRAM_MAX 512
#define LAYERS_MAX 32
/* A role's start, a reload, clients, what the scanner reports. */
#define RESERVE 64

/* Paths of the programs, and the two roles' specifications that point there. */
struct programs {
	char init[PROGRAM_MAX], gateway[PROGRAM_MAX], scanner[PROGRAM_MAX];
};

/* ------------------------------------------------------------ before it all */

/* 0-2 must be something, or a log file would be opened as one of them; what
 * came along unsaid is not for us and not for those that we start. */
static void
tidy_fds(const struct given *given)
{
	int fd;

	(void)close_range(GIVEN_FIRST + (unsigned)given->count, ~0u, 0);
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	close_fd(&fd);
}

static void
do_nothing(int number)
{
	(void)number;
}

/* A handler, not SIG_IGN: that would be inherited by every function.  SIGXFSZ
 * comes of a log at the limit of a file's size; the write fails as well. */
static void
tame_signals(void)
{
	struct sigaction action = { .sa_handler = do_nothing };

	sigemptyset(&action.sa_mask);
	(void)sigaction(SIGPIPE, &action, NULL);
	(void)sigaction(SIGXFSZ, &action, NULL);
}

static void
on_signal(void *arg, int number)
{
	struct spawner *spawner = arg;

	switch (number) {
	case SIGHUP:
		spawner_reload(spawner, NULL);
		break;
	case SIGUSR1:
		spawner_reopen(spawner, NULL);
		break;
	default:
		spawner_drain(spawner, NULL);
		break;
	}
}

static int
start_loop(struct spawner *spawner)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, 0 };

	spawner->loop = loop_new();
	if (spawner->loop == NULL)
		return -ENOMEM;
	return loop_signals(spawner->loop, signals, on_signal, spawner);
}

static void
read_options(struct spawner *spawner, int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "takeover", no_argument, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	spawner->conf_path = DEFAULT_CONFIG;
	opterr = 0;
	while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		if (option == 'c')
			spawner->conf_path = optarg;
		else if (option == 't')
			spawner->is_takeover = true;
		else
			break;
	}
	if (option == -1 && optind == argc)
		return;
	fprintf(stderr, "fcgi-host-spawner: started by `fcgi-host run`; takes "
	    "nothing but -c FILE and --takeover\n");
	exit(2);
}

/* A broken environment: what was made so far is taken back.  Nothing is, if
 * the places are not all ours: they may be another host's. */
__attribute__((format(printf, 3, 4)))
static _Noreturn void
give_up(struct spawner *spawner, const char *event, const char *fmt, ...)
{
	char why[SPAWNER_PROBLEM_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	cgroup_parent_close(&spawner->cgroup);
	if (spawner->places.control_fd >= 0)
		places_close(&spawner->places, spawner->conf,
		    LISTENERS_STOP);
	log_fatal(event, "why=\"%s\"", why);
}

/* --------------------------------------------------------------- programs */

static void
find_program(char out[PROGRAM_MAX], const char *name)
{
	const char *directory = getenv("FCGI_HOST_LIBEXEC");
	int n = snprintf(out, PROGRAM_MAX, "%s/%s",
	    directory != NULL ? directory : PKGLIBEXECDIR, name);

	if (n < 0 || n >= PROGRAM_MAX || out[0] != '/')
		log_fatal("programs", "why=\"FCGI_HOST_LIBEXEC is no absolute "
		    "path, or too long\"");
	if (access(out, X_OK) != 0)
		log_fatal("programs", "why=\"%s cannot be executed: %s; "
		    "install fcgi-host whole\"", out, strerror(errno));
}

static void
find_programs(struct programs *programs)
{
	find_program(programs->init, "fcgi-host-init");
	find_program(programs->gateway, "fcgi-host-gateway");
	find_program(programs->scanner, "fcgi-host-scanner");
}

/* ------------------------------------------------------------------- layers */

static bool
is_required(const char *require, const char *layer)
{
	size_t length = strlen(layer);
	const char *word = require != NULL ? require : "";

	while (*(word += strspn(word, " \t,")) != '\0') {
		size_t n = strcspn(word, " \t,");

		if (n == length && strncmp(word, layer, n) == 0)
			return true;
		word += n;
	}
	return false;
}

/* A layer that is missing is said aloud; one that was required is the end. */
static void
check_layers(struct spawner *spawner)
{
	struct sandbox_probe probes[LAYERS_MAX];
	size_t i, count = sandbox_probe(&spawner->cgroup, probes, LAYERS_MAX);

	for (i = 0; i < count; i++) {
		const struct sandbox_probe *probe = &probes[i];

		if (probe->is_on)
			continue;
		if (is_required(spawner->conf->require, probe->name))
			give_up(spawner, "layer_missing", "%s is required: "
			    "%s; or take it out of [host] require",
			    probe->name, probe->fact);
		log_event(LOG_WARN, "layer_off", "layer=%s why=\"%s\"",
		    probe->name, probe->fact);
	}
}

/* -------------------------------------------------------------------- start */

static void
open_conf(struct spawner *spawner)
{
	char problem[16384] = "";
	char *line, *rest = problem;

	if (spawner_read_conf(spawner->conf_path, &spawner->conf,
	    &spawner->conf_fd, problem, sizeof(problem)) == 0 &&
	    spawner_read_prices(spawner->conf, &spawner->prices_fd, problem,
	    sizeof(problem)) == 0) {
		log_set_level(spawner->conf->log_level);
		return;
	}
	while ((line = strsep(&rest, "\n")) != NULL)
		if (line[0] != '\0')
			fprintf(stderr, "fcgi-host: %s\n", line);
	exit(2);
}

static void
open_logs(struct spawner *spawner)
{
	char problem[SPAWNER_PROBLEM_MAX];
	CLEANUP_FD int fd = -1;

	if (strcmp(spawner->conf->log, "stderr") != 0) {
		fd = places_open_log(spawner->conf->log, O_WRONLY,
		    spawner->places.gid, problem, sizeof(problem));
		if (fd < 0)
			give_up(spawner, "log", "%s", problem);
	}
	/* Kept, because a reload may go back to it. */
	spawner->stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC,
	    STDERR_FILENO + 1);
	if (fd >= 0 && dup2(fd, STDERR_FILENO) >= 0)
		log_set_also(spawner->stderr_fd);
	spawner->accounting_fd = places_open_log(spawner->conf->accounting,
	    O_RDWR, spawner->places.gid, problem, sizeof(problem));
	if (spawner->accounting_fd < 0)
		give_up(spawner, "accounting", "%s", problem);
	if (spawner->conf->function_logs != NULL) {
		CLEANUP_FD int dir = tenant_logs_directory(spawner->conf,
		    problem, sizeof(problem));

		if (dir < 0)
			give_up(spawner, "function_logs", "%s", problem);
	}
	if (spawner->conf->chain_key == NULL)
		return;
	spawner->chain_fd = chain_file_open(spawner->conf->chain_key, problem,
	    sizeof(problem));
	if (spawner->chain_fd < 0)
		give_up(spawner, "chain_key", "%s", problem);
}

static void
open_cgroup(struct spawner *spawner)
{
	char name[64];

	places_cgroup_name(&spawner->places, name, sizeof(name));
	if (cgroup_parent_open(&spawner->cgroup, name) != 0)
		spawner->cgroup.fd = -1;
	if (spawner->cgroup.reason[0] != '\0')
		log_event(LOG_WARN, "cgroup", "path=\"%s\" why=\"%s\"",
		    spawner->cgroup.path, spawner->cgroup.reason);
}

/* Asked for while it waited for its predecessor's end: nothing is open yet but
 * what places_open has closed again. */
static _Noreturn void
stop_early(const struct spawner *spawner)
{
	log_event(LOG_INFO, "ended", "run_id=%llu why=\"told to stop before it "
	    "had taken over\"", (unsigned long long)spawner->run_id);
	exit(0);
}

static void
open_everything(struct spawner *spawner, const struct programs *programs,
    struct given *given)
{
	char problem[SPAWNER_PROBLEM_MAX] = "";
	int error;

	error = places_open(&spawner->places, spawner->conf, given,
	    spawner->is_takeover, problem, sizeof(problem));
	if (error == -ECANCELED)
		stop_early(spawner);
	if (error != 0)
		give_up(spawner, "places", "%s", problem);
	open_logs(spawner);
	spawner->site.built = built_new(spawner->places.state_fd, problem,
	    sizeof(problem));
	if (spawner->site.built == NULL)
		give_up(spawner, "built", "%s", problem);
	spawner->tenants = tenants_new(spawner->places.state_fd, problem,
	    sizeof(problem));
	if (spawner->tenants == NULL ||
	    tenants_set_accounts(spawner->tenants, spawner->conf,
	    spawner->places.uid, problem, sizeof(problem)) != 0)
		give_up(spawner, "tenants", "%s", problem);
	/* one tenant's functions are not started then; the others' are */
	if (tenants_check_range(spawner->tenants, spawner->conf, problem,
	    sizeof(problem)) != 0)
		log_event(LOG_WARN, "uid_range", "why=\"%s\"", problem);
	open_cgroup(spawner);
	spawner->host = sandbox_host_new(programs->init, problem,
	    sizeof(problem));
	if (spawner->host == NULL)
		give_up(spawner, "sandbox", "%s", problem);
	check_layers(spawner);
	spawner_warn_of_cpu(spawner);
	spawner->inflight_fd = places_open_inflight(&spawner->places, problem,
	    sizeof(problem));
	if (spawner->inflight_fd < 0)
		give_up(spawner, "inflight", "%s", problem);
	spawner->budgets_fd = places_open_budgets(&spawner->places, problem,
	    sizeof(problem));
	if (spawner->budgets_fd < 0)
		give_up(spawner, "budgets", "%s", problem);
	listeners_store(&spawner->places.listeners, spawner->conf);
	carried_store(&spawner->places.carried);
}

static struct images *
open_images(struct spawner *spawner)
{
	char problem[SPAWNER_PROBLEM_MAX];
	struct images *images = images_new(spawner->conf, NULL, problem,
	    sizeof(problem));

	if (images == NULL)
		give_up(spawner, "rootfs", "%s", problem);
	return images;
}

static void
make_rooms(struct spawner *spawner, const struct programs *programs)
{
	const struct places *places = &spawner->places;
	/* each is a descriptor */
	const size_t envs_max = spawner->file_limit / 4;
	const struct child_spec gateway = { .name = "gateway",
		.program = programs->gateway, .uid = places->uid,
		.gid = places->gid,
		.fds = { places->instances_fd, places->spool_fd },
		.way = CTL_WAY_GATEWAY_TO_SPAWNER };
	const struct child_spec scanner = { .name = "scanner",
		.program = programs->scanner, .uid = places->uid,
		.gid = places->gid, .fds = { places->functions_fd, -1 },
		.way = CTL_WAY_SCANNER_TO_SPAWNER, .may_send_fd = true,
		.envs_max = envs_max,
		.again_exit = EX_TEMPFAIL };

	spawner->registry = registry_new(envs_max);
	spawner->tenant_logs = tenant_logs_new();
	spawner_function_logs_give(spawner);
	spawner->sandboxes = sandboxes_new(spawner->loop, &spawner->cgroup,
	    places->instances_fd, spawner_gateway_gone, spawner);
	spawner->gateway = child_new(spawner->loop, &gateway,
	    &spawner_gateway_ops, spawner);
	spawner->scanner = child_new(spawner->loop, &scanner,
	    &spawner_scanner_ops, spawner);
	spawner->control = control_new(spawner->loop, places->control_fd,
	    userns_is_single() ? (uid_t)-1 : places->uid,
	    &spawner_control_ops, spawner);
	spawner->takeover = takeover_new(spawner->loop, places->takeover_fd,
	    &places->listeners, &places->carried, spawner_go, spawner);
	if (spawner->registry == NULL || spawner->tenant_logs == NULL ||
	    spawner->sandboxes == NULL ||
	    spawner->gateway == NULL || spawner->scanner == NULL ||
	    spawner->control == NULL || spawner->takeover == NULL)
		give_up(spawner, "memory", "not enough to start");
	sandboxes_put_behind(spawner->sandboxes, spawner->conf->hot_nice);
	spawner->site = (struct launch_site){ .host = spawner->host,
		.sandboxes = spawner->sandboxes, .tenants = spawner->tenants,
		.images = open_images(spawner), .built = spawner->site.built,
		.cgroup = &spawner->cgroup,
		.functions_fd = places->functions_fd,
		.data_fd = places->data_fd, .state_fd = places->state_fd,
		.gateway_gid = places->gid, .machine = netns_of_machine(),
		.is_single = userns_is_single() };
}

/* ---------------------------------------------------------------------- end */

/* The gateway is gone; nothing may be left that the start did not find. */
static void
end(struct spawner *spawner)
{
	spawner_wait_end(spawner, &spawner->reopen, ESHUTDOWN,
	    "the host is ending");
	child_free(spawner->gateway);
	child_free(spawner->scanner);
	sandboxes_free(spawner->sandboxes);
	spawner_shells_forget(spawner);
	cgroup_parent_close(&spawner->cgroup);
	spawner_wait_end(spawner, &spawner->drain,
	    spawner->is_settled ? 0 : EIO, spawner->is_settled ?
	    "the host has ended" : "the host has ended, and some of its "
	    "records are left to the next start; look at its log");
	control_free(spawner->control);
	if (spawner->is_settled)
		places_remove_inflight(&spawner->places);
	places_close(&spawner->places, spawner->conf,
	    takeover_has_successor(spawner->takeover) ? LISTENERS_HANDED :
	    spawner->is_end_for_good ? LISTENERS_FOR_GOOD : LISTENERS_STOP);
	takeover_free(spawner->takeover);
	registry_free(spawner->registry);
	tenant_logs_free(spawner->tenant_logs);
	tenants_free(spawner->tenants);
	built_free(spawner->site.built);
	images_free(spawner->site.images);
	sandbox_host_free(spawner->host);
	close_fd(&spawner->accounting_fd);
	close_fd(&spawner->old_accounting_fd);
	close_fd(&spawner->chain_fd);
	close_fd(&spawner->inflight_fd);
	close_fd(&spawner->budgets_fd);
	close_fd(&spawner->stderr_fd);
	close_fd(&spawner->conf_fd);
	close_fd(&spawner->prices_fd);
	conf_unref(spawner->conf);
	loop_free(spawner->loop);
	log_event(LOG_INFO, "ended", "run_id=%llu",
	    (unsigned long long)spawner->run_id);
}

static uint64_t
wall_clock_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int
main(int argc, char **argv)
{
	struct spawner spawner = { .conf_fd = -1, .prices_fd = -1, .accounting_fd = -1,
		.old_accounting_fd = -1, .inflight_fd = -1,
		.budgets_fd = -1, .chain_fd = -1, .stderr_fd = -1,
		.cgroup.fd = -1,
		.places.control_fd = -1 };
	char problem[SPAWNER_PROBLEM_MAX] = "";
	struct programs programs;
	struct given given;
	int error = given_take(&given, problem, sizeof(problem));

	tidy_fds(&given);
	log_init("spawner", LOG_INFO);
	if (error != 0)
		log_fatal("given", "why=\"%s\"", problem);
	if (given.is_anothers)
		log_event(LOG_WARN, "given", "why=\"LISTEN_PID is not this "
		    "process, so the descriptors of LISTEN_FDS are not taken; "
		    "a script between is to `exec` the host\"");
	read_options(&spawner, argc, argv);
	if (geteuid() != 0 && userns_enter(problem, sizeof(problem)) != 0)
		log_fatal("rights", "why=\"%s\"", problem);
	(void)umask(022);
	open_conf(&spawner);
	tame_signals();
	spawner.run_id = wall_clock_us();
	spawner.file_limit = privileges_raise_files();
	if (reserve_init(&spawner.reserve, RESERVE) == 0)
		reserve_open(&spawner.reserve);
	find_programs(&programs);
	error = start_loop(&spawner);
	if (error != 0)
		log_fatal("loop", "why=\"no event loop: %s\"",
		    strerror(-error));
	open_everything(&spawner, &programs, &given);
	make_rooms(&spawner, &programs);
	if (privileges_shrink(problem, sizeof(problem)) != 0 ||
	    privileges_filter(problem, sizeof(problem)) != 0)
		give_up(&spawner, "rights", "%s", problem);
	if (spawner.site.is_single)
		log_event(LOG_INFO, "ordinary_user", "why=\"not started by "
		    "root, so what a layer_off line says is weaker; "
		    "fcgi-host check says it too\"");
	log_event(LOG_INFO, "start", "version=%s run_id=%llu cgroup=\"%s\" "
	    "behind=%s",
	    PACKAGE_VERSION_TEXT, (unsigned long long)spawner.run_id,
	    spawner.cgroup.fd >= 0 ? spawner.cgroup.path : "none",
	    weight_manner_name(weight_manner(&spawner.cgroup)));
	child_run(spawner.scanner);
	child_run(spawner.gateway);
	error = loop_run(spawner.loop);
	if (error != 0)
		log_event(LOG_ERROR, "loop", "error=\"%s\"", strerror(-error));
	end(&spawner);
	return error == 0 ? 0 : 1;
}
