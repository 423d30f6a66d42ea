/* A configuration from its text, for tests. */
#ifndef TESTS_UNIT_CONF_TEXT_H
#define TESTS_UNIT_CONF_TEXT_H

#include "fcgi-host/conf.h"

/* A bad one fails the test. */
struct conf *conf_of(const char *text);
/* It must be refused, as "f.ini", with exactly these sentences. */
void conf_refused(const char *text, const char *sentences);

#endif
