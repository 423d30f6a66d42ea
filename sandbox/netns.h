/*
 * Network namespaces for sandboxes.  Who makes one stays in his own, and needs
 * no right over the network of the host: a loopback is raised by a child in a
 * user namespace, which has that right over nothing but what it made.
 */
#ifndef SANDBOX_NETNS_H
#define SANDBOX_NETNS_H

/* An empty one, its loopback down.  Descriptor or negative errno.  The caller
 * must have one thread only. */
int netns_new(void);

/*
 * One with its loopback up, 127.0.0.0/8 and ::1, and nothing else.  As above;
 * -ENOSPC where user namespaces are used up or switched off
 * (user.max_user_namespaces).  Blocks for a millisecond.
 */
int netns_new_loopback(void);

#endif
