#include "sandbox/init_msg.h"

#include <errno.h>

int
init_report_check(const struct init_report *report, size_t n)
{
	if (n != sizeof(*report) || report->magic != INIT_MAGIC)
		return -EPROTO;
	if (report->type < INIT_EXIT || report->type > INIT_HELD)
		return -EPROTO;
	if (report->user_us > INIT_TIME_MAX_US ||
	    report->system_us > INIT_TIME_MAX_US ||
	    report->memory_kib > INIT_MEMORY_MAX_KIB ||
	    report->memory_now_kib > INIT_MEMORY_MAX_KIB)
		return -EPROTO;
	return report->pad == 0 ? 0 : -EPROTO;
}
