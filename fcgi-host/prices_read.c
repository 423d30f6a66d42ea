#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-host/buf.h"
#include "fcgi-host/civil.h"
#include "fcgi-host/prices_impl.h"
#include "fcgi-host/settings_text.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define SECTIONS "[book], [customer NAME] or [prices], [prices tenant NAME runtime NAME from " \
	"YYYY-MM-DD] (each part may be left out)"
#define PRICE_MAX ((money_int)1000000000000u * MONEY_ONE)

/* Where the reading stands. */
struct reader {
	struct prices *prices;
	const char *path;
	struct conf_errors *errors;
	const struct conf_entry *entry;
	bool has_currency, has_price; /* right or wrong */
	int error; /* -ENOMEM */
};

#define WRONG(reader, line, ...) \
	conf_error((reader)->errors, (reader)->path, (line), __VA_ARGS__)
#define WRONG_ENTRY(reader, ...) \
	WRONG(reader, (reader)->entry->line, __VA_ARGS__)

/* Copies a name that is a tenant's or runtime's; false: told. */
static bool
take_name(struct reader *r, const struct conf_part *part, const char *word,
    const char *name, char *out, size_t size)
{
	size_t n = name != NULL ? strlen(name) : 0;

	if (n > 0 && n < size && ctl_segment_ok(name, n)) {
		memcpy(out, name, n + 1);
		return true;
	}
	WRONG(r, part->line, "\"%.80s\" is no %s's name; write [%s%s "
	    "NAME], of a-z, 0-9, '.', '_' and '-'",
	    name != NULL ? name : "", word,
	    strcmp(word, "customer") == 0 ? "" : "prices ", word);
	return false;
}

/* "prices tenant NAME runtime NAME from DATE", already split at its blanks. */
static bool
take_words(struct reader *r, const struct conf_part *part, char *words,
    struct prices_section *out)
{
	char *rest = NULL, *word;

	for (word = strtok_r(words, " \t", &rest); word != NULL;
	    word = strtok_r(NULL, " \t", &rest)) {
		const char *value = strtok_r(NULL, " \t", &rest);

		if (strcmp(word, "tenant") == 0 && out->tenant[0] == '\0') {
			if (!take_name(r, part, word, value, out->tenant,
			    sizeof(out->tenant)))
				return false;
		} else if (strcmp(word, "runtime") == 0 &&
		    out->runtime[0] == '\0') {
			if (!take_name(r, part, word, value, out->runtime,
			    sizeof(out->runtime)))
				return false;
		} else if (strcmp(word, "from") == 0 && !out->has_from) {
			out->has_from = true;
			if (value != NULL && civil_parse_day(value,
			    &out->from) == 0)
				continue;
			WRONG(r, part->line, "\"%.40s\" is no date; write "
			    "[%s from YYYY-MM-DD], the first day on which "
			    "the prices hold (UTC)", value != NULL ? value :
			    "", "prices");
			return false;
		} else {
			WRONG(r, part->line, "\"%.40s\" is not understood in "
			    "[%.80s]; write %s", word, part->name, SECTIONS);
			return false;
		}
	}
	return true;
}

/* "0.2", or with `from`: where a price begins. */
static bool
take_number(struct reader *r, const char *text, unsigned digits,
    const char *what, money_int max, money_int *out)
{
	int error = money_parse(text, digits, out);

	if (error == -EINVAL)
		WRONG_ENTRY(r, "%s: \"%.60s\" is no %s; write digits, with a "
		    "point before the decimals, as 0.25", r->entry->key, text,
		    what);
	else if (error == -ERANGE && digits == 0)
		WRONG_ENTRY(r, "%s: \"%.60s\" is not a whole number below "
		    "10^18; write one", r->entry->key, text);
	else if (error == -ERANGE)
		WRONG_ENTRY(r, "%s: \"%.60s\" has more than %u decimals or "
		    "is 10^18 or more; write it shorter", r->entry->key, text,
		    digits);
	else if (*out > max)
		WRONG_ENTRY(r, "%s: \"%.60s\" is above 10^12; write a lower "
		    "%s", r->entry->key, text, what);
	return error == 0 && *out <= max;
}

/* A number of units of the item, in fine units. */
static bool
take_quantity(struct reader *r, const struct prices_kind *kind,
    const char *text, money_int *out)
{
	money_int number, per = kind->fine;
	unsigned i;

	for (i = 0; i < kind->digits; i++)
		per /= 10;
	if (!take_number(r, text, kind->digits, "quantity", ~(money_int)0,
	    &number))
		return false;
	*out = number * per;
	return true;
}

/* "PRICE" as the first, then each "PRICE above QUANTITY". */
static bool
take_step(struct reader *r, const struct prices_kind *kind, char *text,
    struct prices_list *list)
{
	struct prices_step *step = &list->steps[list->count];
	char *above;

	text = conf_scan_strip(text);
	above = text + strcspn(text, " \t");
	if (*above != '\0') {
		*above++ = '\0';
		above = conf_scan_strip(above);
		if (strncmp(above, "above", 5) != 0 ||
		    (above[5] != ' ' && above[5] != '\t')) {
			WRONG_ENTRY(r, "%s: \"%.60s\" is not understood; "
			    "write PRICE, PRICE above QUANTITY with a "
			    "point before the decimals", r->entry->key, above);
			return false;
		}
		above = conf_scan_strip(above + 5);
	}
	if ((*above != '\0') != (list->count > 0)) {
		if (list->count == 0)
			WRONG_ENTRY(r, "%s: the first price holds from 0 on; "
			    "leave out \"above %.40s\"", r->entry->key, above);
		else
			WRONG_ENTRY(r, "%s: a further price begins somewhere; "
			    "write PRICE above QUANTITY (and a point, no "
			    "comma, before the decimals)", r->entry->key);
		return false;
	}
	if (!take_number(r, text, MONEY_DIGITS, "price", PRICE_MAX,
	    &step->price))
		return false;
	if (list->count > 0 && !take_quantity(r, kind, above, &step->above))
		return false;
	if (list->count > 0 && step->above <= step[-1].above) {
		WRONG_ENTRY(r, "%s: \"above %.60s\" does not lie above the "
		    "step before; write the steps in rising order",
		    r->entry->key, above);
		return false;
	}
	list->count++;
	return true;
}

static void
take_list(struct reader *r, struct prices_section *section, enum prices_item item)
{
	struct prices_list *list = calloc(1, sizeof(*list));
	char text[CONF_LINE_MAX + 1], *rest = text, *step;

	if (list == NULL) {
		r->error = -ENOMEM;
		return;
	}
	(void)snprintf(text, sizeof(text), "%s", r->entry->value);
	list->line = r->entry->line;
	list->has_from = section->has_from;
	list->from = section->from;
	memcpy(list->runtime, section->runtime, sizeof(list->runtime));
	while ((step = strsep(&rest, ",")) != NULL) {
		if (list->count == PRICES_STEPS_MAX) {
			WRONG_ENTRY(r, "%s: more than %d steps; leave some "
			    "out", r->entry->key, PRICES_STEPS_MAX);
			break;
		}
		if (!take_step(r, &prices_kinds[item], step, list))
			break;
	}
	section->lists[item] = list;
}

/* What there is once for a tenant and month, whatever runs there. */
static bool
is_for_all_runtimes(struct reader *r, const struct prices_section *section)
{
	if (section->runtime[0] == '\0')
		return true;
	WRONG_ENTRY(r, "%s is a tenant's, not a runtime's; put it into [prices]"
	    " or [prices tenant NAME]", r->entry->key);
	return false;
}

static void
unknown_key(struct reader *r, const char *section, const char *const *keys,
    size_t count)
{
	const char *near = settings_nearest(r->entry->key, keys, count);

	if (near != NULL)
		WRONG_ENTRY(r, "unknown key \"%.60s\"; do you mean %s?",
		    r->entry->key, near);
	else
		WRONG_ENTRY(r, "unknown key \"%.60s\"; fcgi-host-prices(5) "
		    "has the keys of [%s]", r->entry->key, section);
}

static void
take_prices_key(struct reader *r, struct prices_section *section)
{
	const char *keys[2 * PRICES_ITEM_COUNT + 1], *key = r->entry->key;
	size_t i;

	for (i = 0; i < PRICES_ITEM_COUNT; i++) {
		const struct prices_kind *kind = &prices_kinds[i];

		keys[2 * i] = kind->key;
		keys[2 * i + 1] = kind->free_key;
		if (strcmp(key, kind->key) == 0) {
			r->has_price = true;
			take_list(r, section, (enum prices_item)i);
			return;
		}
		if (strcmp(key, kind->free_key) == 0) {
			section->has_free[i] = is_for_all_runtimes(r, section)
			    && take_quantity(r, kind, r->entry->value,
			    &section->free_tier[i]);
			return;
		}
	}
	keys[2 * i] = "minimum";
	if (strcmp(key, "minimum") == 0) {
		section->minimum_line = r->entry->line;
		section->has_minimum = is_for_all_runtimes(r, section) &&
		    take_number(r, r->entry->value, MONEY_DIGITS, "amount",
		    PRICE_MAX, &section->minimum);
	} else {
		unknown_key(r, "prices", keys, COUNT(keys));
	}
}

/* A text that is printed on bills: the only control byte that the scan lets
 * through, a tab, is the blank that it looks like. */
static void
take_text(struct reader *r, char **out)
{
	char *at;

	if (r->entry->value[0] == '\0') {
		WRONG_ENTRY(r, "%s says nothing; leave it out, or write a "
		    "text", r->entry->key);
		return;
	}
	if (!buf_is_utf8(r->entry->value, strlen(r->entry->value))) {
		WRONG_ENTRY(r, "%s is not UTF-8; save the file as plain UTF-8",
		    r->entry->key);
		return;
	}
	if (settings_put_text(out, r->entry->value) != 0) {
		r->error = -ENOMEM;
		return;
	}
	for (at = *out; *at != '\0'; at++)
		if (*at == '\t')
			*at = ' ';
}

static void
take_book_text(struct reader *r)
{
	static const char *const keys[] = { "currency", "decimals", "issuer",
		"address", "note" };

	if (strcmp(r->entry->key, "issuer") == 0)
		take_text(r, &r->prices->issuer.name);
	else if (strcmp(r->entry->key, "address") == 0)
		take_text(r, &r->prices->issuer.address);
	else if (strcmp(r->entry->key, "note") == 0)
		take_text(r, &r->prices->note);
	else
		unknown_key(r, "book", keys, COUNT(keys));
}

static void
take_book_key(struct reader *r)
{
	const char *value = r->entry->value;
	size_t n = strlen(value);

	if (strcmp(r->entry->key, "currency") == 0) {
		r->has_currency = true;
		if (n == 3 && strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3)
			memcpy(r->prices->currency, value, 4);
		else
			WRONG_ENTRY(r, "currency: \"%.60s\" is no code of "
			    "ISO 4217; write three capital letters, as EUR",
			    value);
	} else if (strcmp(r->entry->key, "decimals") == 0) {
		if (n == 1 && *value >= '0' && *value <= '9')
			r->prices->decimals = (unsigned)(*value - '0');
		else
			WRONG_ENTRY(r, "decimals: \"%.60s\" is no number of "
			    "decimals; write 0 to 9: 2 for cents", value);
	} else {
		take_book_text(r);
	}
}

/* [customer NAME] */
static void
take_customer(struct reader *r, const struct conf_part *part)
{
	static const char *const keys[] = { "name", "address" };
	struct prices_person *person =
	    &r->prices->customers[r->prices->customer_count];
	const char *name = part->name + strlen("customer");
	size_t i;

	name += strspn(name, " \t");
	if (!take_name(r, part, "customer", name, person->tenant,
	    sizeof(person->tenant)))
		return;
	for (i = 0; i < r->prices->customer_count; i++)
		if (strcmp(r->prices->customers[i].tenant, name) == 0)
			WRONG(r, part->line, "[customer %s] stands already at "
			    "line %u; put all of its keys there", name,
			    r->prices->customers[i].line);
	r->prices->customer_count++;
	person->line = part->line;
	for (i = 0; i < part->count && r->error == 0; i++) {
		r->entry = &part->entries[i];
		if (strcmp(r->entry->key, "name") == 0)
			take_text(r, &person->name);
		else if (strcmp(r->entry->key, "address") == 0)
			take_text(r, &person->address);
		else
			unknown_key(r, "customer NAME", keys, COUNT(keys));
	}
}

static void
take_section(struct reader *r, const struct conf_part *part)
{
	char words[CONF_LINE_MAX + 1];
	struct prices_section *section = &r->prices->sections[r->prices->count];
	size_t i;

	memset(section, 0, sizeof(*section));
	(void)snprintf(words, sizeof(words), "%s",
	    part->name + strlen("prices"));
	if (!take_words(r, part, words, section)) {
		r->has_price = true; /* it may be here */
		return;
	}
	section->line = part->line;
	r->prices->count++;
	for (i = 0; i < part->count && r->error == 0; i++) {
		r->entry = &part->entries[i];
		take_prices_key(r, section);
	}
}

static void
take_part(struct reader *r, const struct conf_part *part)
{
	size_t n = strcspn(part->name, " \t"), i;

	if (strcmp(part->name, "book") == 0) {
		for (i = 0; i < part->count && r->error == 0; i++) {
			r->entry = &part->entries[i];
			take_book_key(r);
		}
	} else if (n == 6 && memcmp(part->name, "prices", n) == 0) {
		take_section(r, part);
	} else if (n == 8 && memcmp(part->name, "customer", n) == 0) {
		take_customer(r, part);
	} else {
		WRONG(r, part->line, "unknown section [%.80s]; write %s",
		    part->name, SECTIONS);
	}
}

static int
compare_sections(const void *a, const void *b)
{
	const struct prices_section *left = a, *right = b;
	int order = strcmp(left->tenant, right->tenant);

	if (order == 0)
		order = strcmp(left->runtime, right->runtime);
	if (order == 0)
		order = (int)left->has_from - (int)right->has_from;
	if (order == 0 && left->has_from)
		order = (left->from > right->from) -
		    (left->from < right->from);
	return order;
}

/* Rounding is for lines; a minimum is an amount already. */
static void
check_decimals(struct reader *r, const struct prices_section *section)
{
	money_int unit = MONEY_ONE;
	unsigned i;

	for (i = 0; i < r->prices->decimals; i++)
		unit /= 10;
	if (section->has_minimum && section->minimum % unit != 0)
		WRONG(r, section->minimum_line, "minimum has more decimals than "
		    "amounts have (%u); round it, or raise decimals of [book]",
		    r->prices->decimals);
}

static void
check_whole(struct reader *r)
{
	struct prices *prices = r->prices;
	size_t i;

	qsort(prices->sections, prices->count, sizeof(*prices->sections),
	    compare_sections);
	for (i = 0; i < prices->count; i++) {
		const struct prices_section *section = &prices->sections[i];

		check_decimals(r, section);
		if (i == 0 || compare_sections(section - 1, section) != 0)
			continue;
		/* qsort need not keep the order of the file. */
		WRONG(r, section->line > section[-1].line ? section->line :
		    section[-1].line, "these prices stand already at line %u; "
		    "put all of their keys there",
		    section->line > section[-1].line ? section[-1].line :
		    section->line);
	}
	if (!r->has_currency)
		WRONG(r, 0, "no currency; write [book] and below it "
		    "currency = EUR");
	if (!r->has_price)
		WRONG(r, 0, "no price; write [prices] and below it at least "
		    "one, as gib_second = 0.0000166667");
}

static struct prices *
build(struct reader *r, const struct conf_scan *scan)
{
	size_t i;

	r->prices = calloc(1, sizeof(*r->prices));
	if (r->prices != NULL) {
		r->prices->sections = calloc(scan->count + 1,
		    sizeof(*r->prices->sections));
		r->prices->customers = calloc(scan->count + 1,
		    sizeof(*r->prices->customers));
	}
	if (r->prices == NULL || r->prices->sections == NULL ||
	    r->prices->customers == NULL) {
		r->error = -ENOMEM;
		return r->prices;
	}
	r->prices->decimals = 2;
	for (i = 0; i < scan->count && r->error == 0; i++)
		take_part(r, &scan->parts[i]);
	if (r->error == 0)
		check_whole(r);
	return r->prices;
}

struct prices *
prices_read(int fd, const char *path, struct conf_errors *errors)
{
	struct reader r = { .path = path, .errors = errors };
	unsigned before = errors->count;
	struct conf_scan scan = { NULL, 0 };
	char *text = NULL;
	size_t n = 0;
	int error;

	if (conf_scan_read(fd, path, PRICES_FILE_MAX, &text, &n, errors) != 0)
		return NULL;
	error = conf_scan_text(path, text, n, SECTIONS, &scan, errors);
	if (error == 0)
		error = conf_scan_agree(fd, path, &scan, errors);
	/* Also after an error, so that all of them are told. */
	if (error != -ENOMEM)
		r.prices = build(&r, &scan);
	if (error == -ENOMEM || r.error == -ENOMEM)
		WRONG(&r, 0, "no memory to read it");
	conf_scan_free(&scan);
	free(text);
	if (errors->count == before)
		return r.prices;
	conf_errors_sort(errors, path);
	prices_free(r.prices);
	return NULL;
}
