/*
 * The text of an `env_file`: lines NAME=VALUE, as systemd's EnvironmentFile has
 * them, but strict.  It holds secrets and may be a tenant's: no sentence about it
 * tells a byte of it, and it is read where the program is, by init.  Pure.
 *
 *   # a comment, or ; and empty lines
 *   NAME=as it stands, without blanks at its ends
 *   NAME='as it stands'
 *   NAME="the same, with \n, \" and \\"
 */
#ifndef SANDBOX_ENV_FILE_H
#define SANDBOX_ENV_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#define ENV_FILE_BYTES_MAX 65536
#define ENV_FILE_COUNT_MAX 256

struct env_file {
	char *variables[ENV_FILE_COUNT_MAX]; /* "NAME=VALUE", in the text */
	size_t count;
	unsigned line;   /* of what is wrong */
	const char *why; /* a clause for a person, static */
};

/* Cuts text[0..n), which has room for one byte more, into variables.  0, or
 * -EBADMSG with line and why set and no variable. */
int env_file_parse(struct env_file *file, char *text, size_t n);

/* NULL, or a clause for a person why such a file is none, whoever owns it. */
const char *env_file_fault(const struct stat *st);

/* True for what env.NAME may be called, too (cgi_name.h): [A-Z_][A-Z0-9_]*, and
 * nothing that the loader, CGI or the host uses. */
bool env_file_name_ok(const char *name, size_t n);

#endif
