#include "sandbox/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fcgi-host/sock.h"
#include "sandbox/grave.h"
#include "sandbox/image.h"
#include "sandbox/plan.h"

#define KEY_BYTES 1024
#define MAKE_LIMIT_MS 5000

/* What a tree was made of.  Compared as bytes. */
struct key {
	size_t length;
	bool is_whole; /* it fitted */
	unsigned char bytes[KEY_BYTES];
};

struct sandbox_tree {
	int ns_fd; /* -1: not made */
	struct key key;
	struct mounts_item *items; /* for Landlock; their fd is -1 */
	size_t count;
};

/* ----------------------------------------------------------------- the watch */

/* A proc can only be mounted in a user namespace beside one that is there. */
static bool
is_machines_own(void)
{
	unsigned long first, outside, count;
	FILE *map = fopen("/proc/self/uid_map", "re");
	int n;

	if (map == NULL)
		return false;
	n = fscanf(map, "%lu %lu %lu", &first, &outside, &count);
	fclose(map);
	return n == 3 && first == 0 && outside == 0 && count == UINT32_MAX;
}

void
tree_watch_open(struct tree_watch *watch)
{
	watch->serial = 0;
	watch->fd = is_machines_own() ?
	    open("/proc/self/mounts", O_RDONLY | O_CLOEXEC) : -1;
}

/* The kernel tells of each change once. */
static void
watch_look(struct tree_watch *watch)
{
	struct pollfd changed = { watch->fd, POLLPRI, 0 };

	if (poll(&changed, 1, 0) != 0)
		watch->serial++;
}

/* ------------------------------------------------------------------- the key */

static void
key_add(struct key *key, const void *data, size_t length)
{
	if (length > sizeof(key->bytes) - key->length) {
		key->is_whole = false;
		return;
	}
	memcpy(key->bytes + key->length, data, length);
	key->length += length;
}

static void
key_add_text(struct key *key, const char *text)
{
	key_add(key, text, strlen(text) + 1);
}

/* The object itself, whatever its name.  A tree holds what it was made of, so
 * that no other can come by the same number. */
static void
key_add_object(struct key *key, int dir_fd, const char *name)
{
	struct statx st;
	uint64_t id[4] = { 0 };

	if (statx(dir_fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW |
	        AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO | STATX_MNT_ID,
	        &st) == 0) {
		id[0] = (uint64_t)st.stx_dev_major << 32 | st.stx_dev_minor;
		id[1] = st.stx_ino;
		id[2] = st.stx_mnt_id;
		id[3] = st.stx_mode & S_IFMT;
	}
	key_add(key, id, sizeof(id));
}

/* An image's names are not to be looked up by way of the host. */
static void
key_add_etc(struct key *key, const struct image *image, const char *name)
{
	CLEANUP_FD int fd = -1;

	if (image->is_host) {
		key_add_object(key, image->etc_fd, name);
		return;
	}
	fd = image_etc(image, name);
	key_add_object(key, fd, "");
}

static void
key_make(struct key *key, const struct tree_watch *watch,
    const struct image *host, const struct sandbox_plan *plan)
{
	const uint64_t numbers[] = { watch->serial, plan->uid, plan->gid,
		plan->function_is_folder, plan->data_fd >= 0, plan->network };
	const struct image *image = plan->image != NULL ? plan->image : host;
	char text[128] = "";

	key->length = 0;
	key->is_whole = true;
	key_add(key, numbers, sizeof(numbers));
	key_add_text(key, plan->hostname);
	key_add_text(key, plan->function_is_folder ? "" : plan->function_file);
	key_add_object(key, image->usr_fd, "");
	for (size_t i = 0; i < image->link_count; i++)
		key_add_object(key, image->slash_fd, image->link[i].name);
	for (size_t i = 0; image_etc_names()[i] != NULL; i++)
		key_add_etc(key, image, image_etc_names()[i]);
	if (readlinkat(image->etc_fd, "localtime", text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	key_add_text(key, text);
}

static bool
key_is_same(const struct key *a, const struct key *b)
{
	return a->length == b->length &&
	    memcmp(a->bytes, b->bytes, a->length) == 0;
}

/* ----------------------------------------------------------------- its making */

/* In the child, which has the new namespace: async-signal-safe. */
static _Noreturn void
make_in_child(const struct mounts *mounts, int sock)
{
	int error = 0, fd = -1;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		_exit(127);
	fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	error = fd < 0 ? -errno : mounts_change_root(mounts);
	(void)sock_send(sock, &error, sizeof(error), &fd, error == 0 ? 1 : 0);
	_exit(0);
}

static int
await_made(int sock, int *ns_fd)
{
	struct pollfd wait = { .fd = sock, .events = POLLIN };
	int ready, error = 0;
	size_t fd_count = 0;
	ssize_t n;

	do
		ready = poll(&wait, 1, MAKE_LIMIT_MS);
	while (ready < 0 && errno == EINTR);
	if (ready == 0)
		return -ETIMEDOUT;
	n = sock_recv(sock, &error, sizeof(error), ns_fd, 1, &fd_count);
	if (n != (ssize_t)sizeof(error))
		return n < 0 ? (int)n : -ECHILD;
	return error != 0 ? error : fd_count == 1 ? 0 : -EIO;
}

static int
make_namespace(const struct mounts *mounts, struct graves *graves, int *ns_fd)
{
	int pidfd = -1;
	struct clone_args arguments = {
		.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND | CLONE_NEWNS,
		.pidfd = (uint64_t)(uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
	};
	int pair[2];
	int error = sock_pair(pair);
	long pid;

	if (error != 0)
		return error;
	pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
	if (pid == 0)
		make_in_child(mounts, pair[1]);
	close_fd(&pair[1]);
	error = pid < 0 ? -errno : await_made(pair[0], ns_fd);
	close_fd(&pair[0]);
	if (pid > 0)
		graves_bury(graves, &pidfd);
	if (error != 0)
		close_fd(ns_fd);
	return error;
}

static void
forget(struct sandbox_tree *tree)
{
	close_fd(&tree->ns_fd);
	free(tree->items);
	tree->items = NULL;
	tree->count = 0;
}

static int
keep_items(struct sandbox_tree *tree, const struct mounts *mounts)
{
	tree->items = calloc(mounts->count + 1, sizeof(*tree->items));
	if (tree->items == NULL)
		return -ENOMEM;
	/* what is only covered by another's rule is of no use any more */
	for (size_t i = 0; i < mounts->count; i++) {
		if (mounts->item[i].use == MOUNTS_USE_NONE)
			continue;
		tree->items[tree->count] = mounts->item[i];
		tree->items[tree->count++].fd = -1;
	}
	return 0;
}

/* own: what each sandbox hangs up itself, and finds a place for. */
static int
make(struct sandbox_tree *tree, struct graves *graves,
    const struct mounts *own, const struct image *host,
    const struct sandbox_plan *plan, const char **step)
{
	struct mounts common;
	int error = mounts_prepare_common(&common, own, host, plan, step);

	if (error != 0)
		return error;
	*step = "the function's kept tree";
	error = keep_items(tree, &common);
	if (error == 0)
		error = make_namespace(&common, graves, &tree->ns_fd);
	if (error == -ETIMEDOUT)
		*step = "mounts, within 5 seconds";
	mounts_release(&common);
	if (error != 0)
		forget(tree);
	return error;
}

/* What a sandbox finds in the kept namespace, for its Landlock rules. */
static int
join(const struct sandbox_tree *tree, struct mounts *mounts)
{
	if (tree->count > MOUNTS_MAX - mounts->count)
		return -E2BIG;
	mounts->ns_fd = tree->ns_fd;
	for (size_t i = 0; i < tree->count; i++)
		mounts->item[mounts->count++] = tree->items[i];
	return 0;
}

int
tree_prepare(struct sandbox_tree *tree, struct tree_watch *watch,
    struct graves *graves, struct mounts *mounts, const struct image *host,
    const struct sandbox_plan *plan, const char **step)
{
	struct key key;
	int error;

	watch_look(watch);
	key_make(&key, watch, host, plan);
	if (!key.is_whole || !key_is_same(&key, &tree->key)) {
		forget(tree);
		tree->key = key;
		return mounts_prepare(mounts, host, plan, step);
	}
	error = mounts_prepare_own(mounts, plan, step);
	if (error == 0 && tree->ns_fd < 0)
		error = make(tree, graves, mounts, host, plan, step);
	if (error == 0)
		error = join(tree, mounts);
	if (error != 0)
		mounts_release(mounts);
	return error;
}

struct sandbox_tree *
sandbox_tree_new(void)
{
	struct sandbox_tree *tree = calloc(1, sizeof(*tree));

	if (tree != NULL)
		tree->ns_fd = -1;
	return tree;
}

void
sandbox_tree_free(struct sandbox_tree *tree)
{
	if (tree == NULL)
		return;
	forget(tree);
	free(tree);
}
