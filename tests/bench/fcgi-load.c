/*
 * A load generator for FastCGI, one process on one epoll: so many connections,
 * each sends its next request when it has the answer to the last one.  That is
 * a closed loop: while the server is slow fewer requests are sent, so that the
 * latencies are those of this many clients and of no rate of arrival.  Every
 * answer is judged, and only a right one counts.  Prints one line of JSON.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fcgi-host/fcgi_params.h"
#include "tests/bench/answer.h"
#include "tests/bench/samples.h"

#define REQUEST_ID 1
#define EVENTS 256
#define RETRY_US 1000
#define LOOK_US 100000
#define PARAMS_MAX 64

static const char usage_text[] =
"usage: fcgi-load [option...] SOCKET [NAME=VALUE...]\n"
"  -c N     connections (1)\n"
"  -t S     seconds, may have a fraction (2)\n"
"  -n N     so many requests instead of a time\n"
"  -k       keep connections (FCGI_KEEP_CONN); else one for each request\n"
"  -b N     bytes of request body (0)\n"
"  -w MS    pause before each request: cold starts, with -c 1\n"
"  -v N     #v in a param's value is a number below N, in turn\n"
"  -i NAME  a param with an id of each request's own, #i in values too\n"
"  -I       the answer's body must hold that id\n"
"  -o FILE  a line is added for each request: its id, and ok or what was wrong\n"
"  -s N     the status that is expected (200)\n"
"  -e TEXT  the body that is expected; -B N: its length (any)\n"
"  -T S     seconds until a request counts as a fault (10)\n"
"  -a       print all first-byte times, in order\n"
"  -q       print for how much of them this program waited for a processor\n"
"NAME=VALUE are params, beside the usual ones of a GET.\n";

struct options {
	const char *socket, *id_param, *body;
	unsigned connections, vary, status, pause_ms;
	uint64_t count, body_bytes, run_us, timeout_us;
	int64_t answer_bytes;
	bool keeps, checks_id, prints_all, tells_wait;
	FILE *list; /* NULL: none is kept */
	const char *params[PARAMS_MAX];
	size_t param_count;
};

struct client {
	int fd; /* -1: not connected */
	bool is_running;
	uint64_t from_us, not_before_us, wait_before_us;
	char id[32];
	struct buf request;
	struct answer answer;
};

struct load {
	struct options options;
	int epoll_fd;
	struct client *clients;
	uint64_t now_us, from_us, until_us, last_us;
	uint64_t due_us; /* when the next one's pause or patience ends */
	uint64_t sent, answers, faults[FAULT_COUNT];
	unsigned running;
	struct samples first_byte, whole, late;
	int schedstat_fd; /* -1: this kernel does not say */
	struct samples own_wait, without_wait;
	uint8_t input[64 * 1024];
};

/* ---- the request ---- */

static void
must(int error)
{
	if (error < 0)
		errx(1, "no memory for a request");
}

/* The value with #i and #v replaced. */
static void
value_expand(const struct load *load, const struct client *client,
    const char *value, struct buf *out)
{
	for (; *value != '\0'; value++) {
		if (value[0] == '#' && value[1] == 'i')
			must(buf_add_str(out, client->id));
		else if (value[0] == '#' && value[1] == 'v')
			must(buf_addf(out, "%" PRIu64, load->sent %
			    (load->options.vary == 0 ? 1 :
			    load->options.vary)));
		else
			must(buf_add(out, value, 1));
		if (value[0] == '#' && (value[1] == 'i' || value[1] == 'v'))
			value++;
	}
}

static void
param_put(const struct load *load, const struct client *client,
    struct buf *params, const char *param)
{
	const char *equals = strchr(param, '=');
	struct buf value = { 0 };

	must(buf_add(&value, "", 0));
	value_expand(load, client, equals + 1, &value);
	must(params_put(params, param, (size_t)(equals - param),
	    buf_len(&value) == 0 ? "" : (const char *)buf_head(&value),
	    buf_len(&value)));
	buf_free(&value);
}

static void
body_put(struct buf *request, uint64_t bytes)
{
	static const char piece[16 * 1024];

	while (bytes > 0) {
		size_t n = bytes < sizeof(piece) ? (size_t)bytes :
		    sizeof(piece);

		must(fcgi_put_stream(request, FCGI_STDIN, REQUEST_ID, piece,
		    n));
		bytes -= n;
	}
}

static void
request_make(struct load *load, struct client *client)
{
	const struct options *options = &load->options;
	struct buf params = { 0 };
	char text[64];

	buf_reset(&client->request, SIZE_MAX);
	snprintf(client->id, sizeof(client->id), "load-%d-%" PRIu64,
	    (int)getpid(), load->sent);
	for (size_t i = 0; i < options->param_count; i++)
		param_put(load, client, &params, options->params[i]);
	snprintf(text, sizeof(text), "CONTENT_LENGTH=%" PRIu64,
	    options->body_bytes);
	param_put(load, client, &params, text);
	if (options->id_param != NULL)
		must(params_put(&params, options->id_param,
		    strlen(options->id_param), client->id,
		    strlen(client->id)));
	must(fcgi_put_begin(&client->request, REQUEST_ID, FCGI_RESPONDER,
	    options->keeps ? FCGI_KEEP_CONN : 0));
	must(fcgi_put_stream(&client->request, FCGI_PARAMS, REQUEST_ID,
	    buf_head(&params), buf_len(&params)));
	must(fcgi_put_stream_end(&client->request, FCGI_PARAMS, REQUEST_ID));
	body_put(&client->request, options->body_bytes);
	must(fcgi_put_stream_end(&client->request, FCGI_STDIN, REQUEST_ID));
	buf_free(&params);
}

/* ---- one client ---- */

static void
disconnect(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
}

static int
connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(address.sun_path))
		errx(2, "%s: too long for a socket's name", path);
	strcpy(address.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		err(1, "socket");
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* The request has ended, well or not; the client is free for the next. */
static void
request_over(struct load *load, struct client *client, enum fault fault)
{
	client->is_running = false;
	load->running--;
	if (load->options.list != NULL)
		fprintf(load->options.list, "%s %s\n", client->id,
		    fault == FAULT_NONE ? "ok" : fault_name(fault));
	if (fault == FAULT_NONE) {
		load->answers++;
		load->last_us = load->now_us;
		samples_add(&load->whole, load->now_us - client->from_us);
	} else {
		load->faults[fault]++;
		client->not_before_us = load->now_us + RETRY_US;
	}
	if (fault != FAULT_NONE || !load->options.keeps)
		disconnect(client);
	if (load->options.pause_ms > 0)
		client->not_before_us = load->now_us +
		    load->options.pause_ms * UINT64_C(1000);
	if (client->not_before_us > load->now_us &&
	    client->not_before_us < load->due_us)
		load->due_us = client->not_before_us;
}

static bool
watch(struct load *load, struct client *client, int operation, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = client };

	return epoll_ctl(load->epoll_fd, operation, client->fd, &event) == 0;
}

static void
request_send(struct load *load, struct client *client)
{
	ssize_t n = send(client->fd, buf_head(&client->request),
	    buf_len(&client->request), MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN) {
		request_over(load, client, FAULT_CLOSED);
		return;
	}
	if (n > 0)
		buf_consume(&client->request, (size_t)n);
	if (buf_len(&client->request) > 0)
		watch(load, client, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
}

/* For how long the kernel has let this program wait for a processor, so far. */
static uint64_t
own_wait_us(const struct load *load)
{
	char text[96];
	unsigned long long wait_ns;
	ssize_t n;

	if (load->schedstat_fd < 0)
		return 0;
	n = pread(load->schedstat_fd, text, sizeof(text) - 1, 0);
	text[n < 0 ? 0 : n] = '\0';
	if (sscanf(text, "%*u %llu", &wait_ns) != 1)
		errx(1, "/proc/self/schedstat says nothing: leave -q out");
	return wait_ns / 1000;
}

/* What a client on a machine of its own would not have seen is kept apart. */
static void
first_byte_came(struct load *load, const struct client *client)
{
	uint64_t took_us = load->now_us - client->from_us;
	uint64_t wait_us = own_wait_us(load) - client->wait_before_us;

	samples_add(&load->first_byte, took_us);
	if (!load->options.tells_wait)
		return;
	samples_add(&load->own_wait, wait_us);
	samples_add(&load->without_wait,
	    wait_us > took_us ? 0 : took_us - wait_us);
}

static void
request_start(struct load *load, struct client *client)
{
	request_make(load, client);
	client->wait_before_us = own_wait_us(load);
	answer_reset(&client->answer);
	client->is_running = true;
	client->from_us = load->now_us = samples_clock_us();
	load->sent++;
	load->running++;
	if (client->fd < 0) {
		client->fd = connect_to(load->options.socket);
		if (client->fd < 0) {
			request_over(load, client, FAULT_CONNECT);
			return;
		}
		if (!watch(load, client, EPOLL_CTL_ADD, EPOLLIN))
			err(1, "epoll_ctl");
	}
	request_send(load, client);
}

static void
answer_over(struct load *load, struct client *client)
{
	const struct options *options = &load->options;
	struct expected expected = {
		.id = REQUEST_ID,
		.status = (int)options->status,
		.body = options->body,
		.body_bytes = options->answer_bytes,
		.holds = options->checks_id ? client->id : NULL,
	};

	request_over(load, client, answer_judge(&client->answer, &expected));
}

static void
client_read(struct load *load, struct client *client)
{
	bool had_begun = client->answer.has_begun;
	ssize_t n = recv(client->fd, load->input, sizeof(load->input), 0);
	enum fault fault;

	load->now_us = samples_clock_us();
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (!client->is_running) {
		/* between requests: a server may hang up, but not speak */
		if (n > 0)
			load->faults[FAULT_PROTOCOL]++;
		disconnect(client);
		return;
	}
	if (n <= 0) {
		request_over(load, client, FAULT_CLOSED);
		return;
	}
	fault = answer_feed(&client->answer, REQUEST_ID, load->input,
	    (size_t)n);
	if (client->answer.has_begun && !had_begun)
		first_byte_came(load, client);
	if (fault != FAULT_NONE)
		request_over(load, client, fault);
	else if (client->answer.is_over)
		answer_over(load, client);
}

static void
client_ready(struct load *load, struct client *client, uint32_t events)
{
	if (client->fd < 0)
		return;
	if ((events & EPOLLOUT) && client->is_running) {
		watch(load, client, EPOLL_CTL_MOD, EPOLLIN);
		request_send(load, client);
	}
	if (client->fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		client_read(load, client);
}

/* ---- all of them ---- */

static bool
may_start(const struct load *load)
{
	return load->options.count > 0 ? load->sent < load->options.count :
	    load->now_us < load->until_us;
}

/* Starts what may be started, ends what takes too long, and says until when
 * nothing else is to be done. */
static void
turn(struct load *load)
{
	load->due_us = load->now_us + LOOK_US;
	for (unsigned i = 0; i < load->options.connections; i++) {
		struct client *client = &load->clients[i];

		if (client->is_running && load->now_us >= client->from_us +
		    load->options.timeout_us)
			request_over(load, client, FAULT_TIMEOUT);
		while (!client->is_running && may_start(load) &&
		    load->now_us >= client->not_before_us)
			request_start(load, client);
		if (!client->is_running && may_start(load) &&
		    client->not_before_us < load->due_us)
			load->due_us = client->not_before_us;
	}
}

/* Waits for answers, but not beyond what is due.  How late the clock's own
 * wake-ups are is what this program waits for a processor. */
static int
wait_events(struct load *load, struct epoll_event *events)
{
	uint64_t left_us = load->due_us <= load->now_us ? 0 :
	    load->due_us - load->now_us;
	struct timespec left = { .tv_sec = (time_t)(left_us / 1000000),
		.tv_nsec = (long)(left_us % 1000000 * 1000) };
	int count = epoll_pwait2(load->epoll_fd, events, EVENTS, &left, NULL);

	load->now_us = samples_clock_us();
	if (count == 0 && left_us > 0 && load->now_us >= load->due_us)
		samples_add(&load->late, load->now_us - load->due_us);
	return count;
}

/* A client that has its answer sends the next at once, if it makes no pause;
 * all are looked at when something is due. */
static void
run(struct load *load)
{
	struct epoll_event events[EVENTS];

	load->from_us = load->now_us = samples_clock_us();
	load->until_us = load->from_us + load->options.run_us;
	load->due_us = load->now_us;
	for (;;) {
		int count;

		if (load->now_us >= load->due_us)
			turn(load);
		if (load->running == 0 && !may_start(load))
			return;
		count = wait_events(load, events);
		for (int i = 0; i < count; i++) {
			struct client *client = events[i].data.ptr;

			client_ready(load, client, events[i].events);
			if (!client->is_running && may_start(load) &&
			    load->now_us >= client->not_before_us)
				request_start(load, client);
		}
	}
}

/* ---- around it ---- */

static double
number(const char *text, double least)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || !(value >= least))
		errx(2, "%s: not a number of at least %g", text, least);
	return value;
}

static void
option_take(struct options *options, int option, const char *value)
{
	switch (option) {
	case 'c': options->connections = (unsigned)number(value, 1); break;
	case 't': options->run_us = (uint64_t)(number(value, 0) * 1e6); break;
	case 'n': options->count = (uint64_t)number(value, 1); break;
	case 'k': options->keeps = true; break;
	case 'b': options->body_bytes = (uint64_t)number(value, 0); break;
	case 'w': options->pause_ms = (unsigned)number(value, 0); break;
	case 'v': options->vary = (unsigned)number(value, 1); break;
	case 'i': options->id_param = value; break;
	case 'I': options->checks_id = true; break;
	case 'o':
		options->list = fopen(value, "ae");
		if (options->list == NULL)
			err(2, "%s", value);
		break;
	case 's': options->status = (unsigned)number(value, 100); break;
	case 'e': options->body = value; break;
	case 'B': options->answer_bytes = (int64_t)number(value, 0); break;
	case 'T':
		options->timeout_us = (uint64_t)(number(value, 0) * 1e6);
		break;
	case 'a': options->prints_all = true; break;
	case 'q': options->tells_wait = true; break;
	default: errx(2, "%s", usage_text);
	}
}

static void
options_take(struct options *options, int argc, char **argv)
{
	static const char *const usual[] = {
		"GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=GET",
		"SERVER_PROTOCOL=HTTP/1.1", "SERVER_SOFTWARE=fcgi-load",
		"SERVER_NAME=localhost", "SERVER_PORT=80",
		"REMOTE_ADDR=127.0.0.1", "QUERY_STRING=",
		"HTTP_HOST=localhost",
	};
	int option;

	*options = (struct options){ .connections = 1, .run_us = 2000000,
		.status = 200, .timeout_us = 10000000, .answer_bytes = -1 };
	while ((option = getopt(argc, argv, "c:t:n:kb:w:v:i:Io:s:e:B:T:aq")) != -1)
		option_take(options, option, optarg);
	if (optind == argc)
		errx(2, "%s", usage_text);
	options->socket = argv[optind++];
	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++)
		options->params[options->param_count++] = usual[i];
	for (; optind < argc; optind++) {
		if (strchr(argv[optind], '=') == NULL ||
		    options->param_count == PARAMS_MAX)
			errx(2, "%s", usage_text);
		options->params[options->param_count++] = argv[optind];
	}
}

static uint64_t
print(struct load *load)
{
	double seconds = load->answers == 0 ? 0 :
	    (double)(load->last_us - load->from_us) / 1e6;
	uint64_t faults = 0;

	printf("{\"loop\":\"closed\",\"connections\":%u,\"keep\":%s,"
	    "\"answers\":%" PRIu64 ",\"seconds\":%.6f,\"per_second\":%.1f,",
	    load->options.connections, load->options.keeps ? "true" : "false",
	    load->answers, seconds,
	    seconds > 0 ? (double)load->answers / seconds : 0);
	printf("\"faults\":{");
	for (int i = FAULT_NONE + 1; i < FAULT_COUNT; i++) {
		faults += load->faults[i];
		printf("\"%s\":%" PRIu64 ",", fault_name((enum fault)i),
		    load->faults[i]);
	}
	printf("\"all\":%" PRIu64 "},", faults);
	if (load->options.prints_all) {
		samples_print(&load->first_byte, "samples_us");
		printf(",");
	}
	samples_summarise(&load->first_byte, "first_byte_us");
	printf(",");
	samples_summarise(&load->whole, "answer_us");
	printf(",");
	samples_summarise(&load->late, "timer_late_us");
	if (load->options.tells_wait) {
		printf(",");
		samples_summarise(&load->own_wait, "own_wait_us");
		printf(",");
		samples_summarise(&load->without_wait, "without_own_wait_us");
	}
	printf("}\n");
	return faults;
}

int
main(int argc, char **argv)
{
	static struct load load;

	options_take(&load.options, argc, argv);
	load.schedstat_fd = !load.options.tells_wait ? -1 :
	    open("/proc/self/schedstat", O_RDONLY | O_CLOEXEC);
	if (load.options.tells_wait && load.schedstat_fd < 0)
		err(1, "/proc/self/schedstat: leave -q out");
	load.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	load.clients = calloc(load.options.connections,
	    sizeof(load.clients[0]));
	if (load.epoll_fd < 0 || load.clients == NULL)
		err(1, "fcgi-load");
	for (unsigned i = 0; i < load.options.connections; i++)
		load.clients[i].fd = -1;
	run(&load);
	if (load.options.list != NULL && fclose(load.options.list) != 0)
		err(1, "the list of requests");
	/* 0: every answer was right; 1: some were not, see "faults" */
	return print(&load) == 0 && fflush(stdout) == 0 ? 0 : 1;
}
