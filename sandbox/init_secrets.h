/*
 * The `env_file`s of an instance's function, which init reads itself from
 * descriptors that the spawner opened: what stands in them is in no message, in no
 * other process of the host, and in init only while a program is being started.
 */
#ifndef SANDBOX_INIT_SECRETS_H
#define SANDBOX_INIT_SECRETS_H

#include <stddef.h>

/* Which of the descriptors are there. */
void secrets_find(void);
/*
 * Adds their variables to environment[0..*count) and the NULL behind it; who has a
 * name already gives way.  0; or a positive errno, and a line that says which file
 * and where went to err_fd, which is the program's stderr.
 */
int secrets_add(char **environment, size_t *count, int err_fd);
/* Wipes what secrets_add read. */
void secrets_forget(void);

#endif
