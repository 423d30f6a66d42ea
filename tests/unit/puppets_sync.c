/* FN_SYNC on its way from the scanner to the gateway and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>

#include "fcgi-host/sock.h"
#include "tests/unit/puppets.h"

#define PATIENCE_MS 15000

void
puppet_pass(const struct puppet *puppet, enum ctl_type type)
{
	struct pollfd poller = { .fd = puppet->sock, .events = POLLIN };
	int fds[PUPPET_FDS_MAX];
	struct ctl_msg msg;
	size_t count = 0;

	do {
		assert_int_equal(poll(&poller, 1, PATIENCE_MS), 1);
		assert_true(sock_recv(puppet->sock, &msg, sizeof(msg), fds,
		    PUPPET_FDS_MAX, &count) > 0);
		while (count > 0)
			close_fd(&fds[--count]);
	} while (msg.type != type);
}

void
world_sync(const struct world *world)
{
	puppet_say(&world->scanner, CTL_FN_SYNC);
	puppet_pass(&world->gateway, CTL_FN_SYNC);
	puppet_say(&world->gateway, CTL_FN_SYNC);
}
