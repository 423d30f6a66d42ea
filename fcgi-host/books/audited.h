/*
 * `fcgi-host usage --audit`: reads the files and says whether the books balance.
 * fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_AUDITED_H
#define FCGI_HOST_BOOKS_AUDITED_H

#include <stdbool.h>

/* paths and conf: as of ledgers_read.  The exit status. */
int audited(char **paths, const char *conf, bool is_json);

#endif
