/* What a check writes, how it ends, and what that means. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/checks_impl.h"
#include "fcgi-host/sock.h"

/* So much is taken and thrown away: a compiler that has much to say need not die of
 * it, one that floods is cut off. */
#define OUTPUT_MAX (256u * 1024)
#define READ_BYTES 4096

/* ----------------------------------------------------------- what it has found */

/* The first line, and of the others what has room: printable, since it goes to
 * terminals and logs, and was written by whoever wrote the file. */
static void
text_make(const struct check *check, char out[CTL_CHECK_TEXT_MAX + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < check->used && n + 2 < CTL_CHECK_TEXT_MAX; i++) {
		char c = check->text[i];

		if (c == '\n' && n > 0 && out[n - 1] != ' ') {
			out[n++] = ';';
			out[n++] = ' ';
		} else if (c == '\t' || c == ' ') {
			if (n > 0)
				out[n++] = ' ';
		} else if (c != '\n' && c != '\r') {
			out[n++] = c > 0x20 && c <= 0x7e ? c : '?';
		}
	}
	while (n > 0 && (out[n - 1] == ' ' || out[n - 1] == ';'))
		n--;
	out[n] = '\0';
}

const char *
check_word(const struct check *check)
{
	return check->is_build ? "build" : "check";
}

void
check_lacks(struct check *check)
{
	if (check->is_build && !check->is_told)
		check->function->check_again_us = loop_now_us(
		    check->checks->fleet->loop) + CHECKS_BUILD_AGAIN_US;
}

void
check_tell(struct check *check, enum ctl_check state, const char *text)
{
	struct checks *checks = check->checks;

	if (check->is_told)
		return;
	if (check->is_build && state == CTL_CHECK_SOUND &&
	    check->instance->state != INSTANCE_GONE) {
		check->is_sound = true;
		return;
	}
	check->is_told = true;
	if (!check->is_forgotten)
		checks->ops->found(checks->arg, check->function, state, text);
}

/* It did not end as a check does. */
void
check_tell_unsound(struct check *check, const char *why)
{
	char text[CTL_CHECK_TEXT_MAX + 1];

	text_make(check, text);
	check_tell(check, CTL_CHECK_UNSOUND, text[0] != '\0' ? text : why);
}

void
check_tell_status(struct check *check, int status)
{
	const struct checks *checks = check->checks;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	char why[80];

	if (code == 0) {
		check_tell(check, CTL_CHECK_SOUND, "");
		return;
	}
	if (code == CHECKS_EXIT_OTHERWISE && checks->ops->has_otherwise(
	    checks->arg, check->function)) {
		check_tell(check, CTL_CHECK_OTHERWISE, "");
		return;
	}
	if (code >= 0)
		snprintf(why, sizeof(why), "the %s exits with %d and says "
		    "nothing", check_word(check), code);
	else
		snprintf(why, sizeof(why), "the %s was ended by signal %d",
		    check_word(check), WTERMSIG(status));
	if (code < 0 || code == CHECKS_EXIT_LACKS)
		check_lacks(check);
	check_tell_unsound(check, why);
}

/* ------------------------------------------------------------------ its output */

void
check_output_close(struct check *check)
{
	loop_io_del(check->checks->fleet->loop, &check->out_io);
	close_fd(&check->out_fd);
}

void
check_output_read(struct check *check, int reads)
{
	char data[READ_BYTES];

	while (check->out_fd >= 0 && reads-- > 0) {
		ssize_t n = read(check->out_fd, data, sizeof(data));
		size_t room = sizeof(check->text) - check->used;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n > 0) {
			if (room > (size_t)n)
				room = (size_t)n;
			memcpy(check->text + check->used, data, room);
			check->used += room;
			check->taken += (size_t)n;
		}
		if (n <= 0 || check->taken > OUTPUT_MAX)
			check_output_close(check);
	}
}
