/*
 * Makes a start hang in a mount, as one on the file system of a dead server may:
 * the kernel asks a seccomp listener for leave to pivot_root, and what the
 * listener does not answer does not come back.
 */
#ifndef TESTS_UNIT_HOLD_PIVOT_ROOT_H
#define TESTS_UNIT_HOLD_PIVOT_ROOT_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of this process and all that it starts.  The listener, or -1. */
static inline int
hold_pivot_root(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		    offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pivot_root, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
	    SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

#endif
