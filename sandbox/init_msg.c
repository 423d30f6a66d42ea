#include "sandbox/init_msg.h"

#include <errno.h>

int
init_report_check(const struct init_report *report, size_t n)
{
	if (n != sizeof(*report) || report->magic != INIT_MAGIC)
		return -EPROTO;
	if (report->type < INIT_EXIT || report->type > INIT_MEMORY)
		return -EPROTO;
	return report->pad == 0 ? 0 : -EPROTO;
}
