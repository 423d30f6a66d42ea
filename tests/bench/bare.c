#include "tests/bench/bare.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/samples.h"

const char *const bare_environment[] = {
	"GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=GET", "SERVER_NAME=bench",
	"SERVER_PORT=80", "SERVER_PROTOCOL=HTTP/1.1", "SCRIPT_NAME=/bench",
	"QUERY_STRING=", "REMOTE_ADDR=127.0.0.1", NULL
};

uint64_t
bare_first_byte_us(const char *program)
{
	char *argv[2] = { (char *)(uintptr_t)program, NULL };
	posix_spawn_file_actions_t actions;
	uint64_t from_us, us;
	char data[4096];
	int out[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) < 0)
		err(1, "pipe");
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
	from_us = samples_clock_us();
	errno = posix_spawn(&pid, program, &actions, NULL, argv,
	    (char *const *)(uintptr_t)bare_environment);
	if (errno != 0)
		err(1, "%s", program);
	close(out[1]);
	n = read(out[0], data, sizeof(data));
	us = samples_clock_us() - from_us;
	if (n <= 0)
		errx(1, "%s: no output", program);
	while (read(out[0], data, sizeof(data)) > 0)
		continue;
	close(out[0]);
	posix_spawn_file_actions_destroy(&actions);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		errx(1, "%s: did not end well", program);
	return us;
}
