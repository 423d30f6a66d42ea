/* Probes of the tree: names, files, mounts. */
#include "tests/probes/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

int
probe_shadow(void)
{
	int holes = attempt("read /etc/shadow", open("/etc/shadow", O_RDONLY));

	holes += attempt("read /etc/gshadow", open("/etc/gshadow", O_RDONLY));
	holes += attempt("list /root", open("/root", O_RDONLY | O_DIRECTORY));
	return holes + attempt("read /etc/ssl/private",
	    open("/etc/ssl/private", O_RDONLY | O_DIRECTORY));
}

/* The marker is an absolute path of the host that every uid may read. */
int
probe_walk(void)
{
	static const char *const from[] = { "", "/tmp", "/fn", "/data", "/dev",
		"/usr/lib", "/proc/self/cwd", "/proc/self/root",
		"/proc/1/root", "/proc/1/cwd", "/dev/fd" };
	const char *marker = setting("PROBE_MARKER", "/etc/hostname");
	char path[4096];
	int holes = 0;

	for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
		for (int depth = 0; depth <= 24; depth += 8) {
			char up[128] = "";

			for (int j = 0; j < depth; j++)
				strcat(up, "/..");
			snprintf(path, sizeof(path), "%s%s%s", from[i], up,
			    marker);
			if (open(path, O_RDONLY) >= 0)
				holes += judge(1, "read %s", path);
		}
	}
	return holes + judge(0, "%d ways to %s that were walked", 44 - holes,
	    marker);
}

static void
own_path(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 1);

	if (n < 0) {
		strcpy(path, "/fn/probe");
		return;
	}
	path[n] = '\0';
}

int
probe_own_folder(void)
{
	char self[4096], other[4200], *slash;
	int holes;

	own_path(self, sizeof(self));
	holes = attempt("chmod of itself", chmod(self, 0777));
	holes += attempt("touch of itself", utimensat(AT_FDCWD, self, NULL, 0));
	slash = strrchr(self, '/');
	snprintf(other, sizeof(other), "%.*s/planted", (int)(slash - self),
	    self);
	holes += attempt("a file beside itself",
	    open(other, O_WRONLY | O_CREAT, 0644));
	unlink(other);
	holes += attempt("a folder beside itself", mkdir(other, 0755));
	rmdir(other);
	holes += attempt("a link beside itself", symlink("/", other));
	unlink(other);
	return holes;
}

/* -------------------------------------------------- foreign code, number 4 */

static int
copy_self(int out)
{
	int in = open("/proc/self/exe", O_RDONLY);
	char buf[65536];
	ssize_t n;

	if (in < 0 || out < 0)
		return -1;
	while ((n = read(in, buf, sizeof(buf))) > 0) {
		if (write(out, buf, (size_t)n) != n)
			return -1;
	}
	close(in);
	return (int)n;
}

static int
executes(const char *what, int fd, const char *path)
{
	char *const argv[] = { (char *)"probe", (char *)"executed", NULL };
	char *const env[] = { NULL };
	int status, error;
	pid_t pid = vfork();

	if (pid == 0) {
		if (path != NULL)
			execve(path, argv, env);
		else
			syscall(SYS_execveat, fd, "", argv, env, AT_EMPTY_PATH);
		_exit(errno);
	}
	waitpid(pid, &status, 0);
	error = WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
	errno = error;
	return attempt(what, error == 0 ? 0 : -1);
}

static int
plant(const char *folder)
{
	char path[256], what[512];
	void *page;
	int fd, holes;

	snprintf(path, sizeof(path), "%s/planted", folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
	if (fd < 0 || copy_self(fd) != 0)
		return judge(0, "plant a program in %s: %s", folder,
		    strerror(errno));
	fchmod(fd, 0755);
	close(fd);
	snprintf(what, sizeof(what), "execute %s", path);
	holes = executes(what, -1, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	snprintf(what, sizeof(what), "fexecve of %s", path);
	holes += executes(what, fd, NULL);
	snprintf(what, sizeof(what), "map %s executable, as ld.so would", path);
	page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
	holes += attempt(what, page == MAP_FAILED ? -1 : 0);
	close(fd);
	unlink(path);
	return holes;
}

static int
execute_memfd(const char *what, unsigned flags)
{
	int fd = (int)syscall(SYS_memfd_create, "x", flags), again;
	char path[64];
	int holes;

	if (fd < 0)
		return attempt(what, -1);
	if (copy_self(fd) != 0)
		return judge(0, "%s: %s", what, strerror(errno));
	fchmod(fd, 0755);
	/* A file that is open for writing cannot be executed. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDONLY);
	close(fd);
	if (again < 0)
		return judge(0, "%s: open again: %s", what, strerror(errno));
	holes = executes(what, again, NULL);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", again);
	holes += executes(what, -1, path);
	close(again);
	return holes;
}

int
probe_exec_tmp(void)
{
	int holes = plant("/tmp");

	holes += plant("/dev/shm");
	return holes + plant("/data");
}

int
probe_exec_memfd(void)
{
	int holes = execute_memfd("a memfd", 0);

	return holes + execute_memfd("a memfd that asks for exec", MFD_EXEC);
}

/* --------------------------------------------------------- devices and more */

int
probe_mknod(void)
{
	int holes = attempt("mknod of a disk",
	    mknod("/tmp/disk", S_IFBLK | 0666, makedev(8, 0)));

	holes += attempt("mknod of memory",
	    mknod("/tmp/mem", S_IFCHR | 0666, makedev(1, 1)));
	holes += attempt("mknod beside the others",
	    mknod("/dev/disk", S_IFBLK | 0666, makedev(8, 0)));
	unlink("/tmp/disk");
	unlink("/tmp/mem");
	unlink("/dev/disk");
	return holes;
}

#define FILL_MAX ((off_t)1 << 26)

int
probe_fill_tmp(void)
{
	int fd = open("/tmp/fill", O_WRONLY | O_CREAT, 0600);
	static char zeros[1 << 20];
	off_t total = 0;
	ssize_t n;

	while ((n = write(fd, zeros, sizeof(zeros))) > 0 && total < FILL_MAX)
		total += n;
	unlink("/tmp/fill");
	return judge(n > 0 || errno != ENOSPC, "fill /tmp: %s after %lld KiB",
	    n > 0 ? "no end" : strerror(errno), (long long)total / 1024);
}

int
probe_flood_inodes(void)
{
	char path[64];
	int n, fd;

	for (n = 0; n < 40000; n++) {
		snprintf(path, sizeof(path), "/tmp/flood%d", n);
		fd = open(path, O_WRONLY | O_CREAT, 0600);
		if (fd < 0)
			break;
		close(fd);
	}
	return judge(n == 40000 || errno != ENOSPC,
	    "flood /tmp with files: %s after %d", strerror(errno), n);
}

static void
second_chroot(void)
{
	mkdir("/tmp/second", 0755);
	errno = 0;
	if (chroot("/tmp/second") == 0)
		_exit(0);
}

int
probe_chroot(void)
{
	return attempt_in_child("a second chroot", second_chroot);
}

int
probe_mount(void)
{
	struct mount_attr writable = { .attr_clr = MOUNT_ATTR_RDONLY |
		    MOUNT_ATTR_NOEXEC };
	int holes = attempt("mount a tmpfs",
	    mount("none", "/tmp", "tmpfs", 0, NULL));
	int tree;

	holes += attempt("mount /proc", mount("none", "/tmp", "proc", 0, NULL));
	holes += attempt("bind", mount("/usr", "/tmp", NULL, MS_BIND, NULL));
	holes += attempt("remount / writable", mount(NULL, "/", NULL,
	    MS_REMOUNT | MS_BIND, NULL));
	holes += attempt("fsopen", fsopen("tmpfs", 0));
	tree = open_tree(AT_FDCWD, "/usr", OPEN_TREE_CLONE);
	holes += attempt("open_tree", tree);
	holes += attempt("move_mount",
	    move_mount(tree, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH));
	holes += attempt("mount_setattr", mount_setattr(AT_FDCWD, "/tmp", 0,
	    &writable, sizeof(writable)));
	return holes;
}

int
probe_pivot(void)
{
	int holes = attempt("umount /tmp", umount2("/tmp", MNT_DETACH));

	holes += attempt("umount /proc", umount2("/proc", MNT_DETACH));
	holes += attempt("umount /dev/shm", umount2("/dev/shm", MNT_DETACH));
	return holes + attempt("pivot_root",
	    syscall(SYS_pivot_root, "/tmp", "/tmp"));
}

/* A running program's file is busy everywhere; what counts is whether that is
 * all that protects it.  truncate asks the mount first. */
int
probe_self_exe(void)
{
	int holes = attempt("write /proc/self/exe",
	    open("/proc/self/exe", O_RDWR));
	long result = truncate("/proc/self/exe", 0);

	if (result < 0 && errno == ETXTBSY)
		return holes + judge(1, "truncate /proc/self/exe: only busy");
	return holes + attempt("truncate /proc/self/exe", result);
}
