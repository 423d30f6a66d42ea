/*
 * The namespaces of `network = egress`: whether each is there and one, and
 * whether it refuses by itself what it should.  That is tried from inside, by
 * datagrams that no router passes on (a time to live of 1), at addresses that
 * must be refused before they leave.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/cmd_check.h"
#include "fcgi-host/sock.h"
#include "sandbox/landlock.h"
#include "sandbox/netns.h"
#include "sandbox/userns.h"

#define PORT_DISCARD 9
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const refused[] = { "169.254.169.254", "10.255.255.254",
	"172.31.255.254", "192.168.255.254", "100.127.255.254" };
/* Of a network for examples: the way to the internet leads there too. */
#define PUBLIC "203.0.113.1"

/* What is seen inside: a bit for each of `refused`, and these. */
enum { SEEN_LOOPBACK = 1 << 6, SEEN_NO_WAY = 1 << 7 };
_Static_assert(COUNT(refused) <= 6, "an exit status has eight bits");

/* ------------------------------------------------------------------- inside */

static bool
is_loopback_up(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	CLEANUP_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0 &&
	    (request.ifr_flags & IFF_UP) != 0;
}

/* A datagram would leave, if it is sent; else that there is a route. */
static bool
goes_out(const char *address, bool is_sent)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		.sin_port = htons(PORT_DISCARD) };
	CLEANUP_FD int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int one_hop = 1;

	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1 ||
	    setsockopt(fd, IPPROTO_IP, IP_TTL, &one_hop, sizeof(one_hop)) != 0)
		return false;
	return connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 &&
	    (!is_sent || send(fd, "", 1, MSG_DONTWAIT) == 1);
}

static int
look_around(void)
{
	int seen = 0;

	for (size_t i = 0; i < COUNT(refused); i++)
		if (goes_out(refused[i], true))
			seen |= 1 << i;
	if (is_loopback_up())
		seen |= SEEN_LOOPBACK;
	if (!goes_out(PUBLIC, false))
		seen |= SEEN_NO_WAY;
	return seen;
}

/* -1: it cannot be entered. */
static int
look_inside(int fd)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(setns(fd, CLONE_NEWNET) == 0 ? look_around() : 0xff);
	if (pid < 0)
		return -1;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) && WEXITSTATUS(status) != 0xff ?
	    WEXITSTATUS(status) : -1;
}

/* ------------------------------------------------------------------ findings */

static void
judge(const char *path, int seen, struct findings *findings)
{
	if (seen < 0) {
		findings_add(findings, FINDING_ERROR, "egress: %s cannot be "
		    "entered; start the host, and this, as root", path);
		return;
	}
	for (size_t i = 0; i < COUNT(refused); i++)
		if ((seen & 1 << i) != 0)
			findings_add(findings, FINDING_WARNING, "egress: %s "
			    "does not itself refuse %s; unless rules of the "
			    "machine do, functions reach what is private: make "
			    "it by fcgi-host-egress up", path, refused[i]);
	if ((seen & SEEN_LOOPBACK) != 0)
		findings_add(findings, FINDING_WARNING, "egress: in %s the "
		    "loopback is up, by which functions of all that share it "
		    "reach each other's ports: ip -n NAME link set lo down",
		    path);
	if ((seen & SEEN_NO_WAY) != 0)
		findings_add(findings, FINDING_WARNING, "egress: %s has no "
		    "way out to the internet; see: ip -n NAME route", path);
}

static void
check_path(const char *path, struct findings *findings)
{
	const char *problem = "";
	CLEANUP_FD int fd = netns_open(path, netns_of_machine(), &problem);

	if (fd < 0)
		findings_add(findings, FINDING_ERROR, "egress: %s: %s", path,
		    problem);
	else if (geteuid() == 0)
		judge(path, look_inside(fd), findings);
}

/* The section speaks of the network, and it is this one. */
static const char *
path_of(const struct conf *conf, const struct settings *section,
    const char *tenant, const char *function)
{
	if (!section->has_network && section->egress == NULL)
		return NULL;
	return conf_network(conf, tenant, function) == NETWORK_EGRESS ?
	    conf_egress(conf, tenant, function) : NULL;
}

/* One after the other: [defaults], tenants, functions. */
static const char *
nth_path(const struct conf *conf, size_t n, bool *is_shared)
{
	char tenant[CTL_NAME_MAX + 1];
	const struct conf_section *section;

	*is_shared = n == 0;
	if (n == 0)
		return path_of(conf, &conf->defaults, "", "");
	if (n <= conf->tenant_count) {
		section = &conf->tenants[n - 1];
		return path_of(conf, &section->settings, section->name, "");
	}
	section = &conf->functions_sections[n - 1 - conf->tenant_count];
	conf_tenant_of(section->name, tenant);
	return path_of(conf, &section->settings, tenant, section->name);
}

static bool
is_repeated(const struct conf *conf, size_t n, const char *path)
{
	bool is_shared;

	for (size_t i = 0; i < n; i++) {
		const char *other = nth_path(conf, i, &is_shared);

		if (other != NULL && strcmp(other, path) == 0)
			return true;
	}
	return false;
}

void
check_network(const struct conf *conf, struct findings *findings)
{
	size_t count = 1 + conf->tenant_count + conf->function_count;
	bool is_used = false, is_shared;

	for (size_t i = 0; i < count; i++) {
		const char *path = nth_path(conf, i, &is_shared);

		if (path == NULL || is_repeated(conf, i, path))
			continue;
		is_used = true;
		check_path(path, findings);
		if (is_shared)
			findings_add(findings, FINDING_NOTE, "egress: by "
			    "[defaults] tenants share %s, and see each other's "
			    "connections in /proc/self/net; where they do not "
			    "trust each other give each its own, in [tenant "
			    "NAME]", path);
	}
	if (is_used && landlock_abi() < 6)
		findings_add(findings, FINDING_WARNING, "egress: this "
		    "kernel's Landlock is older than ABI 6 (Linux 6.12), so "
		    "that functions in one namespace reach each other's "
		    "abstract sockets; give each tenant its own, in [tenant "
		    "NAME]");
	if (is_used && userns_is_single())
		findings_add(findings, FINDING_ERROR, "network: an ordinary "
		    "user's host enters no network namespace of the machine's; "
		    "start it as root, or take egress out");
}
