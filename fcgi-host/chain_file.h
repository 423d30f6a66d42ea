/*
 * The chain's key where it lies on the disk, a file of root's alone: read by the
 * spawner and handed on in a sealed descriptor, so that it stands in no message,
 * log or core; and replaced by the next key at each rotation.
 */
#ifndef FCGI_HOST_CHAIN_FILE_H
#define FCGI_HOST_CHAIN_FILE_H

#include <stddef.h>

#include "fcgi-host/chain.h"

/* The key in the file, as a sealed descriptor; or a negative errno, and a
 * sentence that says what to do. */
int chain_file_open(const char *path, char *problem, size_t size);

/*
 * A rotation: puts the next key in the place of the one in key_fd and overwrites
 * that, and returns it as above.  The file has another one than key_fd: somebody
 * put that there, and it is the next.
 */
int chain_file_next(const char *path, int key_fd, char *problem, size_t size);

/* From what the two above gave.  0 or negative errno. */
int chain_file_key(int key_fd, uint8_t key[CHAIN_KEY_SIZE]);

#endif
