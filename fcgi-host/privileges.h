/*
 * The spawner's own rights: which capabilities it keeps, and why; and what its
 * two children begin with.  After privileges_shrink nothing that is started
 * from here can gain a right by any file.  Spawner only.
 */
#ifndef FCGI_HOST_PRIVILEGES_H
#define FCGI_HOST_PRIVILEGES_H

#include <stddef.h>
#include <stdint.h>

/* Raises RLIMIT_NOFILE as far as it goes and is of use; returns it. */
uint32_t privileges_raise_files(void);

/*
 * Keeps the capabilities of the table in privileges.c, empties the bounding
 * set (so that no instance needs to), and sets no_new_privs.  From then on
 * root's exec keeps what is inheritable: those that a role needs for its own
 * confinement.  0, or a negative errno with a sentence; a needed capability
 * that is not there is -EPERM.
 */
int privileges_shrink(char *problem, size_t size);

/*
 * From here on the kernel answers only what the spawner, its roles or a function
 * may ask (sandbox/seccomp_spawner.c); all that is started inherits it.  Needs
 * no_new_privs.  0, or a negative errno with a sentence.
 */
int privileges_filter(char *problem, size_t size);

#endif
