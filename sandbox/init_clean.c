#include "sandbox/init_clean.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* More directory reads than this mean that something puts files back. */
#define PASSES_MAX 200000

struct entry {
	uint64_t inode;
	int64_t offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

enum removed { REMOVED_YES, REMOVED_NO, REMOVED_DESCEND };

/* A tmpfs with nothing in it uses one inode, its root's. */
static bool
is_empty_tmpfs(const char *path)
{
	struct statfs fs;

	if (statfs(path, &fs) != 0)
		return false;
	return fs.f_files - fs.f_ffree <= 1 && fs.f_blocks == fs.f_bfree;
}

static enum removed
remove_entry(int dir, const char *name)
{
	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return REMOVED_YES;
	if (errno != EISDIR && errno != EPERM)
		return REMOVED_NO;
	if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
		return REMOVED_YES;
	return errno == ENOTEMPTY ? REMOVED_DESCEND : REMOVED_NO;
}

/* The program may have taken its own directory's rights away: give them back
 * before going in.  No link can be met here: rmdir said ENOTEMPTY. */
static int
open_below(int dir, const char *name)
{
	if (fchmodat(dir, name, 0700, 0) != 0)
		return -1;
	return openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
	    O_CLOEXEC);
}

/*
 * One read of the directory.  Returns how many entries it saw, or -1 when one
 * cannot be removed.  Goes down into the first directory that holds something:
 * *dir is that one then.
 */
static int
clean_pass(int *dir, unsigned *depth)
{
	_Alignas(struct entry) char buf[4096];
	long n = syscall(SYS_getdents64, *dir, buf, sizeof(buf));
	int seen = 0;

	for (long at = 0; at < n;) {
		struct entry *entry = (struct entry *)(void *)(buf + at);
		enum removed removed;
		int below;

		at += entry->length;
		if (strcmp(entry->name, ".") == 0 ||
		    strcmp(entry->name, "..") == 0)
			continue;
		seen++;
		removed = remove_entry(*dir, entry->name);
		if (removed == REMOVED_YES)
			continue;
		below = removed == REMOVED_DESCEND ?
		    open_below(*dir, entry->name) : -1;
		if (below < 0)
			return -1;
		close(*dir);
		*dir = below;
		(*depth)++;
		return seen;
	}
	return n < 0 ? -1 : seen;
}

/*
 * Empties a directory however deep it is, with one descriptor: down by name, up
 * by "..", which is sound because nothing else runs.
 */
static int
clean_tree(const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned depth = 0;
	int seen = -1;

	for (int pass = 0; dir >= 0 && pass < PASSES_MAX; pass++) {
		int up;

		if (lseek(dir, 0, SEEK_SET) < 0)
			break;
		seen = clean_pass(&dir, &depth);
		if (seen < 0 || (seen == 0 && depth == 0))
			break;
		if (seen > 0)
			continue;
		up = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(dir);
		dir = up;
		depth--;
	}
	if (dir < 0)
		return -1;
	close(dir);
	return seen == 0 ? 0 : -1;
}

/*
 * A file that was unlinked while it was in flight in a socket goes when the
 * kernel collects the socket, a moment later.
 */
static int
clean_tmpfs(const char *path)
{
	static const struct timespec moment = { 0, 2000000 };

	if (is_empty_tmpfs(path))
		return 0;
	if (clean_tree(path) != 0)
		return -1;
	for (int i = 0; i < 20; i++) {
		if (is_empty_tmpfs(path))
			return 0;
		nanosleep(&moment, NULL);
	}
	return -1;
}

/* The _ANY forms, because a program can take the read right from its object. */
static int
clean_shared_memory(void)
{
	struct shm_info info;
	struct shmid_ds ds;
	int last = shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info);

	if (last < 0 || info.used_ids == 0)
		return last < 0 && errno != ENOSYS ? -1 : 0;
	for (int i = 0; i <= last; i++) {
		int id = shmctl(i, SHM_STAT_ANY, &ds);

		if (id >= 0 && shmctl(id, IPC_RMID, NULL) != 0)
			return -1;
	}
	last = shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info);
	return last >= 0 && info.used_ids == 0 ? 0 : -1;
}

static int
clean_messages(void)
{
	struct msginfo info;
	struct msqid_ds ds;
	int last = msgctl(0, MSG_INFO, (struct msqid_ds *)(void *)&info);

	if (last < 0 || info.msgpool == 0)
		return last < 0 && errno != ENOSYS ? -1 : 0;
	for (int i = 0; i <= last; i++) {
		int id = msgctl(i, MSG_STAT_ANY, &ds);

		if (id >= 0 && msgctl(id, IPC_RMID, NULL) != 0)
			return -1;
	}
	last = msgctl(0, MSG_INFO, (struct msqid_ds *)(void *)&info);
	return last >= 0 && info.msgpool == 0 ? 0 : -1;
}

union semaphore_argument {
	int value;
	struct semid_ds *ds;
	struct seminfo *info;
};

static int
clean_semaphores(void)
{
	struct seminfo info;
	struct semid_ds ds;
	int last = semctl(0, 0, SEM_INFO,
	    (union semaphore_argument) { .info = &info });

	if (last < 0 || info.semusz == 0)
		return last < 0 && errno != ENOSYS ? -1 : 0;
	for (int i = 0; i <= last; i++) {
		int id = semctl(i, 0, SEM_STAT_ANY,
		    (union semaphore_argument) { .ds = &ds });

		if (id >= 0 && semctl(id, 0, IPC_RMID) != 0)
			return -1;
	}
	last = semctl(0, 0, SEM_INFO,
	    (union semaphore_argument) { .info = &info });
	return last >= 0 && info.semusz == 0 ? 0 : -1;
}

int
clean_all(void)
{
	int failed = 0;

	failed |= clean_tmpfs("/tmp");
	failed |= clean_tmpfs("/dev/shm");
	failed |= clean_shared_memory();
	failed |= clean_messages();
	failed |= clean_semaphores();
	return failed ? -1 : 0;
}
