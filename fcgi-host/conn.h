/*
 * A web server's FastCGI connection: records in, records out, one request at a
 * time.  Every byte that is read here is hostile; a malformed one closes this
 * connection, is counted, and nothing more.
 */
#ifndef FCGI_HOST_CONN_H
#define FCGI_HOST_CONN_H

#include "fcgi-host/request.h"

struct conn;
struct conn_list;

struct conn_list *conn_list_new(struct server *server);
/* Closes what is left. */
void conn_list_free(struct conn_list *list);

/* Serves fd (taken), and reads at once what it has sent already.  is_unix: it is
 * a Unix socket; trigger: "web" or "invoke", static.  0 or negative errno (fd is
 * closed then). */
int conn_new(struct conn_list *list, int fd, bool is_unix,
    const char *trigger);

/*
 * Lets go of those between requests; of the others when their request is done.
 * They are closed, or with next_fd (taken; -1: there is none) sent there as
 * descriptors, for the successor, if the web server keeps them and nothing of a
 * next request has been read.
 */
void conn_list_drain(struct conn_list *list, int next_fd);
/* That took too long: what is still arriving is not waited for. */
void conn_list_hurry(struct conn_list *list);
/* Serves all that a predecessor has sent; fd is borrowed.  How many there were. */
size_t conn_list_adopt(struct conn_list *list, int fd);

/*
 * Closes the connection that has been idle longest, if that is a quarter of a
 * second or more; false: there is none.  A kept connection holds a descriptor
 * for nothing but a web server's hope, and every web server that keeps any
 * expects to find them closed: it goes before somebody with a request is
 * refused.
 */
bool conn_list_give_way(struct conn_list *list);

#endif
