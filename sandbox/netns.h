/*
 * Network namespaces for sandboxes.  Who makes one stays in his own, and needs
 * no right over the network of the host: a loopback is raised by a child in a
 * user namespace, which has that right over nothing but what it made.
 */
#ifndef SANDBOX_NETNS_H
#define SANDBOX_NETNS_H

#include <stddef.h>
#include <sys/types.h>

/* An empty one, its loopback down.  Descriptor or negative errno.  For
 * the process's first thread alone, which is what its /proc/self shows. */
int netns_new(void);

/*
 * One with its loopback up, 127.0.0.0/8 and ::1, and nothing else.  As above;
 * -ENOSPC where user namespaces are used up or switched off
 * (user.max_user_namespaces).  Blocks for a millisecond.
 */
int netns_new_loopback(void);

/* Which namespace it is.  Zeros: not known. */
struct netns_id {
	dev_t dev;
	ino_t ino;
};

/* Pid 1's.  The kernel shows it to whoever has all that pid 1 has, or
 * CAP_SYS_PTRACE: so before rights are given up. */
struct netns_id netns_of_machine(void);

/*
 * One of the administrator's, by its path, as `ip netns` makes them.  Descriptor,
 * or a negative errno with a sentence in *problem: -EINVAL: the path is no network
 * namespace; -EPERM: it is the caller's own, or the machine's.
 */
int netns_open(const char *path, struct netns_id machine,
    const char **problem);

/*
 * The resolvers of such a namespace, as `ip netns exec` finds them: the text of
 * /etc/netns/NAME/resolv.conf, NAME being the path's last part, else of the
 * machine's.  A copy, since one that is mounted would stay what it was when its
 * file is replaced.  "" where there is none; cut at size.
 */
#define NETNS_RESOLV_MAX 4096
void netns_resolv_conf(const char *path, char *text, size_t size);

#endif
