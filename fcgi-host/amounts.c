#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "fcgi-host/amounts.h"
#include "fcgi-host/settings_text.h"

#define MIB_MS_PER_THOUSANDTH 1024u
#define DIGITS_MAX 12
#define DECIMALS_MAX 6
#define MILLION 1000000u
#define BLANKS " \t"

static const struct {
	const char *name, *one; /* NULL: a currency's code */
	unsigned decimals;
} units[AMOUNT_COUNT] = {
	[AMOUNT_EXECUTIONS] = { "executions", "execution", 0 },
	[AMOUNT_MIB_MS] = { "GiB-s", "GiB-s", 3 },
	[AMOUNT_MONEY] = { NULL, NULL, DECIMALS_MAX },
};

/* The number at *text, in millionths; *decimals: behind its point. */
static bool
parse_millionths(const char **text, uint64_t *value, unsigned *decimals)
{
	const char *at = *text;
	size_t digits = strspn(at, "0123456789"), i;
	bool is_whole = at[digits] != '.';
	uint64_t number = 0;

	if (digits == 0 || digits > DIGITS_MAX)
		return false;
	for (i = 0; i < digits; i++)
		number = number * 10 + (uint64_t)(at[i] - '0');
	at += digits;
	digits = is_whole ? 0 : strspn(at + 1, "0123456789");
	if (!is_whole && (digits == 0 || digits > DECIMALS_MAX))
		return false;
	for (i = 0; i < DECIMALS_MAX; i++)
		number = number * 10 + (i < digits ?
		    (uint64_t)(at[i + 1] - '0') : 0);
	*text = at + (is_whole ? 0 : digits + 1);
	*value = number;
	*decimals = (unsigned)digits;
	return true;
}

static int
bad_amount(const char *key, const char *text, size_t n, char *problem,
    size_t size)
{
	return settings_problem(problem, size, "%s: \"%.*s\" is no amount; "
	    "write as 10000 executions, 0.5 GiB-s or 20 EUR, several by "
	    "commas, or none", key, n > 60 ? 60 : (int)n, text);
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
put_amount(const char *key, uint64_t millionths, size_t unit,
    struct amounts *amounts, char *problem, size_t size)
{
	if (millionths == 0)
		return settings_problem(problem, size, "%s: a budget of 0 "
		    "would refuse every request; write none for no budget, or "
		    "take the function away", key);
	if (amounts->of[unit] != 0)
		return settings_problem(problem, size, "%s: two amounts in %s; "
		    "write one", key, unit == AMOUNT_MONEY ? "money" :
		    units[unit].name);
	amounts->of[unit] = unit == AMOUNT_EXECUTIONS ? millionths / MILLION :
	    unit == AMOUNT_MIB_MS ? millionths / 1000 * MIB_MS_PER_THOUSANDTH :
	    millionths;
	return 0;
}

static size_t
unit_of(const char *word, size_t n)
{
	size_t unit;

	for (unit = 0; unit < AMOUNT_COUNT; unit++)
		if (units[unit].name == NULL ? is_currency(word, n) :
		    (strlen(units[unit].name) == n &&
		    strncasecmp(word, units[unit].name, n) == 0) ||
		    (strlen(units[unit].one) == n &&
		    strncasecmp(word, units[unit].one, n) == 0))
			break;
	return unit;
}

/* One amount, text[0..n) without blanks around it. */
static int
parse_amount(const char *key, const char *text, size_t n,
    struct amounts *amounts, char *problem, size_t size)
{
	const char *at = text;
	uint64_t millionths;
	unsigned decimals;
	size_t unit;

	if (!parse_millionths(&at, &millionths, &decimals) ||
	    (size_t)(at - text) >= n)
		return bad_amount(key, text, n, problem, size);
	at += strspn(at, BLANKS);
	unit = unit_of(at, n - (size_t)(at - text));
	if (unit == AMOUNT_COUNT || decimals > units[unit].decimals)
		return bad_amount(key, text, n, problem, size);
	if (unit == AMOUNT_MONEY)
		memcpy(amounts->currency, at, AMOUNT_CURRENCY_SIZE - 1);
	return put_amount(key, millionths, unit, amounts, problem, size);
}

int
amounts_parse(const char *key, const char *text, struct amounts *amounts,
    char *problem, size_t size)
{
	*amounts = (struct amounts){ .currency = "" };
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

/* Decimals beyond the first `least` only as far as they say something. */
static void
decimal_text(uint64_t value, uint64_t one, unsigned digits, unsigned least,
    const char *unit, char *out, size_t size)
{
	uint64_t rest = value % one;

	while (digits > least && rest % 10 == 0) {
		rest /= 10;
		digits--;
	}
	if (digits == 0)
		(void)snprintf(out, size, "%" PRIu64 " %s", value / one, unit);
	else
		(void)snprintf(out, size, "%" PRIu64 ".%0*" PRIu64 " %s",
		    value / one, (int)digits, rest, unit);
}

const char *
amounts_text(enum amount_unit unit, uint64_t value, const char *currency,
    char *out, size_t size)
{
	if (unit == AMOUNT_EXECUTIONS)
		(void)snprintf(out, size, "%" PRIu64 " %s", value, value == 1 ?
		    units[unit].one : units[unit].name);
	else if (unit == AMOUNT_MIB_MS)
		decimal_text(value / MIB_MS_PER_THOUSANDTH, 1000, 3, 0,
		    units[unit].name, out, size);
	else
		decimal_text(value, MILLION, DECIMALS_MAX, 2, currency, out,
		    size);
	return out;
}
