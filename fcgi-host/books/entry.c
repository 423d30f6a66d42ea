#include "fcgi-host/books/entry.h"

#include <errno.h>
#include <string.h>

int
entry_id(struct span text, uint64_t *run, uint64_t *number)
{
	const char *dash = text.at == NULL ? NULL :
	    memchr(text.at, '-', text.n);
	size_t n = dash == NULL ? text.n : (size_t)(dash - text.at), i;

	if (text.at == NULL || n == 0 || n > 16 ||
	    (dash == NULL) != (number == NULL))
		return -EINVAL;
	for (*run = 0, i = 0; i < n; i++) {
		const char *hex = "0123456789abcdef";
		const char *digit = text.at[i] == '\0' ? NULL :
		    strchr(hex, text.at[i]);

		if (digit == NULL)
			return -EINVAL;
		*run = *run << 4 | (uint64_t)(digit - hex);
	}
	if (number == NULL)
		return 0;
	if (text.n - n - 1 == 0 || text.n - n - 1 > 19)
		return -EINVAL;
	for (*number = 0, i = n + 1; i < text.n; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return -EINVAL;
		*number = *number * 10 + (uint64_t)(text.at[i] - '0');
	}
	return 0;
}
