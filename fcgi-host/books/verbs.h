/*
 * The verbs of fcgi-host that are carried out by fcgi-host-books.
 */
#ifndef FCGI_HOST_BOOKS_VERBS_H
#define FCGI_HOST_BOOKS_VERBS_H

#include "fcgi-host/cmd.h"

int books_usage(const struct cmd_verb *verb, int argc, char **argv);
int books_invoice(const struct cmd_verb *verb, int argc, char **argv);

#endif
