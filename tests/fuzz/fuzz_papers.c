/*
 * What is printed of a log that anybody may have written, with any price book:
 * tables, JSON, CSV, FOCUS, REPORT lines, pages and invoices.  Nothing of a log
 * moves a cursor, breaks a line or a field, or becomes a tag or an attribute of
 * a page; a balance is told for each run.
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-host/books/audit.h"
#include "fcgi-host/books/focus.h"
#include "fcgi-host/books/invoice.h"
#include "fcgi-host/books/json.h"
#include "fcgi-host/books/lambda.h"
#include "fcgi-host/books/lines.h"
#include "fcgi-host/books/page.h"
#include "fcgi-host/books/rated.h"
#include "fcgi-host/books/report.h"
#include "fcgi-host/civil.h"
#include "fcgi-host/ctl_msg.h"
#include "fcgi-host/sock.h"
#include "tests/fuzz/json.h"

#define INPUT_MAX 32768
#define DAY_MAX (9999 * 366)
/* Between a price book and a log. */
#define BEHIND_BOOK "\n%%\n"

static const char plain_book[] = "[book]\ncurrency = EUR\n[prices]\n"
    "million_executions = 0.20\ngib_second = 0.0000166667\n";

static const struct keys all_keys = { .at = { KEY_TENANT, KEY_FUNCTION,
	KEY_RUNTIME, KEY_HOUR, KEY_OUTCOME, KEY_START, KEY_TRIGGER, KEY_METHOD,
	KEY_STATUS }, .count = 9 };
static const struct keys by_function = { .at = { KEY_FUNCTION }, .count = 1 };

struct papers {
	struct keys keys; /* of rated_groups */
	struct groups *all, *parts[PAGE_PARTS], *costs[PAGE_PARTS];
	struct groups *rated_groups;
	struct audit *audit;
	struct prices *prices; /* NULL: there are none */
	size_t entries;
	struct buf out;
};

/* ------------------------------------------------------------------ the forms */

/* Its lines, of which each holds only what may stand in a terminal's. */
static void
check_plain(const struct buf *out)
{
	for (size_t i = out->start; i < out->end; i++)
		CLAIM(out->data[i] == '\n' || out->data[i] == '\t' ||
		    (out->data[i] >= 0x20 && out->data[i] != 0x7f));
	CLAIM(buf_len(out) == 0 || out->data[out->end - 1] == '\n');
}

/* An object in each line. */
static void
check_json(const struct buf *out)
{
	size_t at = out->start;

	while (at < out->end) {
		const char *text = (const char *)out->data + at;
		const char *end = memchr(text, '\n', out->end - at);

		CLAIM(end != NULL && text[0] == '{');
		CLAIM(json_is_value(text, (size_t)(end - text)));
		at += (size_t)(end - text) + 1;
	}
}

/* As many fields in each row as in the first, and no quote but around one. */
static void
check_csv(const struct buf *out)
{
	size_t fields = 1, wanted = 0;
	bool is_quoted = false, begins = true;

	for (size_t i = out->start; i < out->end; i++) {
		uint8_t c = out->data[i];

		if (c == '"') {
			CLAIM(is_quoted || begins);
			if (is_quoted && i + 1 < out->end &&
			    out->data[i + 1] == '"')
				i++;
			else
				is_quoted = !is_quoted;
		} else if (!is_quoted && c == ',') {
			fields++;
		} else if (!is_quoted && c == '\n') {
			CLAIM(wanted == 0 || fields == wanted);
			wanted = fields;
			fields = 1;
		}
		begins = !is_quoted && (c == ',' || c == '\n');
	}
	CLAIM(!is_quoted && fields == 1);
}

static bool
is_tag(const char *name, size_t n)
{
	static const char *const tags[] = { "!doctype", "!DOCTYPE", "html",
		"head", "meta", "title", "style", "body", "main", "header",
		"footer", "section", "div", "h1", "h2", "p", "b", "i", "span",
		"figure", "figcaption", "svg", "rect", "polyline", "line",
		"ul", "li", "dl", "dt", "dd", "table", "thead", "tbody",
		"tfoot", "tr", "th", "td", "address", "br", "strong", "small",
		"text", "g", "path" };

	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
		if (strlen(tags[i]) == n && memcmp(tags[i], name, n) == 0)
			return true;
	return false;
}

/* From behind a '<' to behind its '>': a name, and attributes in quotes. */
static const char *
skip_tag(const char *at)
{
	size_t n = strcspn(at += *at == '/', " >/");

	CLAIM(is_tag(at, n));
	for (at += n; *at != '>'; at++) {
		CLAIM(*at != '\0' && *at != '<' && *at != '\'');
		CLAIM(memcmp(at, " on", 3) != 0);
		if (*at == '"') {
			at += 1 + strcspn(at + 1, "\"<>");
			CLAIM(*at == '"');
		}
	}
	return at + 1;
}

static void
check_page(struct buf *out)
{
	const char *at;

	CLAIM(buf_add(out, "", 1) == 0);
	at = (const char *)out->data + out->start;
	CLAIM(strlen(at) + 1 == buf_len(out));
	for (; *at != '\0'; at++) {
		CLAIM((unsigned char)*at >= 0x20 || *at == '\n' ||
		    *at == '\t');
		if (strncmp(at, "<style>", 7) == 0)
			at = strstr(at, "</style>");
		CLAIM(at != NULL);
		if (*at == '<')
			at = skip_tag(at + 1) - 1;
	}
}

static void
again(struct papers *papers, void (*check)(const struct buf *out))
{
	check(&papers->out);
	buf_reset(&papers->out, 0);
}

static void
again_page(struct papers *papers)
{
	check_page(&papers->out);
	buf_reset(&papers->out, 0);
}

static int
full(struct buf *out)
{
	(void)out;
	return 0;
}

/* ---------------------------------------------------------------- what is read */

static void
papers_add(struct papers *papers, const struct entry *entry)
{
	const char *problem = NULL;

	CLAIM(lambda_line(entry, &papers->out) == 0);
	CLAIM(buf_len(&papers->out) == 0 || memchr(papers->out.data +
	    papers->out.start, '\n', buf_len(&papers->out)) ==
	    papers->out.data + papers->out.end - 1);
	again(papers, check_plain);
	CLAIM(groups_add(papers->all, entry) == 0);
	CLAIM(groups_add(papers->rated_groups, entry) == 0);
	for (size_t i = 0; i < PAGE_PARTS; i++)
		CLAIM(groups_add(papers->parts[i], entry) == 0);
	CLAIM(audit_add(papers->audit, entry, &problem) == 0);
}

static void
papers_read(struct papers *papers, const char *text, size_t n)
{
	struct block *block = block_new();
	struct json *json = json_new();
	struct place place = { .path = NULL };
	char why[JSON_WHY_MAX];

	CLAIM(block != NULL && json != NULL);
	memcpy(block->data, text, n);
	block->data[n] = '\n';
	block->n = n + 1;
	block->path = "log";
	block->line = 1;
	while (block_next(block, &place)) {
		struct entry entry;

		if (json_read(json, place.text, place.n, &entry, why) != 0)
			continue;
		papers->entries++;
		papers_add(papers, &entry);
	}
	json_free(json);
	block_free(block);
}

/* The price book before BEHIND_BOOK, if there is one; what is left is a log. */
static struct prices *
take_book(const char **text, size_t *n)
{
	const char *end = memmem(*text, *n, BEHIND_BOOK,
	    sizeof(BEHIND_BOOK) - 1);
	size_t length = end != NULL ? (size_t)(end - *text) :
	    sizeof(plain_book) - 1;
	struct conf_errors errors = { .count = 0 };
	int fd = sock_sealed("fuzz", end != NULL ? *text : plain_book, length);
	struct prices *prices;

	CLAIM(fd >= 0);
	prices = prices_read(fd, "fuzz.ini", &errors);
	close(fd);
	conf_errors_free(&errors);
	CLAIM(end != NULL || prices != NULL);
	if (end != NULL) {
		*n -= length + sizeof(BEHIND_BOOK) - 1;
		*text = end + sizeof(BEHIND_BOOK) - 1;
	}
	return prices;
}

static void
papers_make(struct papers *papers)
{
	papers->keys = rated_keys(&focus_by);
	papers->all = groups_new(&all_keys);
	papers->rated_groups = groups_new(&papers->keys);
	papers->audit = audit_new(2);
	CLAIM(papers->all != NULL && papers->rated_groups != NULL &&
	    papers->audit != NULL);
	for (size_t i = 0; i < PAGE_PARTS; i++) {
		papers->parts[i] = groups_new(&page_keys[i]);
		CLAIM(papers->parts[i] != NULL);
		if (page_has_spreads[i])
			groups_keep_spreads(papers->parts[i]);
	}
}

static void
papers_free(struct papers *papers)
{
	groups_free(papers->all);
	groups_free(papers->rated_groups);
	for (size_t i = 0; i < PAGE_PARTS; i++) {
		groups_free(papers->parts[i]);
		groups_free(papers->costs[i]);
	}
	audit_free(papers->audit);
	prices_free(papers->prices);
	buf_free(&papers->out);
}

/* -------------------------------------------------------------- what is written */

static void
write_reports(struct papers *papers)
{
	bool is_balanced;

	CLAIM(report_table(papers->all, &all_keys, papers->prices,
	    &papers->out) == 0);
	again(papers, check_plain);
	CLAIM(report_json(papers->all, &all_keys, papers->prices,
	    &papers->out, full) == 0);
	again(papers, check_json);
	CLAIM(report_csv(papers->all, &all_keys, papers->prices,
	    &papers->out, full) == 0);
	again(papers, check_csv);
	CLAIM(audit_table(papers->audit, &papers->out, &is_balanced) == 0);
	/* a sign stands before a number, not in it */
	CLAIM(memmem(papers->out.data + papers->out.start,
	    buf_len(&papers->out), ".-", 2) == NULL);
	again(papers, check_plain);
	CLAIM(audit_json(papers->audit, &papers->out, &is_balanced) == 0);
	again(papers, check_json);
}

static void
write_page(struct papers *papers, bool has_costs)
{
	struct page page = { .prices = has_costs ? papers->prices : NULL,
		.faults = has_costs };

	for (size_t i = 0; i < PAGE_PARTS; i++) {
		page.parts[i] = papers->parts[i];
		page.costs[i] = has_costs ? papers->costs[i] : NULL;
	}
	CLAIM(page_put(&page, &papers->out) == 0);
	again_page(papers);
}

static void
write_invoice(struct papers *papers, const struct rated *rated,
    const struct rated_month *month)
{
	struct groups *functions = groups_new(&by_function);
	struct invoice invoice = { .prices = papers->prices,
		.tenant = month->tenant, .month = month->month,
		.date = civil_first_day(month->month), .bill = &month->bill };

	CLAIM(functions != NULL);
	if (rated_fold(rated, &papers->keys, &by_function,
	    civil_first_day(month->month), civil_first_day(month->month + 1),
	    functions) == 0) {
		invoice.functions = groups_sorted(functions,
		    &invoice.function_count);
		CLAIM(invoice.functions != NULL);
		CLAIM(invoice_text(&invoice, &papers->out) == 0);
		again(papers, check_plain);
		CLAIM(invoice_page(&invoice, &papers->out) == 0);
		again_page(papers);
	}
	groups_free(functions);
}

static void
write_rated(struct papers *papers)
{
	struct rated rated = { .count = 0 };
	int error = rated_make(papers->prices, papers->rated_groups, &rated);

	for (size_t i = 0; error == 0 && i < PAGE_PARTS; i++) {
		papers->costs[i] = groups_new(&page_keys[i]);
		CLAIM(papers->costs[i] != NULL);
		error = rated_fold(&rated, &papers->keys, &page_keys[i],
		    -DAY_MAX, DAY_MAX, papers->costs[i]);
	}
	if (error == 0)
		write_page(papers, true);
	if (error == 0)
		error = focus_heading(&papers->out);
	for (size_t i = 0; error == 0 && i < rated.month_count; i++)
		error = focus_month(papers->prices, &rated, &rated.months[i],
		    -DAY_MAX, DAY_MAX, &papers->out);
	if (error == 0)
		check_csv(&papers->out);
	buf_reset(&papers->out, 0);
	for (size_t i = 0; error == 0 && i < rated.month_count && i < 4; i++) {
		const char *tenant = rated.months[i].tenant;

		/* the command asks for no other one's */
		if (ctl_segment_ok(tenant, strlen(tenant)))
			write_invoice(papers, &rated, &rated.months[i]);
	}
	rated_free(&rated);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct papers papers = { .all = NULL };
	const char *text = (const char *)data;

	if (n > INPUT_MAX)
		return 0;
	papers_make(&papers);
	papers.prices = take_book(&text, &n);
	papers_read(&papers, text, n);
	/* of a log without a record once is enough */
	if (papers.entries > 0 || n == 0) {
		write_reports(&papers);
		write_page(&papers, false);
		if (papers.prices != NULL)
			write_rated(&papers);
	}
	papers_free(&papers);
	return 0;
}
