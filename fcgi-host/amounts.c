#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "fcgi-host/amounts.h"
#include "fcgi-host/settings_text.h"

#define MIB_MS_PER_THOUSANDTH 1024u
#define DIGITS_MAX 12
#define BLANKS " \t"

static const struct {
	const char *name, *one;
	bool has_thousandths;
} units[AMOUNT_COUNT] = {
	[AMOUNT_EXECUTIONS] = { "executions", "execution", false },
	[AMOUNT_MIB_MS] = { "GiB-s", "GiB-s", true },
};

const char *
amounts_unit_name(enum amount_unit unit)
{
	return units[unit].name;
}

/* The number at *text, in thousandths; at most DIGITS_MAX digits before its
 * point and three behind it. */
static bool
parse_thousandths(const char **text, uint64_t *value, bool *is_whole)
{
	const char *at = *text;
	size_t digits = strspn(at, "0123456789"), i;
	uint64_t number = 0;

	if (digits == 0 || digits > DIGITS_MAX)
		return false;
	for (i = 0; i < digits; i++)
		number = number * 10 + (uint64_t)(at[i] - '0');
	at += digits;
	*is_whole = *at != '.';
	digits = *is_whole ? 0 : strspn(at + 1, "0123456789");
	if (!*is_whole && (digits == 0 || digits > 3))
		return false;
	for (i = 0; i < 3; i++)
		number = number * 10 + (i < digits ?
		    (uint64_t)(at[i + 1] - '0') : 0);
	*text = at + (*is_whole ? 0 : digits + 1);
	*value = number;
	return true;
}

static int
bad_amount(const char *key, const char *text, size_t n, char *problem,
    size_t size)
{
	return settings_problem(problem, size, "%s: \"%.*s\" is no amount; "
	    "write as 10000 executions or 0.5 GiB-s, several by commas, or "
	    "none", key, n > 60 ? 60 : (int)n, text);
}

static bool
is_currency(const char *word, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (word[i] < 'A' || word[i] > 'Z')
			return false;
	return n == 3;
}

static int
put_amount(const char *key, uint64_t thousandths, size_t unit,
    struct amounts *amounts, char *problem, size_t size)
{
	if (thousandths == 0)
		return settings_problem(problem, size, "%s: a budget of 0 "
		    "would refuse every request; write none for no budget, or "
		    "take the function away", key);
	if (amounts->of[unit] != 0)
		return settings_problem(problem, size, "%s: two amounts in %s; "
		    "write one", key, units[unit].name);
	amounts->of[unit] = units[unit].has_thousandths ?
	    thousandths * MIB_MS_PER_THOUSANDTH : thousandths / 1000;
	return 0;
}

/* One amount, text[0..n) without blanks around it. */
static int
parse_amount(const char *key, const char *text, size_t n,
    struct amounts *amounts, char *problem, size_t size)
{
	const char *at = text;
	uint64_t thousandths;
	bool is_whole;
	size_t unit, left;

	if (!parse_thousandths(&at, &thousandths, &is_whole) ||
	    (size_t)(at - text) >= n)
		return bad_amount(key, text, n, problem, size);
	at += strspn(at, BLANKS);
	left = n - (size_t)(at - text);
	for (unit = 0; unit < AMOUNT_COUNT; unit++)
		if ((strlen(units[unit].name) == left &&
		    strncasecmp(at, units[unit].name, left) == 0) ||
		    (strlen(units[unit].one) == left &&
		    strncasecmp(at, units[unit].one, left) == 0))
			break;
	if (unit == AMOUNT_COUNT && is_currency(at, left))
		return settings_problem(problem, size, "%s: budgets in money "
		    "(%.3s) are not available in this version; write "
		    "executions or GiB-s", key, at);
	if (unit == AMOUNT_COUNT ||
	    (!is_whole && !units[unit].has_thousandths))
		return bad_amount(key, text, n, problem, size);
	return put_amount(key, thousandths, unit, amounts, problem, size);
}

int
amounts_parse(const char *key, const char *text, struct amounts *amounts,
    char *problem, size_t size)
{
	*amounts = (struct amounts){ { 0 } };
	if (strcmp(text, "none") == 0)
		return 0;
	for (;;) {
		size_t n = strcspn(text, ","), skip = strspn(text, BLANKS);
		size_t end = n;
		int error;

		if (skip > n)
			skip = n;
		while (end > skip && strchr(BLANKS, text[end - 1]) != NULL)
			end--;
		error = parse_amount(key, text + skip, end - skip, amounts,
		    problem, size);
		if (error != 0 || text[n] == '\0')
			return error;
		text += n + 1;
	}
}

const char *
amounts_text(enum amount_unit unit, uint64_t value, char *out, size_t size)
{
	uint64_t thousandths = value / MIB_MS_PER_THOUSANDTH;
	unsigned rest = (unsigned)(thousandths % 1000);

	if (unit == AMOUNT_EXECUTIONS)
		(void)snprintf(out, size, "%" PRIu64 " %s", value, value == 1 ?
		    units[unit].one : units[unit].name);
	else if (rest == 0)
		(void)snprintf(out, size, "%" PRIu64 " %s",
		    thousandths / 1000, units[unit].name);
	else
		(void)snprintf(out, size, "%" PRIu64 ".%0*u %s",
		    thousandths / 1000, rest % 100 == 0 ? 1 :
		    rest % 10 == 0 ? 2 : 3, rest % 100 == 0 ? rest / 100 :
		    rest % 10 == 0 ? rest / 10 : rest, units[unit].name);
	return out;
}
