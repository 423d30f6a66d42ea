#include "fcgi-host/reserve.h"

#include <errno.h>

/* A limit that is neither was set by an administrator's prlimit(1), and stays. */
static int
limit_move(rlim_t from, rlim_t to)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return -errno;
	if (limit.rlim_cur != from)
		return 0;
	limit.rlim_cur = to;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : -errno;
}

int
reserve_init(struct reserve *reserve, rlim_t count)
{
	struct rlimit limit;
	int error;

	*reserve = (struct reserve){ 0 };
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return -errno;
	if (count > limit.rlim_cur / 4)
		count = limit.rlim_cur / 4;
	error = limit_move(limit.rlim_cur, limit.rlim_cur - count);
	if (error != 0)
		return error;
	reserve->all = limit.rlim_cur;
	reserve->daily = limit.rlim_cur - count;
	return 0;
}

void
reserve_open(const struct reserve *reserve)
{
	if (reserve->all > 0)
		(void)limit_move(reserve->daily, reserve->all);
}

void
reserve_close(const struct reserve *reserve)
{
	if (reserve->all > 0)
		(void)limit_move(reserve->all, reserve->daily);
}
