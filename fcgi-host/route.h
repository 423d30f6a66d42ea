/*
 * Which function a request means, and how its URL is split into SCRIPT_NAME
 * and PATH_INFO.  Pure; see DESIGN "The route".
 */
#ifndef FCGI_HOST_ROUTE_H
#define FCGI_HOST_ROUTE_H

#include "fcgi-host/buf.h"
#include "fcgi-host/catalog.h"
#include "fcgi-host/conf.h"
#include "fcgi-host/fcgi_params.h"

struct route {
	struct function *function; /* borrowed from the catalogue */
	struct buf script_name;    /* NUL-terminated */
	struct buf path_info;      /* NUL-terminated, "" is normal */
};

/*
 * 0, and *route to be freed by route_free.  -ENOENT: no such function (404);
 * -EBUSY: known, but not served (route->function set: its problem says why);
 * -EINVAL: no usable path, a NUL or a bad escape in it (400);
 * -ENOMEM.
 *
 * FCGI_HOST_FUNCTION names the function outright, and FCGI_HOST_PREFIX the part
 * of the path that is SCRIPT_NAME (when it is no prefix of the path: -EINVAL).
 * Else the path is DOCUMENT_URI, or REQUEST_URI's path (percent-decoded), or
 * SCRIPT_NAME + PATH_INFO; below conf->url_prefix the longest name that the
 * catalogue knows wins, at a segment's end.  The prefix itself means
 * conf->index.
 */
int route_find(const struct conf *conf, const struct catalog *catalog,
    const struct params *params, struct route *route);
/*
 * The same for a request in the role of authorizer, whose URL is that of what
 * is to be allowed: FCGI_HOST_AUTHORIZER names the function, or else
 * FCGI_HOST_FUNCTION; nothing else does.  The route has no part of the path.
 */
int route_find_authorizer(const struct conf *conf,
    const struct catalog *catalog, const struct params *params,
    struct route *route);
void route_free(struct route *route);

#endif
