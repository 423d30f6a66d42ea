#include "fcgi-host/books/page_words.h"

#include <inttypes.h>
#include <string.h>

#include "fcgi-host/books/report.h"
#include "fcgi-host/prices.h"

/* A policy without a source: even a page whose text were markup could load and
 * run nothing. */
const char words_head[] =
"<!doctype html>\n"
"<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
"style-src 'unsafe-inline'\">\n"
"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
"<title>Usage</title>\n<style>\n"
":root{color-scheme:light dark;--bg:#f6f7f9;--card:#fff;--ink:#1b1f27;"
"--dim:#5d6675;--line:#dfe3e9;--warn:#a83a00;\n"
"--c0:#2f6fdb;--c1:#e08a1e;--c2:#2a9d6f;--c3:#b0459b;--c4:#c94a46;"
"--c5:#6f62c9;--c6:#4f9fb5;--c7:#8b93a1}\n"
"@media(prefers-color-scheme:dark){:root{--bg:#12151b;--card:#1a1f28;"
"--ink:#e6e9ef;--dim:#9aa4b4;--line:#303846;--warn:#ffa36b;\n"
"--c0:#6aa0ff;--c1:#f2ab4e;--c2:#4fc493;--c3:#d57fc3;--c4:#f07f7a;"
"--c5:#a197f0;--c6:#7cc6da;--c7:#8b93a1}}\n"
"*{box-sizing:border-box}\n"
"body{margin:0;background:var(--bg);color:var(--ink);"
"font:15px/1.5 system-ui,\"DejaVu Sans\",sans-serif}\n"
"main{max-width:1200px;margin:0 auto;padding:24px 16px 48px}\n"
"h1{font-size:26px;line-height:1.2;margin:0}\n"
"h2{font-size:18px;margin:32px 0 8px}\n"
".note{color:var(--dim);font-size:13px;margin:4px 0 0}\n"
".warn{color:var(--warn);font-weight:600;margin:8px 0 0}\n"
".tiles{display:grid;grid-template-columns:"
"repeat(auto-fit,minmax(140px,1fr));gap:12px;margin:20px 0}\n"
".tiles div,figure,.wide{background:var(--card);border:1px solid var(--line);"
"border-radius:8px}\n"
".tiles div{padding:10px 14px}\n"
".tiles b{display:block;font-weight:400;font-size:13px;color:var(--dim)}\n"
".tiles span{font-size:20px;font-weight:600;white-space:nowrap;"
"font-variant-numeric:tabular-nums}\n"
".charts{display:grid;gap:16px;grid-template-columns:minmax(0,1fr)}\n"
"@media(min-width:900px){.charts{grid-template-columns:"
"repeat(2,minmax(0,1fr))}}\n"
"figure{margin:0;padding:14px 16px;min-width:0}\n"
"figcaption{font-weight:600;margin-bottom:6px}\n"
".plot{position:relative;padding-top:18px}\n"
".top{position:absolute;top:0;left:0;font-size:12px;line-height:16px;"
"color:var(--dim)}\n"
"svg{display:block;width:100%;height:170px}\n"
".grid{stroke:var(--line);fill:none;vector-effect:non-scaling-stroke}\n"
"polyline{fill:none;stroke-width:2;stroke-linejoin:round;"
"vector-effect:non-scaling-stroke}\n"
".days{display:flex;justify-content:space-between;font-size:12px;"
"color:var(--dim);margin-top:4px;font-variant-numeric:tabular-nums}\n"
"@media(max-width:480px){.days span:not(:first-child):not(:last-child)"
"{display:none}}\n"
".legend{display:flex;flex-wrap:wrap;gap:2px 14px;list-style:none;"
"margin:8px 0 0;padding:0;font-size:13px}\n"
".legend li{overflow-wrap:anywhere}\n"
".legend i{display:inline-block;width:10px;height:10px;border-radius:2px;"
"margin-right:6px}\n"
".wide{overflow-x:auto}\n"
"table{border-collapse:collapse;width:100%;font-size:14px;"
"font-variant-numeric:tabular-nums}\n"
"th,td{padding:6px 12px;text-align:right;white-space:nowrap;"
"border-top:1px solid var(--line)}\n"
"thead th{color:var(--dim);font-weight:500;border-top:0}\n"
"tbody th{text-align:left;font-weight:500;max-width:340px;overflow:hidden;"
"text-overflow:ellipsis}\n"
"@media(max-width:480px){tbody th{max-width:150px}}\n"
#define COLOUR(n) ".s" n ",.k" n "{fill:var(--c" n ");background:var(--c" n \
	")}.l" n "{stroke:var(--c" n ")}\n"
COLOUR("0") COLOUR("1") COLOUR("2") COLOUR("3") COLOUR("4") COLOUR("5")
COLOUR("6") COLOUR("7")
"@media print{body{background:#fff}figure,section{break-inside:avoid}}\n"
"</style>\n</head>\n<body>\n<main>\n";

const char words_foot[] =
"<p class=\"note\">Percentiles are at most a sixteenth too high. Start time is "
"of executions that waited for one. All days are UTC.</p>\n"
"</main>\n</body>\n</html>\n";

/* Threes of digits with a narrow space that is no line's end. */
int
words_count(struct buf *out, rate_sum value, const void *arg)
{
	char text[REPORT_DIGITS_SIZE];
	const char *digits = report_digits(text, value);
	size_t n = strlen(digits), i;
	int error = 0;

	(void)arg;
	for (i = 0; error == 0 && i < n; i++) {
		if (i > 0 && (n - i) % 3 == 0)
			error = buf_add_str(out, "\xe2\x80\xaf");
		if (error == 0)
			error = buf_add(out, &digits[i], 1);
	}
	return error;
}

/* Three digits and more of the unit that fits. */
int
words_us(struct buf *out, rate_sum value, const void *arg)
{
	static const struct { unsigned long us; const char *name; } units[] = {
		{ 3600000000, "h" }, { 1000000, "s" }, { 1000, "ms" },
	};
	rate_sum tenths;
	size_t i;
	int error;

	for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (value < units[i].us)
			continue;
		tenths = value / (units[i].us / 10);
		error = words_count(out, tenths / 10, arg);
		if (error == 0 && tenths < 1000 && tenths % 10 != 0)
			error = buf_addf(out, ".%u", (unsigned)(tenths % 10));
		return error != 0 ? error : buf_addf(out, " %s",
		    units[i].name);
	}
	error = words_count(out, value, arg);
	return error != 0 || value == 0 ? error : buf_add_str(out, " µs");
}

int
words_gib_s(struct buf *out, rate_sum value, const void *arg)
{
	rate_sum thousandths = value / (RATE_MIB_MS_PER_GIB_S / 1000);
	int error = words_count(out, thousandths / 1000, arg);

	if (error != 0)
		return error;
	return thousandths < 1000 ? buf_addf(out, ".%03u",
	    (unsigned)thousandths) : buf_addf(out, ".%u",
	    (unsigned)(thousandths % 1000 / 100));
}

int
words_permille(struct buf *out, rate_sum value, const void *arg)
{
	(void)arg;
	return buf_addf(out, "%" PRIu64 ".%u %%", (uint64_t)(value / 10),
	    (unsigned)(value % 10));
}

int
words_cost(struct buf *out, rate_sum value, const void *arg)
{
	const struct prices *prices = arg;
	unsigned decimals = prices_decimals(prices), i;
	char text[MONEY_TEXT_MAX];
	rate_sum step = 1;

	for (i = decimals; i < MONEY_DIGITS; i++)
		step *= 10;
	/* Of what is little the first two digits are of interest. */
	for (; value > 0 && value / step < 10 && step > 1; decimals++)
		step /= 10;
	(void)money_text((value + step / 2) / step, decimals, decimals, text);
	return buf_addf(out, "%s %s", text, prices_currency(prices));
}
