/*
 * Walks one tenant's part of the functions directory and decides what is a
 * function there: a file, or a folder with main.* (or index.*), below which
 * nothing else is one.  Two of one name are both refused.  Bounded in depth,
 * names and folders.  Runs in the confined scanner.
 */
#ifndef FCGI_HOST_SCAN_WALK_H
#define FCGI_HOST_SCAN_WALK_H

#include "fcgi-host/scan_look.h"

/* How the top's walk hands over the folders that are tenants. */
struct scan_tenants {
	/* The number of the tenant's unit, for its watch. */
	uint32_t (*meet)(void *arg, const char *name, bool *is_new);
	/* The folder is a tenant's indeed. */
	void (*keep)(void *arg, const char *name);
	void *arg;
};

/* The functions directory itself: the files and folder functions of the tenant
 * `default`.  0, or a negative errno: it cannot be read. */
int scan_walk_top(struct scan_look *look, const struct scan_tenants *tenants);

/* The folder of look->tenant.  What is wrong is reported, not returned. */
void scan_walk_tenant(struct scan_look *look);

#endif
