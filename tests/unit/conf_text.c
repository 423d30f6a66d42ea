#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "fcgi-host/sock.h"
#include "tests/unit/conf_text.h"

struct conf *
conf_of(const char *text)
{
	struct conf_errors errors = { 0 };
	int fd = sock_sealed("conf", text, strlen(text));
	struct conf *conf = conf_read(fd, "test.ini", &errors);

	if (conf == NULL)
		fail_msg("%.*s", (int)buf_len(&errors.text),
		    (const char *)buf_head(&errors.text));
	conf_errors_free(&errors);
	close_fd(&fd);
	return conf;
}
