/*
 * From a function's checked name to the descriptors of its sandbox: opened
 * beneath the functions directory, without links, owner and mode looked at on
 * the descriptor that is used afterwards.  Also the administrator's `bind`
 * paths and the program's arguments.  Spawner only.
 */
#ifndef FCGI_HOST_RESOLVE_H
#define FCGI_HOST_RESOLVE_H

#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fcgi-host/conf.h"
#include "fcgi-host/ctl_msg.h"
#include "sandbox/plan.h"

struct resolve_file {
	int fd;           /* O_PATH: the file, or the folder */
	const char *name; /* the file's last name, inside the ctl_function */
	struct stat file, folder; /* folder: as file for a single file */
};

/*
 * Finds the function's file.  0, or a negative errno: -ENOENT, -ELOOP (a link
 * in the way), -EXDEV, -EACCES.  resolve_free closes.
 */
int resolve_find(int functions_fd, const struct ctl_function *function,
    struct resolve_file *out);
void resolve_free(struct resolve_file *file);

/* 0; -EPERM: owned by neither root nor uid; -EACCES: writable by others, or
 * no regular file. */
int resolve_check(const struct resolve_file *file, uid_t uid);

/*
 * Opens the paths of `bind` for a function, O_PATH, no links in them.  The
 * paths in plan->binds point into binds, which must live as long.  0, or a
 * negative errno, and then *failed is the path (inside binds) that was not
 * opened; resolve_binds_close closes what was.
 */
int resolve_binds(const struct conf_bind *binds, size_t count,
    struct sandbox_plan *plan, const char **failed);
void resolve_binds_close(struct sandbox_plan *plan);

/*
 * The program's arguments: a runtime's words with the function's path in the
 * place of %f, or behind them, and its memory, in whole MiB, in that of %m; or the
 * path itself (NULL).  Allocated in one piece: free() it.  NULL: no memory.
 */
char **resolve_argv(char *const *command, const char *file_name,
    uint64_t memory_bytes);

#endif
