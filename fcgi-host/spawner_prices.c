/*
 * The price book: read as bytes and handed to the gateway, as the configuration
 * is.  Whoever runs or reloads the host has judged it (cmd_prices), and the gateway
 * does; here nobody needs to know a price.
 */
#include "fcgi-host/spawner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-host/sock.h"

#define PRICES_BYTES_MAX (4u << 20) /* as prices.h */

int
spawner_read_prices(const struct conf *conf, int *fd, char *problem,
    size_t size)
{
	struct buf text = { 0 };
	int error;

	*fd = -1;
	if (conf->prices == NULL)
		return 0;
	error = spawner_read_file(conf->prices, PRICES_BYTES_MAX, &text);
	if (error == 0)
		*fd = sock_sealed("prices", buf_head(&text), buf_len(&text));
	if (error == 0 && *fd < 0)
		error = *fd;
	buf_free(&text);
	if (error == 0)
		return 0;
	*fd = -1;
	snprintf(problem, size, "[host] prices: %s cannot be read: %s",
	    conf->prices, strerror(-error));
	return -EINVAL;
}

void
spawner_send_conf(struct spawner *spawner)
{
	if (spawner->prices_fd >= 0)
		spawner_send_fd(spawner->gateway, CTL_PRICES,
		    spawner->prices_fd);
	spawner_send_fd(spawner->gateway, CTL_CONF, spawner->conf_fd);
}
