#include "sandbox/slice.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* sched_setattr(2), its first version.  The C library has no name for it, and
 * the kernel's header does not go together with sched.h. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

static int
attributes_get(struct attributes *attr)
{
	return syscall(SYS_sched_getattr, 0, attr, sizeof(*attr), 0) != 0 ?
	    -errno : 0;
}

/* Policy and nice value stay what the administrator chose. */
int
slice_set(unsigned slice_us)
{
	struct attributes attr = { 0 };
	int error = attributes_get(&attr);

	if (error < 0)
		return error;
	if (attr.policy != SCHED_OTHER && attr.policy != SCHED_BATCH)
		return -EOPNOTSUPP;
	attr.runtime_ns = (uint64_t)slice_us * 1000;
	return syscall(SYS_sched_setattr, 0, &attr, 0) != 0 ? -errno : 0;
}
