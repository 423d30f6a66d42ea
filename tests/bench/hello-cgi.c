/* The CGI program of the benchmarks: static, one write, 12 bytes. */
#include <unistd.h>

int
main(void)
{
	static const char answer[] =
	    "Content-Type: text/plain\r\n\r\nhello world\n";

	return write(STDOUT_FILENO, answer, sizeof(answer) - 1) !=
	    (ssize_t)sizeof(answer) - 1;
}
