/*
 * A function's version: the first CTL_VERSION_LENGTH hex digits of SHA-256 over
 * the bytes of its main file and then of its sidecar, so that
 *     cat resize.py resize.ini | sha256sum
 * shows it.  Runs in the confined scanner.
 */
#ifndef FCGI_HOST_SCAN_HASH_H
#define FCGI_HOST_SCAN_HASH_H

#include <stdbool.h>
#include <stdint.h>

#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/scan_list.h"

/* A longer file counts with its first bytes, and with its size, inode and time
 * of change instead of the rest. */
#define SCAN_HASH_FILE_MAX (64u << 20)
/* What one look at one tenant may hash in full (more at the first); then only
 * so much of each file is read, with size, inode and time of change: nobody
 * can keep the scanner from the other tenants by many large files. */
#define SCAN_HASH_FIRST_MAX (1024u << 20)
#define SCAN_HASH_LOOK_MAX (128u << 20)
#define SCAN_HASH_LITTLE (64u << 10)

struct scan_version {
	int main_fd, sidecar_fd; /* borrowed; sidecar_fd -1: none */
	struct scan_id main, sidecar, env_file;
	bool has_env_file; /* its id counts, since its bytes are not to be read */
	/* A folder's: the times count too, since `touch main.py` is how its
	 * owner says that a deeper file changed. */
	bool has_times;
};

/* 0 or a negative errno of reading.  *budget is lowered by what was read. */
int scan_version(const struct scan_version *files, uint64_t *budget,
    char out[CTL_VERSION_LENGTH + 1]);

#endif
