#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "fcgi-host/sock.h"
#include "tests/unit/prices_text.h"

void
prices_refused(const char *text, const char *sentences)
{
	struct conf_errors errors = { 0 };
	int fd = sock_sealed("prices", text, strlen(text));

	assert_null(prices_read(fd, "p.ini", &errors));
	assert_int_equal(buf_add(&errors.text, "", 1), 0);
	assert_string_equal((const char *)buf_head(&errors.text), sentences);
	conf_errors_free(&errors);
	close_fd(&fd);
}

struct prices *
prices_of(const char *text)
{
	struct conf_errors errors = { 0 };
	int fd = sock_sealed("prices", text, strlen(text));
	struct prices *prices = prices_read(fd, "p.ini", &errors);

	if (prices == NULL)
		fail_msg("%.*s", (int)buf_len(&errors.text),
		    (const char *)buf_head(&errors.text));
	conf_errors_free(&errors);
	close_fd(&fd);
	return prices;
}
