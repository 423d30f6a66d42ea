/*
 * Under which ids a tenant's functions run, and its /data.  An account that the
 * administrator names is looked up when the configuration is read; every other
 * tenant gets a number of uid_range when it first runs something, and keeps it
 * for good, because its files in /data carry it: STATE/tenants remembers.
 * Spawner only.
 */
#ifndef FCGI_HOST_TENANTS_H
#define FCGI_HOST_TENANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/conf.h"

struct tenants;

struct tenants_id {
	uid_t uid;
	gid_t gid;
};

/*
 * Reads STATE/tenants (absent: nobody has a number yet).  state_fd: the state
 * directory, borrowed, readable.  NULL with a sentence in problem: the file is
 * damaged or not root's own, and guessing would give one tenant's files to
 * another.
 */
struct tenants *tenants_new(int state_fd, char *problem, size_t size);
void tenants_free(struct tenants *tenants);

/*
 * Looks up every `[tenant] user` of a configuration; reserved is the uid of
 * gateway and scanner, which no tenant may have.  NULL with a sentence.
 */
struct accounts *tenants_accounts_new(const struct conf *conf, uid_t reserved,
    char *problem, size_t size);
void tenants_accounts_free(struct accounts *accounts);
/* In place of those before; takes them. */
void tenants_accounts_take(struct tenants *tenants, struct accounts *accounts);
/* Both.  0; -EINVAL with a sentence, and those before stay. */
int tenants_set_accounts(struct tenants *tenants, const struct conf *conf,
    uid_t reserved, char *problem, size_t size);

/* How often a tenant's account came to stand for other ids than before. */
uint16_t tenants_ids_changed(const struct tenants *tenants,
    const char *tenant);

/* Whether another tenant's account is in this group too. */
bool tenants_share_group(const struct tenants *tenants, const char *tenant,
    gid_t gid);

/*
 * Whether uid_range of a configuration still has the numbers of all tenants that
 * have no account there.  0; -ERANGE with a sentence about the first.
 */
int tenants_check_range(const struct tenants *tenants, const struct conf *conf,
    char *problem, size_t size);

/*
 * The ids of a tenant.  0; -ENOENT: it has none yet (tenants_take gives it
 * one); -ERANGE: its number is outside of uid_range, which was changed.
 */
int tenants_find(const struct tenants *tenants, const struct conf *conf,
    const char *tenant, struct tenants_id *id);

/* As tenants_find, and gives a number where there is none, written to the disk
 * before it is used.  -ENOSPC: uid_range is used up; other negative errnos of
 * the writing. */
int tenants_take(struct tenants *tenants, const struct conf *conf,
    const char *tenant, struct tenants_id *id);

/*
 * The tenant's lasting directory below data_fd, made when it is not there:
 * owned by its ids, mode 0700.  An O_PATH descriptor, or a negative errno;
 * -EPERM: it belongs to another.
 */
int tenants_data_open(int data_fd, const char *tenant,
    const struct tenants_id *id);

/* Somebody removed STATE/data: it is made anew, and data_fd, the same number for
 * all who borrowed it, means the new one.  0 or a negative errno. */
int tenants_data_renew(int state_fd, int data_fd);

#endif
