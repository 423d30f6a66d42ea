#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-host/cmd_ctl.h"
#include "fcgi-host/cmd_invoke.h"
#include "fcgi-host/sock.h"

#define CHUNK_BYTES 65536
#define PROBLEM_MAX 512

/* One exchange: the stream to the gateway, and beside it the control socket,
 * on which a refusal comes. */
struct exchange {
	int stream, control;
	struct buf out;
	struct invoke_answer answer;
	bool is_head_shown, shows_head;
	bool is_ended; /* the stream is at its end */
};

/* The body of --data: a file, or standard input for "-". */
static int
read_data(const char *path, struct buf *body)
{
	CLEANUP_FD int fd = strcmp(path, "-") == 0 ?
	    fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) :
	    open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	while (n > 0) {
		uint8_t *place = buf_reserve(body, CHUNK_BYTES);

		if (place == NULL)
			return -ENOMEM;
		n = read(fd, place, CHUNK_BYTES);
		if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			return -errno;
		else
			buf_commit(body, (size_t)n);
	}
	return 0;
}

static int
write_all(FILE *file, struct buf *data)
{
	size_t n = buf_len(data);

	if (n == 0)
		return 0;
	if (fwrite(buf_head(data), 1, n, file) != n || fflush(file) != 0)
		return -EIO;
	buf_consume(data, n);
	return 0;
}

/* The answer as it comes, so that a stream can be watched. */
static int
show(struct exchange *x)
{
	struct buf head = { .data = NULL };
	int error = 0;

	if (!x->is_head_shown && x->answer.head.state == CGI_RESPONSE_DONE) {
		x->is_head_shown = true;
		if (x->shows_head) {
			error = cgi_response_put_head(&x->answer.head, &head);
			if (error == 0)
				error = write_all(stderr, &head);
			buf_free(&head);
		}
	}
	if (error == 0)
		error = write_all(stderr, &x->answer.errors);
	return error != 0 ? error : write_all(stdout, &x->answer.body);
}

static int
send_some(struct exchange *x)
{
	ssize_t n = send(x->stream, buf_head(&x->out), buf_len(&x->out),
	    MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n >= 0)
		buf_consume(&x->out, (size_t)n);
	else if (errno == EPIPE || errno == ECONNRESET)
		/* It may have answered before it had all. */
		buf_reset(&x->out, 0);
	else if (errno != EAGAIN && errno != EINTR)
		return -errno;
	return 0;
}

static int
receive_some(struct exchange *x)
{
	static uint8_t data[CHUNK_BYTES];
	ssize_t n = recv(x->stream, data, sizeof(data), MSG_DONTWAIT);
	int error;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		x->is_ended = true;
		return 0;
	}
	error = invoke_answer_feed(&x->answer, data, (size_t)n);
	return error != 0 ? error : show(x);
}

/* A refusal, or the host's word that the gateway has the stream. */
static int
receive_control(struct exchange *x)
{
	struct ctl_msg msg;
	int error = ctl_take(x->control, &msg);

	if (error == -EAGAIN)
		return 0;
	if (error == 0 && msg.type == CTL_REPLY && msg.u.reply.code != 0) {
		(void)cmd_fail("%s", msg.u.reply.text);
		return -ECANCELED;
	}
	close_fd(&x->control);
	return 0;
}

static int
exchange_step(struct exchange *x)
{
	struct pollfd wait[2] = {
		{ .fd = x->stream, .events = POLLIN },
		{ .fd = x->control, .events = POLLIN },
	};
	int error = 0;

	if (buf_len(&x->out) > 0)
		wait[0].events |= POLLOUT;
	if (poll(wait, 2, -1) < 0)
		return errno == EINTR ? 0 : -errno;
	if (wait[1].revents != 0)
		error = receive_control(x);
	if (error == 0 && (wait[0].revents & POLLOUT) != 0)
		error = send_some(x);
	if (error == 0 && (wait[0].revents & ~POLLOUT) != 0)
		error = receive_some(x);
	return error;
}

static int
judge(const struct exchange *x, const char *function)
{
	const struct invoke_answer *answer = &x->answer;

	if (answer->is_bad)
		return cmd_fail("%s: the answer is not valid%s%s", function,
		    answer->head.problem != NULL ? ": " : "",
		    answer->head.problem != NULL ? answer->head.problem : "");
	if (!answer->is_complete)
		return cmd_fail("%s: the answer was cut; its accounting "
		    "record says why", function);
	if (answer->head.state != CGI_RESPONSE_DONE)
		return cmd_fail("%s: no answer", function);
	if (answer->head.status >= 400)
		return cmd_fail("%s: status %d %s", function,
		    answer->head.status,
		    cgi_response_reason(answer->head.status));
	return CMD_DONE;
}

/* Takes *out, the request. */
static int
exchange(const struct conf *conf, const char *function, struct buf *out,
    bool shows_head)
{
	CLEANUP_FD int peer = -1;
	struct exchange x = { .stream = -1, .control = -1, .out = *out,
		.shows_head = shows_head };
	int pair[2], error = 0, code = CMD_FAILED;

	memset(out, 0, sizeof(*out));
	invoke_answer_init(&x.answer);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
		(void)cmd_fail("no pair of sockets: %s", strerror(errno));
		goto out;
	}
	x.stream = pair[0];
	peer = pair[1];
	x.control = ctl_ask(conf, CTL_VERB_INVOKE, peer);
	if (x.control < 0)
		goto out;
	/* Else the gateway's end of the stream would never be seen. */
	close_fd(&peer);
	while (error == 0 && !x.answer.is_complete && !x.answer.is_bad &&
	    !x.answer.is_cut && !x.is_ended)
		error = exchange_step(&x);
	/* A refusal that the end of the stream has overtaken. */
	if (error == 0 && !x.answer.is_complete && x.control >= 0 &&
	    fd_set_nonblock(x.control, true) == 0)
		error = receive_control(&x);
	if (error == 0)
		code = judge(&x, function);
	else if (error != -ECANCELED)
		(void)cmd_fail("%s: %s", function, strerror(-error));
out:
	buf_free(&x.out);
	invoke_answer_free(&x.answer);
	close_fd(&x.stream);
	close_fd(&x.control);
	return code;
}

/* What the options say. */
struct options {
	const char *conf_path, *data_path;
	bool shows_head;
	struct invoke_request request;
};

static bool
read_options(const struct cmd_verb *verb, int argc, char **argv,
    struct options *o, int *code)
{
	const struct cmd_option options[] = {
		CMD_OPTION_CONF(&o->conf_path),
		{ 'X', "method", "METHOD", "GET, or POST with --data", NULL,
		    &o->request.method, NULL },
		{ 'p', "path-info", "PATH", "what stands behind the function "
		    "in the URL", NULL, &o->request.path_info, NULL },
		{ 'q', "query", "QUERY", "what stands behind the '?'", NULL,
		    &o->request.query, NULL },
		{ 'H', "header", "'NAME: V'", "a header of the request; may "
		    "be given several times", NULL, NULL,
		    &o->request.headers },
		{ 'd', "data", "FILE", "the request's body; - is standard "
		    "input", NULL, &o->data_path, NULL },
		{ 'i', "include", NULL, "print the answer's head too, on "
		    "standard error", &o->shows_head, NULL, NULL },
	};
	char **operands;

	if (!cmd_options(verb, options, sizeof(options) / sizeof(options[0]),
	    argc, argv, &operands, code))
		return false;
	*code = CMD_WRONG;
	if (operands[0] == NULL || operands[1] != NULL) {
		(void)cmd_wrong(verb, operands[0] == NULL ?
		    "name the function" : "name one function");
		return false;
	}
	o->request.function = operands[0];
	if (o->request.method == NULL)
		o->request.method = o->data_path != NULL ? "POST" : "GET";
	return true;
}

int
cmd_invoke(const struct cmd_verb *verb, int argc, char **argv)
{
	struct options o = { .conf_path = DEFAULT_CONFIG,
		.request = { .path_info = "", .query = "" } };
	struct buf body = { .data = NULL }, out = { .data = NULL };
	char problem[PROBLEM_MAX] = "no memory";
	struct conf *conf;
	int code, error = 0;

	if (!read_options(verb, argc, argv, &o, &code))
		return code;
	conf = cmd_conf(o.conf_path);
	if (conf == NULL)
		return CMD_WRONG;
	if (o.data_path != NULL)
		error = read_data(o.data_path, &body);
	if (error != 0) {
		code = cmd_fail("%s: %s", o.data_path, strerror(-error));
		goto out;
	}
	o.request.has_body = o.data_path != NULL;
	o.request.body = buf_head(&body);
	o.request.body_bytes = buf_len(&body);
	error = invoke_put(&o.request, conf, &out, problem, sizeof(problem));
	buf_free(&body);
	if (error == 0)
		code = exchange(conf, o.request.function, &out, o.shows_head);
	else
		code = cmd_wrong(verb, "%s", problem);
out:
	buf_free(&body);
	buf_free(&out);
	conf_unref(conf);
	return code;
}
