/*
 * Bare starts of a program, one after the other (see bare.h).  Prints one line of
 * JSON with the time from the call to the first byte of each.
 *
 *   exec-load [-n COUNT] [-w PAUSE_MS] PROGRAM
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/bench/bare.h"
#include "tests/bench/samples.h"

int
main(int argc, char **argv)
{
	struct samples samples = { 0 };
	unsigned count = 20, pause_ms = 20;
	int option;

	while ((option = getopt(argc, argv, "n:w:")) != -1) {
		if (option == 'n')
			count = (unsigned)atoi(optarg);
		else if (option == 'w')
			pause_ms = (unsigned)atoi(optarg);
		else
			return 2;
	}
	if (optind + 1 != argc)
		errx(2, "usage: exec-load [-n COUNT] [-w PAUSE_MS] PROGRAM");
	for (unsigned i = 0; i < count; i++) {
		usleep(pause_ms * 1000);
		samples_add(&samples, bare_first_byte_us(argv[optind]));
	}
	printf("{");
	samples_print(&samples, "samples_us");
	printf(",");
	samples_summarise(&samples, "first_byte_us");
	printf("}\n");
	samples_free(&samples);
	return 0;
}
