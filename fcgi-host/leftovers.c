#include "fcgi-host/leftovers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/log.h"

#define RETRY_MS 20
#define RETRIES 100

/* One that could not be removed at once. */
struct leftover {
	struct leftovers *all;
	struct loop_timer timer;
	struct loop_task free_task;
	unsigned tries;
	char name[48];
	struct leftover *next;
};

struct leftovers {
	struct loop *loop;
	const struct cgroup_parent *cgroup;
	struct leftover *first;
};

struct leftovers *
leftovers_new(struct loop *loop, const struct cgroup_parent *cgroup)
{
	struct leftovers *leftovers = calloc(1, sizeof(*leftovers));

	if (leftovers == NULL)
		return NULL;
	leftovers->loop = loop;
	leftovers->cgroup = cgroup;
	return leftovers;
}

static void
leftover_free(void *arg)
{
	struct leftover *left = arg, **place = &left->all->first;

	while (*place != left)
		place = &(*place)->next;
	*place = left->next;
	free(left);
}

static void
log_left(const char *name, int error)
{
	if (error != 0)
		log_event(LOG_WARN, "leaf_left", "leaf=%s error=\"%s\"", name,
		    strerror(-error));
}

static void
leftover_try(void *arg)
{
	struct leftover *left = arg;
	struct loop *loop = left->all->loop;
	int error = cgroup_leaf_remove(left->all->cgroup, left->name);

	if (error == -EBUSY && left->tries++ < RETRIES &&
	    loop_timer_set(loop, &left->timer, loop_clock_us() +
	    RETRY_MS * 1000, leftover_try, left) == 0)
		return;
	log_left(left->name, error);
	loop_defer(loop, &left->free_task, leftover_free, left);
}

/* Its processes are dead, but the kernel may still be taking them apart. */
void
leftovers_remove(void *arg, const char *name)
{
	struct leftovers *all = arg;
	struct leftover *left;
	int error = cgroup_leaf_remove(all->cgroup, name);

	left = error == -EBUSY ? calloc(1, sizeof(*left)) : NULL;
	if (left == NULL) {
		log_left(name, error);
		return;
	}
	left->all = all;
	snprintf(left->name, sizeof(left->name), "%s", name);
	left->next = all->first;
	all->first = left;
	if (loop_timer_set(all->loop, &left->timer, loop_clock_us() +
	    RETRY_MS * 1000, leftover_try, left) != 0)
		leftover_free(left);
}

static int
depth_of(const char *name)
{
	int depth = 0;

	while ((name = strchr(name, '/')) != NULL) {
		name++;
		depth++;
	}
	return depth;
}

/* Branches come behind what stands in them. */
void
leftovers_end(struct leftovers *leftovers)
{
	struct leftover *left;

	if (leftovers == NULL)
		return;
	for (int depth = 2; depth > 0; depth--)
		for (left = leftovers->first; left != NULL; left = left->next)
			if (depth_of(left->name) == depth)
				(void)cgroup_leaf_remove(leftovers->cgroup,
				    left->name);
	while ((left = leftovers->first) != NULL) {
		int error = cgroup_leaf_remove(leftovers->cgroup, left->name);

		loop_timer_cancel(leftovers->loop, &left->timer);
		log_left(left->name, error == -ENOENT ? 0 : error);
		leftover_free(left);
	}
	free(leftovers);
}
