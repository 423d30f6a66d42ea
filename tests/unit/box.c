#include "tests/unit/box.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/sock.h"

#define UID_FIRST 1950000000u

uid_t box_uid;

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const char *
box_built(const char *file, char *path, size_t size)
{
	const char *build = getenv("BUILDDIR");

	snprintf(path, size, "%s/%s", build != NULL ? build : ".", file);
	return path;
}

int
box_setup(struct box_host *host)
{
	char init[4096], problem[256];

	memset(host, 0, sizeof(*host));
	host->cgroup.fd = -1;
	box_uid = UID_FIRST + (uid_t)getpid();
	if (geteuid() != 0) {
		fprintf(stderr, "SKIPPED: a sandbox of the host needs root\n");
		return 77;
	}
	/* Mounts are counted; what others on the machine mount is not ours. */
	if (unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
		perror("a mount namespace");
		exit(1);
	}
	host->host = sandbox_host_new(
	    box_built("fcgi-host-init", init, sizeof(init)), problem,
	    sizeof(problem));
	if (host->host == NULL) {
		fprintf(stderr, "cannot test: %s\n", problem);
		exit(1);
	}
	host->tree = sandbox_tree_new();
	snprintf(problem, sizeof(problem), "box-%d", (int)getpid());
	if (cgroup_parent_open(&host->cgroup, problem) != 0)
		fprintf(stderr, "SKIPPED in part, no cgroup: %s\n",
		    host->cgroup.reason);
	snprintf(host->folder, sizeof(host->folder), "/tmp/box-fn.XXXXXX");
	if (mkdtemp(host->folder) == NULL || chmod(host->folder, 0755) != 0) {
		perror(host->folder);
		exit(1);
	}
	return 0;
}

void
box_teardown(struct box_host *host)
{
	sandbox_tree_free(host->tree);
	sandbox_host_free(host->host);
	cgroup_parent_close(&host->cgroup);
	if (host->folder[0] != '\0' && rmdir(host->folder) != 0)
		perror(host->folder);
}

void
box_plan(const struct box_host *host, struct sandbox_plan *plan,
    char *const *argv)
{
	*plan = (struct sandbox_plan) {
		.layers = sandbox_host_layers(host->host),
		.uid = BOX_UID,
		.gid = BOX_GID,
		.hostname = "box",
		.function_is_folder = true,
		.function_file = "main",
		.function_fd = open(host->folder,
		    O_PATH | O_DIRECTORY | O_CLOEXEC),
		.data_fd = -1,
		.memory_bytes = 256 << 20,
		.tmp_bytes = 4 << 20,
		.processes = 32,
		.uid_processes = 64,
		.cgroup_fd = -1,
		.init_sock = -1,
		.listen_fd = -1,
		.argv = argv,
		.tree = host->tree,
	};
}

void
box_plan_release(struct sandbox_plan *plan)
{
	close_fd(&plan->function_fd);
	close_fd(&plan->data_fd);
}

int
box_start(struct box_host *host, struct sandbox_plan *plan, struct box *box)
{
	int pair[2];
	int error;

	memset(box, 0, sizeof(*box));
	box->leaf_fd = -1;
	box->sock = -1;
	if (host->cgroup.fd >= 0) {
		snprintf(box->leaf, sizeof(box->leaf), "b%u", host->leaves++);
		box->leaf_fd = cgroup_leaf_make(&host->cgroup, box->leaf,
		    &host->limits);
		if (box->leaf_fd < 0)
			return box->leaf_fd;
	}
	plan->cgroup_fd = box->leaf_fd;
	error = sock_pair(pair);
	if (error != 0)
		return error;
	plan->init_sock = pair[1];
	error = sandbox_start(host->host, plan, &box->child);
	close(pair[1]);
	plan->init_sock = -1;
	if (error == 0) {
		box->sock = pair[0];
		return 0;
	}
	close(pair[0]);
	close_fd(&box->leaf_fd);
	if (host->cgroup.fd >= 0)
		cgroup_leaf_remove(&host->cgroup, box->leaf);
	return error;
}

int
box_order(struct box *box, uint32_t type, const char *const *env,
    const int *fds, size_t fd_count)
{
	static const char *const some[] = { "PATH=/usr/bin:/bin", NULL };
	struct {
		struct init_order order;
		char block[8192];
	} message = { .order = { .magic = INIT_MAGIC, .type = type } };
	size_t length = 0;

	if (env == NULL && type == INIT_RUN)
		env = some;
	for (; env != NULL && *env != NULL; env++) {
		size_t n = strlen(*env) + 1;

		if (length + n > sizeof(message.block))
			return -E2BIG;
		memcpy(message.block + length, *env, n);
		length += n;
	}
	message.order.serial = ++box->serial;
	message.order.env_length = (uint32_t)length;
	return sock_send(box->sock, &message, sizeof(message.order) + length,
	    fds, fd_count);
}

int
box_report(struct box *box, int longest_ms, struct init_report *report)
{
	struct pollfd wait = { box->sock, POLLIN, 0 };
	ssize_t n;

	if (poll(&wait, 1, longest_ms) == 0)
		return -ETIME;
	n = recv(box->sock, report, sizeof(*report), MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		return -EPIPE;
	return n < 0 ? -errno : init_report_check(report, (size_t)n);
}

/* Until both the output has ended and the report is there. */
static int
follow(struct box *box, int out, int longest_ms, struct box_result *result)
{
	uint64_t until = now_ms() + (uint64_t)longest_ms;
	bool is_reported = false, is_open = true;

	while (is_open || !is_reported) {
		struct pollfd polls[2] = {
			{ is_open ? out : -1, POLLIN, 0 },
			{ is_reported ? -1 : box->sock, POLLIN, 0 },
		};
		uint64_t now = now_ms();
		char rest[4096];

		if (now >= until || poll(polls, 2, (int)(until - now)) == 0)
			return -ETIME;
		if (polls[0].revents) {
			size_t room = sizeof(result->output) - 1 - result->length;
			ssize_t n = room > 0 ?
			    read(out, result->output + result->length, room) :
			    read(out, rest, sizeof(rest));

			if (n <= 0)
				is_open = false;
			else if (room > 0)
				result->length += (size_t)n;
		}
		if (polls[1].revents) {
			int error = box_report(box, 0, &result->report);

			if (error == -EPIPE)
				result->has_ended = true;
			else if (error != 0)
				return error;
			is_reported = true;
		}
	}
	return 0;
}

int
box_start_shell(struct box_host *host, struct box *box, const char *script)
{
	char *const argv[] = { (char *)"/bin/sh", (char *)"-c", (char *)script,
		NULL };
	struct sandbox_plan plan;
	int error;

	box_plan(host, &plan, argv);
	error = box_start(host, &plan, box);
	if (error != 0)
		fprintf(stderr, "start: %s\n", box->child.failed_step);
	box_plan_release(&plan);
	return error;
}

int
box_run(struct box *box, const char *const *env, int longest_ms,
    struct box_result *result)
{
	CLEANUP_FD int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	CLEANUP_FD int out = -1;
	int pair[2], error;

	memset(result, 0, sizeof(*result));
	error = sock_pipe(pair);
	if (error != 0)
		return error;
	out = pair[0];
	error = box_order(box, INIT_RUN, env,
	    (const int[]) { null, pair[1], pair[1] }, 3);
	close(pair[1]);
	if (error == 0)
		error = follow(box, out, longest_ms, result);
	result->output[result->length] = '\0';
	if (error == -ETIME)
		syscall(SYS_pidfd_send_signal, box->child.pidfd, SIGKILL, NULL,
		    0);
	return error;
}

int
box_end(struct box_host *host, struct box *box)
{
	struct pollfd ended = { box->child.pidfd, POLLIN, 0 };
	siginfo_t info = { .si_status = 0 };
	bool is_killed = false;

	close_fd(&box->sock);
	if (poll(&ended, 1, 20000) == 0) {
		is_killed = true;
		syscall(SYS_pidfd_send_signal, box->child.pidfd, SIGKILL, NULL,
		    0);
	}
	waitid(P_PIDFD, (id_t)box->child.pidfd, &info, WEXITED);
	close_fd(&box->child.pidfd);
	if (box->leaf_fd >= 0) {
		for (int i = 0; i < 500; i++) {
			if (cgroup_leaf_remove(&host->cgroup, box->leaf) !=
			    -EBUSY)
				break;
			usleep(2000);
		}
		close_fd(&box->leaf_fd);
	}
	return is_killed ? -1 : info.si_status;
}

int
box_try(struct box_host *host, struct sandbox_plan *plan,
    const char *const *env, struct box_result *result)
{
	struct box box;
	int error = box_start(host, plan, &box);

	if (error != 0) {
		fprintf(stderr, "start: %s: %s\n", box.child.failed_step,
		    strerror(-error));
		return error;
	}
	error = box_run(&box, env, 20000, result);
	box_end(host, &box);
	return error;
}

char *
box_mounts(void)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *text = NULL;
	size_t size = 0;

	if (file == NULL || getdelim(&text, &size, '\0', file) <= 0) {
		perror("/proc/self/mountinfo");
		exit(1);
	}
	fclose(file);
	return text;
}

size_t
box_count_new_mounts(const char *before)
{
	char *text = box_mounts(), *rest = text, *line;
	size_t n = 0;

	while ((line = strsep(&rest, "\n")) != NULL)
		n += strstr(before, line) == NULL;
	free(text);
	return n;
}

size_t
box_count_entries(const char *path)
{
	DIR *dir = opendir(path);
	size_t n = 0;

	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}
