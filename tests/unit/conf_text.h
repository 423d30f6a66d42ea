/* A configuration from its text, for tests; a bad one fails the test. */
#ifndef TESTS_UNIT_CONF_TEXT_H
#define TESTS_UNIT_CONF_TEXT_H

#include "fcgi-host/conf.h"

struct conf *conf_of(const char *text);

#endif
