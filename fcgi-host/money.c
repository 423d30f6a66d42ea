#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/log.h"
#include "fcgi-host/money.h"

#define WHOLE_DIGITS_MAX 18

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static unsigned
digit(char c)
{
	return (unsigned)(c - '0');
}

int
money_parse(const char *text, unsigned digits, money_int *out)
{
	const char *at = text;
	money_int value = 0;
	unsigned whole = 0, behind = 0;
	bool is_too_fine = false;

	for (; is_digit(*at); at++) {
		value = value * 10 + digit(*at);
		if ((value > 0 && ++whole > WHOLE_DIGITS_MAX) ||
		    at - text > 100)
			return -ERANGE;
	}
	if (at == text)
		return -EINVAL;
	if (*at == '.') {
		if (!is_digit(at[1]))
			return -EINVAL;
		for (at++; is_digit(*at); at++) {
			if (behind == digits) {
				is_too_fine |= *at != '0';
				continue;
			}
			value = value * 10 + digit(*at);
			behind++;
		}
	}
	if (*at != '\0')
		return -EINVAL;
	if (is_too_fine)
		return -ERANGE;
	for (; behind < digits; behind++)
		value *= 10;
	*out = value;
	return 0;
}

/* The number's digits, at least `width` of them, ending before end. */
static char *
put_digits(money_int number, unsigned width, char *end)
{
	while (number > 0 || width > 0) {
		*--end = (char)('0' + (int)(number % 10));
		number /= 10;
		if (width > 0)
			width--;
	}
	return end;
}

const char *
money_ratio_text(money_int number, money_int per, char out[MONEY_TEXT_MAX])
{
	char text[MONEY_TEXT_MAX], *end = text + sizeof(text);
	char *start = put_digits(number / per, 1, end), *at = out;
	money_int rest = number % per;

	memcpy(at, start, (size_t)(end - start));
	at += end - start;
	if (rest > 0)
		*at++ = '.';
	while (rest > 0 && at < out + MONEY_TEXT_MAX - 1) {
		rest *= 10;
		*at++ = (char)('0' + (int)(rest / per));
		rest %= per;
	}
	*at = '\0';
	return out;
}

const char *
money_text(money_int number, unsigned digits, unsigned least,
    char out[MONEY_TEXT_MAX])
{
	money_int one = 1;
	size_t n, whole;
	unsigned i;

	LOG_ASSERT(digits <= MONEY_DIGITS && least <= digits);
	for (i = 0; i < digits; i++)
		one *= 10;
	(void)money_ratio_text(number, one, out);
	n = strlen(out);
	whole = strcspn(out, ".");
	if (least == 0)
		return out;
	if (n == whole)
		out[n++] = '.';
	while (n <= whole + least)
		out[n++] = '0';
	out[n] = '\0';
	return out;
}

int
money_add(money_int *sum, money_int more)
{
	money_int result;

	if (__builtin_add_overflow(*sum, more, &result))
		return -EOVERFLOW;
	*sum = result;
	return 0;
}

int
money_charge(money_int quantity, money_int price, uint64_t per,
    unsigned decimals, money_int *out)
{
	money_int exact, unit = MONEY_ONE, divisor, rounded;
	unsigned i;

	LOG_ASSERT(per > 0 && decimals <= MONEY_DIGITS);
	for (i = 0; i < decimals; i++)
		unit /= 10;
	divisor = unit * per;
	if (__builtin_mul_overflow(quantity, price, &exact))
		return -EOVERFLOW;
	rounded = exact / divisor;
	if (exact % divisor >= divisor - divisor / 2)
		rounded++;
	return __builtin_mul_overflow(rounded, unit, out) ? -EOVERFLOW : 0;
}

/* The long way, bit by bit, for a product of more than 128 bits: total is
 * taken from its highest bit on. */
static money_int
share_bits(money_int total, money_int part, money_int whole, money_int *rest)
{
	money_int quotient = 0, left = 0;
	unsigned i;

	for (i = 128; i-- > 0;) {
		unsigned carry = (unsigned)(left >> 127);

		/* left < whole, so twice left plus part is below 3 * whole. */
		quotient <<= 1;
		left <<= 1;
		if (carry != 0 || left >= whole) {
			left -= whole;
			quotient++;
		}
		if ((total >> i & 1) == 0)
			continue;
		if (left >= whole - part) {
			left -= whole - part;
			quotient++;
		} else {
			left += part;
		}
	}
	*rest = left;
	return quotient;
}

money_int
money_share(money_int total, money_int part, money_int whole, money_int *rest)
{
	money_int product;

	LOG_ASSERT(whole > 0 && part <= whole);
	if (__builtin_mul_overflow(total, part, &product))
		return share_bits(total, part, whole, rest);
	*rest = product % whole;
	return product / whole;
}

struct fraction {
	money_int rest;
	size_t index;
};

static int
compare_fractions(const void *a, const void *b)
{
	const struct fraction *left = a, *right = b;

	if (left->rest != right->rest)
		return left->rest > right->rest ? -1 : 1;
	return left->index < right->index ? -1 : 1;
}

int
money_split(money_int total, const money_int *weights, size_t count,
    money_int *shares)
{
	struct fraction *fractions;
	money_int whole = 0, left = total;
	size_t i;

	for (i = 0; i < count; i++) {
		shares[i] = 0;
		if (money_add(&whole, weights[i]) != 0)
			return -EOVERFLOW;
	}
	if (total == 0)
		return 0;
	if (whole == 0)
		return -EINVAL;
	fractions = reallocarray(NULL, count, sizeof(*fractions));
	if (fractions == NULL)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		shares[i] = money_share(total, weights[i], whole,
		    &fractions[i].rest);
		fractions[i].index = i;
		left -= shares[i];
	}
	if (left > 0)
		qsort(fractions, count, sizeof(*fractions), compare_fractions);
	/* What is left are the fractions' sum: fewer than there are of them
	 * above zero. */
	for (i = 0; i < count && left > 0; i++, left--)
		shares[fractions[i].index]++;
	free(fractions);
	return 0;
}
