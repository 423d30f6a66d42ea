/*
 * A functions directory that tenants filled: names of any bytes, files, folders,
 * links, fifos, modes and sidecars.  Each report is one that the spawner takes;
 * no name is served twice; what is not served has a sentence; a second look
 * reports nothing, and after a change the same stands there as for a scanner
 * that sees it for the first time.
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-host/scan.h"
#include "fcgi-host/scan_users.h"
#include "fcgi-host/sock.h"

#define OPS_MAX 48
#define DEPTH_MAX 12
#define ENTRIES_MAX 128
#define FILE_MAX 512

static const char conf_text[] = "[host]\nlisten = /run/fuzz/s\n"
    "functions = /srv/functions\naccounting = /var/log/fuzz\n"
    "run = /run/fuzz\nstate = /var/lib/fuzz\n"
    "[runtime sh]\nextensions = sh\nprotocol = cgi\ncommand = /bin/sh\n"
    "[runtime python]\nextensions = py py3\nprotocol = cgi\n"
    "command = /usr/bin/python3\n"
    "[tenant carol]\nuser = nobody\n";

/* Parts of names; a raw one has a length and bytes of its own. */
static const char *const parts[] = { "main", "index", "alice", "default", "a",
	"b", ".sh", ".py", ".ini", ".cgi", ".fcgi", ".rb", ".", "..", "-",
	"A", "carol", "\xc3\xa9", "main.sh", "a.sh", "\n", "\"", "bob", "_" };
#define PARTS (sizeof(parts) / sizeof(parts[0]))

/* What was reported and not taken back. */
struct picture {
	struct {
		struct ctl_function info;
		uint32_t env_hash;
	} at[ENTRIES_MAX];
	size_t count, puts, dels;
};

struct hill {
	char path[512];
	int fds[DEPTH_MAX]; /* the way down */
	size_t depth;
	struct conf *conf;
};

/* Nobody writes while the scanner looks, so it is told that all was written some
 * seconds ago. */
int
clock_gettime(clockid_t id, struct timespec *now)
{
	int error = (int)syscall(SYS_clock_gettime, id, now);

	now->tv_sec += id == CLOCK_REALTIME ? 10 : 0;
	return error;
}

/* -------------------------------------------------------------- what is reported */

static size_t
place_of(const struct picture *picture, const char *name)
{
	size_t i;

	for (i = 0; i < picture->count; i++)
		if (strcmp(picture->at[i].info.name, name) == 0)
			break;
	return i;
}

static uint32_t
hash_of(const struct buf *env)
{
	uint32_t hash = 2166136261u;

	for (size_t i = env->start; i < env->end; i++)
		hash = (hash ^ env->data[i]) * 16777619u;
	return hash;
}

static void
on_put(void *arg, const struct ctl_function *info, const struct buf *env)
{
	struct picture *picture = arg;
	size_t place = place_of(picture, info->name);
	struct ctl_msg msg;

	ctl_msg_init(&msg, CTL_FN_PUT);
	msg.u.function = *info;
	CLAIM(ctl_msg_check(&msg, msg.size, info->has_env,
	    CTL_WAY_SCANNER_TO_SPAWNER) == 0);
	CLAIM((info->has_env != 0) == (buf_len(env) > 0));
	CLAIM(info->problem == CTL_PROBLEM_NONE || info->detail[0] != '\0');
	CLAIM(place < ENTRIES_MAX);
	picture->at[place].info = *info;
	picture->at[place].env_hash = hash_of(env);
	picture->count += place == picture->count;
	picture->puts++;
}

static void
on_del(void *arg, const char *name)
{
	struct picture *picture = arg;
	size_t place = place_of(picture, name);

	CLAIM(place < picture->count);
	picture->at[place] = picture->at[--picture->count];
	picture->dels++;
}

static struct scan *
scanner(const struct hill *hill, int users_fd, struct picture *picture)
{
	struct scan_setup setup = { .root_fd = hill->fds[0],
		.users_fd = users_fd, .own_uid = getuid(),
		.report = { on_put, on_del, picture } };
	struct scan *scan;

	*picture = (struct picture){ .count = 0 };
	scan = scan_new(&setup);
	CLAIM(scan != NULL);
	(void)scan_set_conf(scan, hill->conf);
	return scan;
}

static void
same(const struct picture *a, const struct picture *b)
{
	CLAIM(a->count == b->count);
	for (size_t i = 0; i < a->count; i++) {
		size_t place = place_of(b, a->at[i].info.name);

		CLAIM(place < b->count);
		CLAIM(memcmp(&a->at[i].info, &b->at[place].info,
		    sizeof(a->at[i].info)) == 0);
		CLAIM(a->at[i].env_hash == b->at[place].env_hash);
	}
}

/* What is served is there, once, and where its name says. */
static void
check_served(const struct hill *hill, const struct picture *picture)
{
	for (size_t i = 0; i < picture->count; i++) {
		const struct ctl_function *info = &picture->at[i].info;
		struct stat st;

		if (info->problem != CTL_PROBLEM_NONE)
			continue;
		CLAIM(fstatat(hill->fds[0], info->path, &st,
		    AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode));
		CLAIM((st.st_mode & 022) == 0);
		for (size_t j = 0; j < i; j++)
			CLAIM(strcmp(picture->at[j].info.path, info->path) !=
			    0);
	}
}

/* ---------------------------------------------------------------- what is there */

/* False: no name of a file, or one that was in the way. */
static bool
take_name(char name[256], const uint8_t **data, size_t *n)
{
	uint8_t count = take_byte(data, n) % 4 + 1u;
	size_t used = 0;

	while (count-- > 0) {
		uint8_t which = take_byte(data, n);
		const char *part = (const char *)*data;
		size_t length = which % 64;

		if (which % 64 < PARTS) {
			part = parts[which % 64];
			length = strlen(part);
		} else {
			length = (size_t)(which % 64 - PARTS) * 6;
			length = length < *n ? length : *n;
			*data += length;
			*n -= length;
		}
		for (; length > 0 && used < 255; length--, part++)
			if (*part != '\0' && *part != '/')
				name[used++] = *part;
	}
	name[used] = '\0';
	return used > 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static mode_t
mode_of(uint8_t how)
{
	static const mode_t modes[] = { 0644, 0755, 0600, 0444, 0666, 0777,
		0000, 04755 };

	return modes[how % 8];
}

static void
write_file(int dir, const char *name, mode_t mode, const uint8_t **data,
    size_t *n)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
	    O_CLOEXEC, 0600);
	size_t length = take_byte(data, n);

	if (length > *n)
		length = *n;
	if (fd < 0)
		return;
	CLAIM(write(fd, *data, length) == (ssize_t)length);
	CLAIM(fchmod(fd, mode) == 0);
	close(fd);
	*data += length;
	*n -= length;
}

static void
go_down(struct hill *hill, const char *name, mode_t mode)
{
	int dir = hill->fds[hill->depth - 1], fd;

	(void)mkdirat(dir, name, 0755);
	if (hill->depth == DEPTH_MAX)
		return;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
	    O_CLOEXEC);
	if (fd < 0)
		return;
	if (mode == 0777 || mode == 0000)
		(void)fchmod(fd, mode);
	hill->fds[hill->depth++] = fd;
}

static void
go_up(struct hill *hill)
{
	if (hill->depth > 1)
		close(hill->fds[--hill->depth]);
}

static void
step(struct hill *hill, const uint8_t **data, size_t *n)
{
	uint8_t op = take_byte(data, n);
	int dir = hill->fds[hill->depth - 1];
	char name[256], other[256];

	if (op % 8 == 7) {
		go_up(hill);
		return;
	}
	if (!take_name(name, data, n))
		return;
	switch (op % 8) {
	case 3:
	case 4:
		go_down(hill, name, mode_of(op / 8));
		break;
	case 5:
		/* a name that is taken stays what it is */
		if (take_name(other, data, n) &&
		    symlinkat(other, dir, name) != 0)
			return;
		break;
	case 6:
		if (op / 8 % 2 == 0)
			(void)mkfifoat(dir, name, 0644);
		else if (take_name(other, data, n) &&
		    linkat(dir, other, dir, name, 0) != 0)
			return;
		break;
	default:
		write_file(dir, name, mode_of(op / 8), data, n);
		break;
	}
}

static void
empty(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	CLAIM(stream != NULL);
	while ((entry = readdir(stream)) != NULL) {
		int below;

		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0 ||
		    unlinkat(dir, entry->d_name, 0) == 0)
			continue;
		below = openat(dir, entry->d_name, O_RDONLY | O_DIRECTORY |
		    O_NOFOLLOW | O_CLOEXEC);
		CLAIM(below >= 0);
		empty(below);
		close(below);
		CLAIM(unlinkat(dir, entry->d_name, AT_REMOVEDIR) == 0);
	}
	closedir(stream);
}

static struct conf *
read_conf(void)
{
	struct conf_errors errors = { .count = 0 };
	int fd = sock_sealed("conf", conf_text, sizeof(conf_text) - 1);
	struct conf *conf = conf_read(fd, "fuzz.ini", &errors);

	CLAIM(conf != NULL);
	close(fd);
	conf_errors_free(&errors);
	return conf;
}

static void
begin(struct hill *hill)
{
	const char *room = getenv("TMPDIR");

	*hill = (struct hill){ .depth = 1, .conf = read_conf() };
	(void)snprintf(hill->path, sizeof(hill->path), "%s/fh-fuzz-XXXXXX",
	    room != NULL ? room : access("/dev/shm", W_OK) == 0 ?
	    "/dev/shm" : "/tmp");
	CLAIM(mkdtemp(hill->path) != NULL && chmod(hill->path, 0755) == 0);
	hill->fds[0] = open(hill->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLAIM(hill->fds[0] >= 0);
}

static void
end(struct hill *hill)
{
	while (hill->depth > 1)
		go_up(hill);
	empty(hill->fds[0]);
	close(hill->fds[0]);
	CLAIM(rmdir(hill->path) == 0);
	conf_unref(hill->conf);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct picture now, fresh;
	uint8_t before = take_byte(&data, &n) % OPS_MAX;
	int users_fd = scan_users_open();
	struct scan *scan, *other;
	struct hill hill;
	size_t told;

	log_init("fuzz", LOG_ERROR);
	begin(&hill);
	for (unsigned i = 0; i < before && n > 0; i++)
		step(&hill, &data, &n);
	scan = scanner(&hill, users_fd, &now);
	CLAIM(scan_all(scan) == 0);
	check_served(&hill, &now);
	told = now.puts + now.dels;
	CLAIM(scan_all(scan) == 0 && now.puts + now.dels == told);
	for (unsigned i = 0; i < OPS_MAX && n > 0; i++)
		step(&hill, &data, &n);
	CLAIM(scan_all(scan) == 0);
	other = scanner(&hill, users_fd, &fresh);
	CLAIM(scan_all(other) == 0);
	check_served(&hill, &fresh);
	same(&now, &fresh);
	scan_free(scan);
	scan_free(other);
	end(&hill);
	close_fd(&users_fd);
	return 0;
}
