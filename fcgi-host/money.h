/*
 * Exact amounts.  Money is a whole number of fine units, 10^-12 of the
 * currency; nothing here is a floating point number, and nothing is rounded
 * but by money_charge, once for each line of a bill.  What does not fit into
 * 128 bits is an error, never a wrong amount.  Pure.
 */
#ifndef FCGI_HOST_MONEY_H
#define FCGI_HOST_MONEY_H

#include <stddef.h>
#include <stdint.h>

/* Amounts in fine units, and sums of what was used. */
__extension__ typedef unsigned __int128 money_int;

#define MONEY_DIGITS 12 /* of a fine unit, behind the point */
#define MONEY_ONE ((money_int)1000000000000u)
#define MONEY_TEXT_MAX 64

/* "0.0000166667" → a whole number of 10^-digits.  Digits and at most one
 * point, with a digit on both of its sides; no sign, no exponent.  -EINVAL:
 * no such text; -ERANGE: finer than 10^-digits, or 10^18 and more. */
int money_parse(const char *text, unsigned digits, money_int *out);

/* The shortest exact text of number * 10^-digits with at least `least`
 * decimals.  Returns out. */
const char *money_text(money_int number, unsigned digits, unsigned least,
    char out[MONEY_TEXT_MAX]);

/* number / per, exactly; per has no prime factor but 2 and 5, and is at most
 * 10^21. */
const char *money_ratio_text(money_int number, money_int per,
    char out[MONEY_TEXT_MAX]);

/* 0 or -EOVERFLOW; then *sum is as it was. */
int money_add(money_int *sum, money_int more);

/* quantity / per * price, rounded to `decimals` of the currency (0 to
 * MONEY_DIGITS); a half is rounded up.  0 or -EOVERFLOW. */
int money_charge(money_int quantity, money_int price, uint64_t per,
    unsigned decimals, money_int *out);

/* total * part / whole without its fraction; *rest: what is over, in 1/whole.
 * part is at most whole, and whole is not 0. */
money_int money_share(money_int total, money_int part, money_int whole,
    money_int *rest);

/* Shares that are as the weights and sum up to total to the last unit: each
 * gets its whole units, and what is left goes by one to those with the largest
 * fractions, of equal ones to the first.  0; -EOVERFLOW; -ENOMEM; -EINVAL:
 * all weights are 0, total is not. */
int money_split(money_int total, const money_int *weights, size_t count,
    money_int *shares);

#endif
