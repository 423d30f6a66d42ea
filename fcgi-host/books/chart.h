/*
 * Pictures of days: bars on each other, or lines, as SVG in a figure of a page
 * of HTML.  What words there are stand in the page, so that no width distorts
 * them.  Pure.  fcgi-host-books only.
 */
#ifndef FCGI_HOST_BOOKS_CHART_H
#define FCGI_HOST_BOOKS_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-host/books/entry.h"
#include "fcgi-host/buf.h"
#include "fcgi-host/rate.h"

#define CHART_SERIES_MAX 8

struct chart {
	const char *title, *note;  /* note: a sentence, or NULL */
	bool is_lines;
	int32_t first_day;
	size_t days, series;
	struct span names[CHART_SERIES_MAX];
	rate_sum *at; /* days values of the first series, then of the next */
	/* A value as people read it. */
	int (*put)(struct buf *out, rate_sum value, const void *arg);
	const void *arg;
};

/* Room for the values; 0 or -ENOMEM.  chart_free gives it back. */
int chart_make(struct chart *chart);
void chart_free(struct chart *chart);

/* Appends the figure; 0 or -ENOMEM. */
int chart_put(const struct chart *chart, struct buf *out);

/* Text of a log into a page: buf_add_html, and what shows nothing or turns text
 * around is replaced, too. */
int chart_text(struct buf *out, struct span text);

#endif
