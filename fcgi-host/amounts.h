/*
 * What a budget allows, in text and in numbers: "10000 executions, 50 EUR".
 * Pure; part of settings.
 */
#ifndef FCGI_HOST_AMOUNTS_H
#define FCGI_HOST_AMOUNTS_H

#include <stddef.h>
#include <stdint.h>

enum amount_unit {
	AMOUNT_EXECUTIONS,
	AMOUNT_MIB_MS, /* written in GiB-s: 1024 MiB * 1000 ms */
	AMOUNT_MONEY,  /* millionths of a currency */
	AMOUNT_COUNT
};

#define AMOUNT_CURRENCY_SIZE 4 /* "EUR" */

struct amounts {
	uint64_t of[AMOUNT_COUNT]; /* 0: not named */
	char currency[AMOUNT_CURRENCY_SIZE]; /* of AMOUNT_MONEY, else "" */
};

/* "none", or amounts of different units by commas.  0; or -EINVAL, and problem
 * gets a sentence that begins with the key. */
int amounts_parse(const char *key, const char *text, struct amounts *amounts,
    char *problem, size_t size);

/* "10000 executions", "0.5 GiB-s" (rounded down to thousandths), "2.50 EUR".
 * currency: of money; else it is not looked at. */
const char *amounts_text(enum amount_unit unit, uint64_t value,
    const char *currency, char *out, size_t size);

#endif
