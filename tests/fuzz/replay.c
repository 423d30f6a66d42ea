/*
 * Runs a fuzz target over its stored corpus, without libFuzzer: what the
 * fuzzer has once found stays found in plain `make check`.  Every file is fed
 * whole, and cut after each of its first bytes, since most parsers of this
 * project must hold up at any cut.  An empty corpus is a failure.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX_MAX 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Feeds exactly n bytes from an allocation of exactly n, so that a sanitizer
 * sees a read past the end. */
static void
feed(const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n > 0 ? n : 1);

	if (copy == NULL) {
		perror("malloc");
		exit(1);
	}
	if (n > 0)
		memcpy(copy, data, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static int
replay_file(const char *path)
{
	static uint8_t data[1 << 20];
	FILE *file = fopen(path, "rbe");
	size_t n;

	if (file == NULL) {
		perror(path);
		return -1;
	}
	n = fread(data, 1, sizeof(data), file);
	fclose(file);
	for (size_t cut = 0; cut < n && cut < PREFIX_MAX; cut++)
		feed(data, cut);
	feed(data, n);
	return 0;
}

static int
replay_dir(const char *dir)
{
	struct dirent **names;
	int count = 0, n = scandir(dir, &names, NULL, alphasort);

	if (n < 0) {
		perror(dir);
		return 1;
	}
	for (int i = 0; i < n; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
		if (names[i]->d_name[0] != '.' && replay_file(path) == 0)
			count++;
		free(names[i]);
	}
	free(names);
	printf("%s: %d inputs\n", dir, count);
	return count > 0 ? 0 : 1;
}

/* fuzz_NAME reads tests/fuzz/corpus/NAME of the source tree, or the directory
 * that is given. */
int
main(int argc, char **argv)
{
	const char *source = getenv("srcdir"), *name = strrchr(argv[0], '/');
	char dir[4096];

	if (argc > 1)
		return replay_dir(argv[1]);
	name = name != NULL ? name + 1 : argv[0];
	if (strncmp(name, "fuzz_", 5) == 0)
		name += 5;
	snprintf(dir, sizeof(dir), "%s/tests/fuzz/corpus/%s",
	    source != NULL ? source : ".", name);
	return replay_dir(dir);
}
