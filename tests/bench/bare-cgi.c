/*
 * The same program without the C library: its start asks the processor for its
 * caches, which in a virtual machine can cost more than all else that a short
 * execution does.  What is left is what the host costs.
 */
#include <sys/syscall.h>

static long
call(long number, long a, const void *b, unsigned long c)
{
#if defined(__x86_64__)
	long result;

	__asm__ volatile("syscall" : "=a"(result)
	    : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register const void *x1 __asm__("x1") = b;
	register unsigned long x2 __asm__("x2") = c;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2)
	    : "memory");
	return x0;
#else
#error "write a system call for this processor"
#endif
}

_Noreturn void _start(void);

_Noreturn void
_start(void)
{
	static const char answer[] =
	    "Content-Type: text/plain\r\n\r\nhello world\n";
	long n = call(SYS_write, 1, answer, sizeof(answer) - 1);

	for (;;)
		call(SYS_exit_group, n != (long)sizeof(answer) - 1, 0, 0);
}
