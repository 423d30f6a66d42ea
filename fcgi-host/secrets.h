/*
 * The files of `env_file`, opened for init: [tenant]'s and [function]'s by the
 * administrator's path, the sidecar's by its name beside the function's own file.
 * Looked at is who may read and who has written them, on the descriptor that is
 * used afterwards; never a byte of what stands in them.  Spawner only.
 */
#ifndef FCGI_HOST_SECRETS_H
#define FCGI_HOST_SECRETS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-host/conf.h"
#include "fcgi-host/ctl_msg.h"
#include "sandbox/init_msg.h"

/*
 * Fills fds in the order of struct sandbox_plan's; 0: there is none.  0, or a
 * negative errno with a sentence in why: nothing is left open.  uid: the tenant's,
 * who may own them beside root.
 */
int secrets_open(const struct conf *conf, int functions_fd,
    const struct ctl_function *function, uid_t uid,
    int fds[INIT_SECRETS_MAX], char *why, size_t size);
void secrets_close(int fds[INIT_SECRETS_MAX]);

/* Another number when one of the administrator's two is another file, or was
 * written; 0: there is none. */
uint32_t secrets_mark(const struct conf *conf,
    const struct ctl_function *function);

#endif
