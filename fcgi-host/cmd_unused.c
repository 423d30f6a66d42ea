#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/cmd_unused.h"

struct asking {
	const struct known *known;
	void (*say)(void *arg, const char *sentence);
	void *arg;
};

int
known_add(struct known *known, const char *name)
{
	if (known->count == known->size) {
		size_t size = known->size == 0 ? 64 : known->size * 2;
		char **grown = reallocarray(known->names, size,
		    sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		known->names = grown;
		known->size = size;
	}
	known->names[known->count] = strdup(name);
	if (known->names[known->count] == NULL)
		return -ENOMEM;
	known->count++;
	return 0;
}

void
known_free(struct known *known)
{
	for (size_t i = 0; i < known->count; i++)
		free(known->names[i]);
	free(known->names);
	*known = (struct known){ .names = NULL };
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The first name that is not less than `wanted`, or NULL. */
static const char *
find(const struct known *known, const char *wanted)
{
	size_t low = 0, high = known->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(known->names[middle], wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < known->count ? known->names[low] : NULL;
}

static bool
is_known(void *arg, bool is_tenant, const char *name)
{
	const struct known *known = ((const struct asking *)arg)->known;
	char wanted[CTL_NAME_MAX + 2];
	size_t n = strlen(name);
	const char *found;

	if (n > CTL_NAME_MAX)
		return false;
	memcpy(wanted, name, n);
	if (is_tenant)
		wanted[n++] = '/';
	wanted[n] = '\0';
	found = find(known, wanted);
	return found != NULL && (is_tenant ? strncmp(found, wanted, n) == 0 :
	    strcmp(found, wanted) == 0);
}

static void
say_on(void *arg, const char *sentence)
{
	const struct asking *asking = arg;

	asking->say(asking->arg, sentence);
}

void
known_each_unused(struct known *known, const struct conf *conf,
    void (*say)(void *arg, const char *sentence), void *arg)
{
	struct asking asking = { .known = known, .say = say, .arg = arg };

	if (known->count > 1)
		qsort(known->names, known->count, sizeof(*known->names),
		    compare);
	conf_each_unused(conf, is_known, say_on, &asking);
}
