/* A price book from its text, for tests. */
#ifndef TESTS_UNIT_PRICES_TEXT_H
#define TESTS_UNIT_PRICES_TEXT_H

#include "fcgi-host/prices.h"

/* A bad one fails the test. */
struct prices *prices_of(const char *text);
/* It must be refused, as "p.ini", with exactly these sentences. */
void prices_refused(const char *text, const char *sentences);

#endif
