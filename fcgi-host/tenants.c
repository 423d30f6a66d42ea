#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/sock.h"
#include "fcgi-host/tenants.h"
#include "sandbox/userns.h"

#define TENANTS_FILE "tenants"
#define TENANTS_NEW "tenants.new"
#define FILE_MAX (8u * 1024 * 1024)

struct number {
	char name[CTL_TENANT_MAX + 1];
	uid_t uid;
};

struct account {
	char name[CTL_TENANT_MAX + 1];
	struct tenants_id id;
	uint16_t changed; /* how often the id has */
	gid_t *groups; /* all that he is in */
	int group_count;
};

struct accounts {
	uid_t reserved;
	size_t count;
	struct account at[];
};

struct tenants {
	int state_fd;
	struct number *numbers;
	size_t number_count;
	struct accounts *accounts; /* NULL: none were looked up so far */
};

/* ------------------------------------------------------------ STATE/tenants */

static const struct number *
number_find(const struct tenants *tenants, const char *name)
{
	size_t i;

	for (i = 0; i < tenants->number_count; i++)
		if (strcmp(tenants->numbers[i].name, name) == 0)
			return &tenants->numbers[i];
	return NULL;
}

static int
number_add(struct tenants *tenants, const char *name, uid_t uid)
{
	struct number *grown = reallocarray(tenants->numbers,
	    tenants->number_count + 1, sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	tenants->numbers = grown;
	grown += tenants->number_count++;
	snprintf(grown->name, sizeof(grown->name), "%s", name);
	grown->uid = uid;
	return 0;
}

static bool
uid_is_used(const struct tenants *tenants, uid_t uid)
{
	const struct accounts *accounts = tenants->accounts;
	size_t i;

	if (uid == 0 || (accounts != NULL && uid == accounts->reserved))
		return true;
	for (i = 0; i < tenants->number_count; i++)
		if (tenants->numbers[i].uid == uid)
			return true;
	for (i = 0; accounts != NULL && i < accounts->count; i++)
		if (accounts->at[i].id.uid == uid)
			return true;
	return false;
}

/* One line "NAME UID".  0 or -EINVAL. */
static int
parse_line(struct tenants *tenants, char *line)
{
	char *end, *text = strchr(line, ' ');
	unsigned long uid;

	if (line[0] == '#')
		return 0;
	if (text == NULL)
		return -EINVAL;
	*text++ = '\0';
	if (!ctl_segment_ok(line, strlen(line)) || *text < '1' || *text > '9')
		return -EINVAL;
	errno = 0;
	uid = strtoul(text, &end, 10);
	if (errno != 0 || *end != '\0' || uid >= (uid_t)-1)
		return -EINVAL;
	if (number_find(tenants, line) != NULL ||
	    uid_is_used(tenants, (uid_t)uid))
		return -EINVAL;
	return number_add(tenants, line, (uid_t)uid);
}

static int
parse_text(struct tenants *tenants, char *text, char *problem, size_t size)
{
	unsigned line_number = 0;
	char *line = text, *end;

	while (*line != '\0') {
		line_number++;
		end = strchr(line, '\n');
		if (end != NULL)
			*end = '\0';
		if (end == NULL || parse_line(tenants, line) != 0) {
			snprintf(problem, size, "%s:%u in the state directory "
			    "is not \"NAME UID\" or says something twice; the "
			    "file says who owns which /data: restore it",
			    TENANTS_FILE, line_number);
			return -EINVAL;
		}
		line = end + 1;
	}
	return 0;
}

static int
read_all(int fd, size_t length, char **text)
{
	size_t got = 0;
	ssize_t n;

	*text = malloc(length + 1);
	if (*text == NULL)
		return -ENOMEM;
	while (got < length) {
		n = pread(fd, *text + got, length - got, (off_t)got);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		got += (size_t)n;
	}
	(*text)[length] = '\0';
	return 0;
}

static int
read_file(struct tenants *tenants, char *problem, size_t size)
{
	CLEANUP_FD int fd = openat(tenants->state_fd, TENANTS_FILE,
	    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	char *text = NULL;
	int error;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) != 0) {
		snprintf(problem, size, "%s in the state directory cannot be "
		    "read: %s", TENANTS_FILE, strerror(errno));
		return -EIO;
	}
	if (!S_ISREG(st.st_mode) || st.st_uid != 0 ||
	    (st.st_mode & 022) != 0 || st.st_size > (off_t)FILE_MAX) {
		snprintf(problem, size, "%s in the state directory is not a "
		    "file of root's own that only root can write; look who "
		    "changed it", TENANTS_FILE);
		return -EPERM;
	}
	error = read_all(fd, (size_t)st.st_size, &text);
	if (error != 0)
		snprintf(problem, size, "%s in the state directory cannot be "
		    "read: %s", TENANTS_FILE, strerror(-error));
	else if (strlen(text) != (size_t)st.st_size)
		text[0] = 'X'; /* a NUL byte: the parser complains of line 1 */
	if (error == 0)
		error = parse_text(tenants, text, problem, size);
	free(text);
	return error;
}

static int
write_all(int fd, const uint8_t *data, size_t n)
{
	while (n > 0) {
		ssize_t written = write(fd, data, n);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		data += written;
		n -= (size_t)written;
	}
	return 0;
}

/* Whole, or not at all: a torn file would mix up the tenants. */
static int
write_file(const struct tenants *tenants)
{
	CLEANUP_FD int fd = -1;
	struct buf text = { 0 };
	size_t i;
	int error;

	error = buf_add_str(&text, "# Which user id which tenant has for good. "
	    "Written by fcgi-host.\n");
	for (i = 0; i < tenants->number_count && error == 0; i++)
		error = buf_addf(&text, "%s %lu\n", tenants->numbers[i].name,
		    (unsigned long)tenants->numbers[i].uid);
	if (error != 0)
		goto out;
	(void)unlinkat(tenants->state_fd, TENANTS_NEW, 0);
	fd = openat(tenants->state_fd, TENANTS_NEW,
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0) {
		error = -errno;
		goto out;
	}
	error = write_all(fd, buf_head(&text), buf_len(&text));
	if (error == 0 && (fsync(fd) != 0 ||
	    renameat(tenants->state_fd, TENANTS_NEW, tenants->state_fd,
	    TENANTS_FILE) != 0 || fsync(tenants->state_fd) != 0))
		error = -errno;
out:
	buf_free(&text);
	return error;
}

struct tenants *
tenants_new(int state_fd, char *problem, size_t size)
{
	struct tenants *tenants = calloc(1, sizeof(*tenants));

	if (tenants == NULL) {
		snprintf(problem, size, "out of memory");
		return NULL;
	}
	tenants->state_fd = state_fd;
	if (read_file(tenants, problem, size) != 0) {
		tenants_free(tenants);
		return NULL;
	}
	return tenants;
}

void
tenants_free(struct tenants *tenants)
{
	if (tenants == NULL)
		return;
	free(tenants->numbers);
	tenants_accounts_free(tenants->accounts);
	free(tenants);
}

/* ---------------------------------------------------------------- accounts */

static const struct account *
account_find(const struct tenants *tenants, const char *tenant)
{
	const struct accounts *accounts = tenants->accounts;
	size_t i;

	for (i = 0; accounts != NULL && i < accounts->count; i++)
		if (strcmp(accounts->at[i].name, tenant) == 0)
			return &accounts->at[i];
	return NULL;
}

uint16_t
tenants_ids_changed(const struct tenants *tenants, const char *tenant)
{
	const struct account *account = account_find(tenants, tenant);

	return account == NULL ? 0 : account->changed;
}

/* With what the accounts before say of the tenant. */
static void
account_count_change(const struct tenants *tenants, struct account *account)
{
	const struct account *before = account_find(tenants, account->name);

	if (before == NULL)
		return;
	account->changed = before->changed;
	if (account->id.uid != before->id.uid ||
	    account->id.gid != before->id.gid)
		account->changed++;
}

static int
account_find_groups(struct account *account, const char *user)
{
	gid_t *grown;
	int count = 0;

	/* again where somebody has just joined one */
	while (getgrouplist(user, account->id.gid, account->groups,
	    &count) < 0) {
		grown = reallocarray(account->groups, (size_t)count,
		    sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		account->groups = grown;
	}
	account->group_count = count;
	return 0;
}

static int
account_resolve(const struct conf_section *section, uid_t reserved,
    struct account *account, char *problem, size_t size)
{
	const char *user = section->settings.user;
	const struct passwd *entry = getpwnam(user);

	if (userns_is_single()) {
		snprintf(problem, size, "[tenant %s]: functions cannot run as "
		    "\"%s\": an ordinary user's host has no id but his own; "
		    "remove the line `user`, or start the host as root",
		    section->name, user);
		return -EPERM;
	}
	if (entry == NULL) {
		snprintf(problem, size, "[tenant %s]: there is no account "
		    "\"%s\"; create it or remove the line `user`",
		    section->name, user);
		return -EINVAL;
	}
	if (entry->pw_uid == 0 || entry->pw_uid == reserved) {
		snprintf(problem, size, "[tenant %s]: functions cannot run as "
		    "\"%s\", which is %s; name an account of the tenant's own",
		    section->name, user,
		    entry->pw_uid == 0 ? "root" : "the host's own account");
		return -EINVAL;
	}
	snprintf(account->name, sizeof(account->name), "%s", section->name);
	account->id.uid = entry->pw_uid;
	account->id.gid = entry->pw_gid;
	if (account_find_groups(account, user) == 0)
		return 0;
	snprintf(problem, size, "not enough memory");
	return -ENOMEM;
}

struct accounts *
tenants_accounts_new(const struct conf *conf, uid_t reserved, char *problem,
    size_t size)
{
	struct accounts *accounts = calloc(1, sizeof(*accounts) +
	    conf->tenant_count * sizeof(accounts->at[0]));

	if (accounts == NULL) {
		snprintf(problem, size, "not enough memory");
		return NULL;
	}
	accounts->reserved = reserved;
	for (size_t i = 0; i < conf->tenant_count; i++) {
		if (conf->tenants[i].settings.user == NULL)
			continue;
		if (account_resolve(&conf->tenants[i], reserved,
		    &accounts->at[accounts->count++], problem, size) != 0) {
			tenants_accounts_free(accounts);
			return NULL;
		}
	}
	return accounts;
}

void
tenants_accounts_free(struct accounts *accounts)
{
	for (size_t i = 0; accounts != NULL && i < accounts->count; i++)
		free(accounts->at[i].groups);
	free(accounts);
}

void
tenants_accounts_take(struct tenants *tenants, struct accounts *accounts)
{
	for (size_t i = 0; i < accounts->count; i++)
		account_count_change(tenants, &accounts->at[i]);
	tenants_accounts_free(tenants->accounts);
	tenants->accounts = accounts;
}

int
tenants_set_accounts(struct tenants *tenants, const struct conf *conf,
    uid_t reserved, char *problem, size_t size)
{
	struct accounts *accounts = tenants_accounts_new(conf, reserved,
	    problem, size);

	if (accounts == NULL)
		return -EINVAL;
	tenants_accounts_take(tenants, accounts);
	return 0;
}

/* --------------------------------------------------------------- a tenant */

static bool
is_in_range(const struct conf *conf, uid_t uid)
{
	return uid >= conf->uid_first && uid - conf->uid_first < conf->uid_count;
}

int
tenants_check_range(const struct tenants *tenants, const struct conf *conf,
    char *problem, size_t size)
{
	size_t i;

	for (i = 0; i < tenants->number_count; i++) {
		const struct number *number = &tenants->numbers[i];
		const struct settings *section = conf_tenant(conf,
		    number->name);

		if (is_in_range(conf, number->uid) ||
		    (section != NULL && section->user != NULL))
			continue;
		snprintf(problem, size, "%s: [host] uid_range has not the "
		    "number %lu that the tenant %s has for good, by "
		    "%s/" TENANTS_FILE "; make the range wider, or name an "
		    "account: user in [tenant %s]", conf->file,
		    (unsigned long)number->uid, number->name, conf->state,
		    number->name);
		return -ERANGE;
	}
	return 0;
}

int
tenants_find(const struct tenants *tenants, const struct conf *conf,
    const char *tenant, struct tenants_id *id)
{
	const struct account *account = account_find(tenants, tenant);
	const struct number *number;

	if (account != NULL) {
		*id = account->id;
		return 0;
	}
	number = number_find(tenants, tenant);
	if (number == NULL)
		return -ENOENT;
	/* A range is narrowed because its numbers are used otherwise. */
	if (!is_in_range(conf, number->uid))
		return -ERANGE;
	id->uid = number->uid;
	id->gid = (gid_t)number->uid;
	return 0;
}

/* A number that is nobody's, not even of an account outside of our files. */
static int
free_number(const struct tenants *tenants, const struct conf *conf, uid_t *uid)
{
	uid_t candidate = conf->uid_first, after = conf->uid_first;
	uint32_t i;
	size_t n;

	for (n = 0; n < tenants->number_count; n++)
		if (is_in_range(conf, tenants->numbers[n].uid) &&
		    tenants->numbers[n].uid >= after)
			after = tenants->numbers[n].uid + 1;
	for (i = 0; i < conf->uid_count; i++) {
		candidate = conf->uid_first +
		    (after - conf->uid_first + i) % conf->uid_count;
		if (!uid_is_used(tenants, candidate) &&
		    getpwuid(candidate) == NULL) {
			*uid = candidate;
			return 0;
		}
	}
	return -ENOSPC;
}

static bool
is_in_group(const struct account *account, gid_t gid)
{
	for (int i = 0; i < account->group_count; i++)
		if (account->groups[i] == gid)
			return true;
	return false;
}

bool
tenants_share_group(const struct tenants *tenants, const char *tenant,
    gid_t gid)
{
	const struct accounts *accounts = tenants->accounts;
	size_t i;

	for (i = 0; accounts != NULL && i < accounts->count; i++)
		if (is_in_group(&accounts->at[i], gid) &&
		    strcmp(accounts->at[i].name, tenant) != 0)
			return true;
	return false;
}

int
tenants_take(struct tenants *tenants, const struct conf *conf,
    const char *tenant, struct tenants_id *id)
{
	int error = tenants_find(tenants, conf, tenant, id);
	uid_t uid;

	if (error != -ENOENT)
		return error;
	if (!ctl_segment_ok(tenant, strlen(tenant)))
		return -EINVAL;
	error = free_number(tenants, conf, &uid);
	if (error != 0)
		return error;
	error = number_add(tenants, tenant, uid);
	if (error != 0)
		return error;
	error = write_file(tenants);
	if (error != 0) {
		tenants->number_count--;
		return error;
	}
	id->uid = uid;
	id->gid = (gid_t)uid;
	return 0;
}

int
tenants_data_open(int data_fd, const char *tenant, const struct tenants_id *id)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
		    RESOLVE_NO_MAGICLINKS,
	};
	CLEANUP_FD int fd = -1;
	struct stat st;

	if (mkdirat(data_fd, tenant, 0700) != 0 && errno != EEXIST)
		return -errno;
	/* Only root makes entries in data_fd; the descriptor is kept, so that
	 * what was checked is what is mounted. */
	fd = (int)syscall(SYS_openat2, data_fd, tenant, &how, sizeof(how));
	if (fd < 0 || fstat(fd, &st) != 0)
		return -errno;
	/* Root's: just made, here or before a crash between the two calls. */
	if (st.st_uid == 0) {
		if (fchown(fd, id->uid, id->gid) != 0)
			return -errno;
	} else if (st.st_uid != id->uid) {
		return -EPERM;
	}
	return steal_fd(&fd);
}

int
tenants_data_renew(int state_fd, int data_fd)
{
	CLEANUP_FD int fd = -1;

	if (mkdirat(state_fd, "data", 0700) != 0 && errno != EEXIST)
		return -errno;
	fd = openat(state_fd, "data",
	    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchmod(fd, 0700) != 0)
		return -errno;
	log_event(LOG_ERROR, "data_gone", "why=\"the directory data in `state` "
	    "was removed, and what functions kept there; it is made anew\"");
	return dup3(fd, data_fd, O_CLOEXEC) < 0 ? -errno : 0;
}
