/*
 * The floor under every cold start: a program's first byte, by posix_spawn and a
 * pipe, with neither server nor sandbox.  For the programs of `make bench`.
 */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include <stdint.h>

/* What a CGI program is given here, up to a NULL. */
extern const char *const bare_environment[];

/* From the call to the first byte, in microseconds; the program has ended when
 * this returns.  Ends the caller when the program does not end well. */
uint64_t bare_first_byte_us(const char *program);

#endif
